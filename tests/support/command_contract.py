"""What every command keeps to. Adding one begins with subclassing these in test_contracts.py."""

import functools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import typer

from lorabench.bench.command import Command, Output
from lorabench.bench.options import check, flags, options_of
from lorabench.bench.runner import run
from lorabench.cli import app
from lorabench.results.files import read_result
from lorabench.results.registry import metric_spec
from lorabench.results.schema import SCHEMA


@functools.cache
def loaded_by_listing() -> set[str]:
    """Return the modules that ``lorabench --help`` has to wait for."""
    program = "import sys, lorabench.cli; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


class CommandContract:
    """A subcommand, whatever comes of it.

    Attributes
    ----------
    command : Command
        It.
    required : dict
        Values of the options that have no default.
    """

    command: ClassVar[Command]
    required: ClassVar[dict[str, Any]] = {}

    def test_it_says_what_it_is_for_and_shows_one_use(self) -> None:
        command = self.command
        assert re.fullmatch(r"[A-Z].{10,}\.", command.summary)
        assert f"lorabench {command.name} " in command.example
        assert not command.about or command.about.endswith(".")

    def test_every_option_is_said_once_with_its_help(self) -> None:
        command = self.command
        given = ["--help", "-h"]
        for kind in (command.options, command.output):
            listed = list(options_of(kind))
            assert [one.name for one, _ in listed] == [one.name for one in fields(kind)]
            for one, known in listed:
                assert known.help.endswith("."), one.name
                given += flags(one, known)
        assert len(set(given)) == len(given)

    def test_the_defaults_can_be_run(self) -> None:
        check(self.command.options(**self.required))

    def test_its_example_can_be_read(self) -> None:
        last = self.command.example.split("&&")[-1]
        program, name, *arguments = shlex.split(last)
        assert (program, name) == ("lorabench", self.command.name)
        typer.main.get_command(app).commands[name].make_context(name, arguments)

    def test_it_is_listed_without_loading_what_it_runs(self) -> None:
        command = self.command
        named = filter(None, (command.experiment, command.view, command.start))
        assert not {one.partition(":")[0] for one in named} & loaded_by_listing()


class ExperimentContract(CommandContract):
    """A subcommand that the runner runs, and whose result is a document."""

    def small(self, folder: Path) -> Any:
        """Return the options of the shortest run; what it reads may be written to a folder."""
        raise NotImplementedError

    def test_nothing_is_found_before_it_measures(self, tmp_path: Path) -> None:
        experiment = self.command.load("experiment")(self.small(tmp_path))
        assert experiment.findings() is None
        assert experiment.preview() is None
        experiment.close()

    def test_its_document_is_valid_and_read_back_as_it_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "out.json"
        run(self.command, self.small(tmp_path), Output(output=str(path), quiet=True))
        result = read_result(path)
        assert json.loads(path.read_text()) == result.model_dump(mode="json", by_alias=True)
        assert (result.schema_, result.command, result.partial) == (
            SCHEMA,
            self.command.name,
            False,
        )
        assert (result.raw is not None) == (self.command.beside == ".npz")
        assert result.metrics
        assert len({(m.name, json.dumps(m.labels)) for m in result.metrics}) == len(result.metrics)
        for metric in result.metrics:
            assert metric.unit == metric_spec(metric.name).unit
            assert metric.labels
