"""Every command keeps to the contract of commands; those that measure, to that of experiments."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import colocate_samples
from command_contract import CommandContract, ExperimentContract

from lorabench.experiments import (
    COMMANDS,
    calibrate,
    colocate,
    doctor,
    freshness,
    headroom,
    kernels,
    profile,
    workload,
)
from lorabench.experiments.calibrate.options import CalibrateOptions
from lorabench.experiments.doctor.options import DoctorOptions
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.kernels.options import KernelsOptions
from lorabench.experiments.profile.options import ProfileOptions


class TestGenerate(CommandContract):
    command = workload.GENERATE
    required: ClassVar = {"workload": "tiny"}


class TestIngest(CommandContract):
    command = workload.INGEST
    required: ClassVar = {"files": (Path("-"),)}


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


class TestCalibrate(ExperimentContract):
    command = calibrate.COMMAND

    def small(self, folder: Path) -> CalibrateOptions:
        path = colocate_samples.write(folder / "run.json", colocate_samples.arrays())
        return CalibrateOptions(path, runs=100)


class TestColocate(CommandContract):  # its run: tests/integration/test_contracts.py
    command = colocate.COMMAND


class TestDoctor(ExperimentContract):
    command = doctor.COMMAND

    def small(self, folder: Path) -> DoctorOptions:
        return DoctorOptions()


class TestFreshness(ExperimentContract):
    command = freshness.COMMAND

    def small(self, folder: Path) -> FreshnessOptions:
        return FreshnessOptions(preset="tiny", rows=600, windows=2, strategies=("none", "lora"))


class TestSweep(ExperimentContract):
    command = replace(freshness.COMMAND, experiment="lorabench.experiments.freshness.sweep:Sweep")

    def small(self, folder: Path) -> FreshnessOptions:
        return FreshnessOptions(
            preset="tiny",
            rows=600,
            windows=2,
            seeds=1,
            strategies=("none", "lora"),
            sweep=("memory-budget=0.01,0.02",),
            sweep_of=("lora", "none"),
        )


class TestCheckingTheLink(ExperimentContract):
    command = replace(
        freshness.COMMAND, experiment="lorabench.experiments.freshness.check_link:LinkCheck"
    )

    def small(self, folder: Path) -> FreshnessOptions:
        return FreshnessOptions(
            check_link=True, check_rates=(1000.0,), check_sizes=(1.0, 2.0), check_repeats=1
        )


class TestKernels(ExperimentContract):
    command = kernels.COMMAND

    def small(self, folder: Path) -> KernelsOptions:
        return KernelsOptions(
            peers=(), kernels=("lookup",), dims=(16,), poolings=(1,), table_mib=(1,), rounds=2
        )


class TestProfile(ExperimentContract):
    command = profile.COMMAND

    def small(self, folder: Path) -> ProfileOptions:
        return ProfileOptions(preset="tiny", windows=1, warmup_windows=0, window=256)


def test_every_command_has_its_contract_tested() -> None:
    classes = [one for one in globals().values() if isinstance(one, type)]
    tested = {one.command.name for one in classes if "command" in vars(one)}
    assert tested == {command.name for command in COMMANDS}
