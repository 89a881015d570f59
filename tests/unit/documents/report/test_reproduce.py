"""The command that a report gives makes the same run again."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.command import Command, Output
from lorabench.bench.options import arguments, in_milliseconds, milliseconds, options_of
from lorabench.bench.runner import run
from lorabench.bench.serving.options import ServingOptions
from lorabench.cli import app
from lorabench.cli.options import _value
from lorabench.documents.report.reproduce import command_line
from lorabench.experiments import COMMANDS, profile
from lorabench.experiments.colocate.options import ColocateOptions
from lorabench.experiments.profile.options import ProfileOptions
from lorabench.results.files import read_result
from lorabench.results.schema import Result

DOCUMENTS = Path(__file__).parents[3] / "data/schema1"

COMMAND_LINES = {
    "colocate": "lorabench colocate --preset tiny --conditions naive,pinned,pinned+rank-change "
    "--rounds 2 --duration 1.0 --qps 200.0 --label-delay 0.1 --warmup 0.2",
    "doctor": "lorabench doctor",
    "freshness": "lorabench freshness --preset tiny --rows 40000 --windows 4",
    "headroom-observe": "lorabench headroom --duration 2.0",
    "headroom-sweep": "lorabench headroom --preset tiny --duration 0.5 --load 0.5 --qps 200.0 "
    "--slo-ms 1000.0 --duties 0.0,0.1,0.25,0.5,0.75,1.0 --conditions shared --rounds 1 "
    "--warmup 0.2 --label-delay 0.1",
    "headroom-trace": "lorabench headroom --trace TRACE",
    "kernels": "lorabench kernels --dim 16 --pooling 3 --table-mib 1 --rounds 2 --isa avx512 "
    "--cpu 1",
    "profile": "lorabench profile --preset tiny --dim 8,32 --window 4096 --windows 3",
}


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_a_configuration_becomes_the_command_that_gives_it(name: str) -> None:
    line, notes = command_line(read_result(DOCUMENTS / f"{name}.json"))
    assert line == COMMAND_LINES[name]
    assert ("TRACE: the recording, sha256 78f56b5a" in " ".join(notes)) == ("TRACE" in line)
    read_back(line)


def read_back(line: str) -> tuple[Command, Any]:
    """Return the command and the options that a command line gives."""
    _, name, *given_ = shlex.split(line)
    command = next(one for one in COMMANDS if one.name == name)
    context = typer.main.get_command(app).commands[name].make_context(name, given_)
    values = {
        one.name: _value(one, known, context.params[one.name])
        for one, known in options_of(command.options)
    }
    return command, command.options(**values)


def test_the_run_that_it_gives_has_the_same_configuration(tmp_path: Path) -> None:
    options = ProfileOptions(preset="tiny", window=64, windows=1, warmup_windows=0, seed=3)
    first = measured(profile.COMMAND, options, tmp_path / "first.json")
    again = measured(*read_back(command_line(first)[0]), tmp_path / "again.json")
    assert (again.config, again.config_hash) == (first.config, first.config_hash)


def measured(command: Command, options: Any, path: Path) -> Result:
    run(command, options, Output(output=str(path), quiet=True))
    return read_result(path)


def test_what_a_document_does_not_hold_stands_in_capitals() -> None:
    result = read_result(DOCUMENTS / "colocate.json")
    config = json.loads(json.dumps(result.config))
    config["workload"] = {"kind": "criteo-tsv", "digest": "d" * 64, "spec": {"name": "tiny"}}
    config["traffic"]["trace_sha256"] = "e" * 64
    config["experiment"]["arrivals"] = "trace"
    config["model"]["checkpoint"] = {"file": "model.pt", "sha256": "f" * 64}
    line, notes = command_line(result.model_copy(update={"config": config}))
    assert line.startswith(
        "lorabench colocate --data ROWS --arrivals ARRIVALS --checkpoint CHECKPOINT --conditions "
    )
    assert notes[0] == "ROWS: the rows of kind criteo-tsv whose digest begins dddddddddddddddd."
    assert notes[1].startswith("ARRIVALS: the recorded arrivals, trace_sha256 eeee")
    assert notes[2].startswith("CHECKPOINT: the model that was served, sha256 ffff")


@pytest.mark.parametrize(("share", "given_"), [(0.05, ""), (0.07, " --tolerance 7.0")])
def test_a_share_is_given_in_per_cent(share: float, given_: str) -> None:
    config = {"experiment": {"runs": 400, "tolerance": share}, "result": {"id": "a1"}}
    result = read_result(DOCUMENTS / "colocate.json")
    calibrated = result.model_copy(update={"command": "calibrate", "config": config})
    assert command_line(calibrated)[0] == f"lorabench calibrate RESULT{given_}"


def test_a_workload_of_ones_own_is_not_taken_for_a_preset() -> None:
    result = read_result(DOCUMENTS / "profile.json")
    config = json.loads(json.dumps(result.config))
    config["workload"]["spec"]["rows"] += 1
    line, notes = command_line(result.model_copy(update={"config": config}))
    assert line.startswith("lorabench profile --preset SPEC.toml ")
    assert notes[0].startswith("SPEC.toml: ")


def test_a_hostile_configuration_is_quoted() -> None:
    result = read_result(DOCUMENTS / "freshness.json")
    experiment = {"rows": {"a": 1}, "strategies": ["none; rm -rf ~", "$(id)"], "seed": [[1]]}
    line, _ = command_line(result.model_copy(update={"config": {"experiment": experiment}}))
    assert shlex.split(line)[2:] == ["--strategies", "none; rm -rf ~,$(id)"]


@pytest.mark.parametrize("value", ["text", True, [1.0], {"a": 1}, 1e308, 10**400, float("inf")])
@pytest.mark.parametrize("name", ["slo_s", "duration_s"])
def test_a_value_that_an_option_cannot_have_is_left_out(name: str, value: object) -> None:
    assert arguments(ColocateOptions, {name: value, "seed": 3}) == ["--seed", "3"]


def test_a_number_is_no_name_and_a_name_no_switch() -> None:
    assert arguments(ColocateOptions, {"arrivals": 1, "decide": "yes", "rank": "auto"}) == []


@given(st.floats(1e-6, 1e4))
def test_milliseconds_are_read_as_they_were_written(seconds: float) -> None:
    assert milliseconds(in_milliseconds(seconds)) == pytest.approx(seconds, rel=1e-15)


@given(
    st.builds(
        dict,
        load=st.floats(0.01, 10),
        seed=st.integers(0, 2**40),
        rank=st.none() | st.integers(1, 16),
        duration_s=st.none() | st.floats(0.001, 1000),
        conditions=st.none()
        | st.lists(st.sampled_from(["naive", "pinned"]), min_size=1, unique=True),
        wait=st.sampled_from(["block", "spin"]),
        decide=st.booleans(),
        replay_bytes=st.integers(4096, 1 << 40),
    )
)
def test_every_value_is_read_back_as_it_was(values: dict[str, Any]) -> None:
    known = {one.name: one.default for one in fields(ServingOptions)}
    line = shlex.join(["lorabench", "colocate", *arguments(ColocateOptions, values)])
    _, options = read_back(line)
    for name, value in values.items():
        found = getattr(options, name)
        if name == "conditions" and found is not None:
            found = [condition.name for condition in found]
        assert found == (known.get(name) if value is None else value)
