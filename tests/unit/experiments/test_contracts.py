"""Every command keeps to the contract of commands; those that measure, to that of experiments."""

from pathlib import Path

from command_contract import CommandContract, ExperimentContract

from lorabench.cli.commands import COMMANDS
from lorabench.experiments import headroom, profile, workload
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.profile.options import ProfileOptions


class TestGenerate(CommandContract):
    command = workload.GENERATE
    required = {"workload": "tiny"}


class TestIngest(CommandContract):
    command = workload.INGEST
    required = {"files": (Path("-"),)}


class TestObserving(ExperimentContract):
    command = headroom.COMMAND

    def small(self, folder: Path) -> HeadroomOptions:
        return HeadroomOptions(duration_s=1.5)


class TestReadingARecording(ExperimentContract):
    command = headroom.COMMAND

    def small(self, folder: Path) -> HeadroomOptions:
        path = folder / "prom.csv"
        path.write_text("time,a\n" + "".join(f"{10 * i},0.1\n" for i in range(30)))
        return HeadroomOptions(trace=path)


class TestProfile(ExperimentContract):
    command = profile.COMMAND

    def small(self, folder: Path) -> ProfileOptions:
        return ProfileOptions(preset="tiny", windows=1, warmup_windows=0, window=256)


def test_every_command_has_its_contract_tested() -> None:
    tested = [
        one.command
        for one in globals().values()
        if isinstance(one, type) and "command" in vars(one)
    ]
    assert {command.name for command in tested} == {command.name for command in COMMANDS}
