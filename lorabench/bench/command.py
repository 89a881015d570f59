"""What a subcommand is: its options, the experiment they start, the view of its result.

Everything heavy is named as ``module:attribute`` and imported when the command runs, so that
listing commands and their options stays light.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from lorabench.bench.options import OUTPUT, option


@dataclass(frozen=True)
class Output:
    """Where a command's result goes."""

    output: str | None = option(
        None,
        "Result document; by default a new file in results/.",
        "--output",
        "-o",
        metavar="FILE",
        panel=OUTPUT,
    )
    as_json: bool = option(
        False, "Print the document on stdout, all else on stderr.", "--json", panel=OUTPUT
    )
    strict: bool = option(False, "Exit with 1 if a claim is missed.", panel=OUTPUT)
    quiet: bool = option(False, "No progress on stderr.", "--quiet", "-q", panel=OUTPUT)
    verbose: bool = option(
        False, "Tell of every step on stderr, a line each.", "--verbose", "-v", panel=OUTPUT
    )


@dataclass(frozen=True)
class NoOutput:
    """Nothing to be said of where a command's result goes: it prints."""


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Parameters
    ----------
    name : str
        As it is called.
    summary : str
        Its line in the list of commands.
    options : type
        Dataclass of its options (`lorabench.bench.options`).
    experiment : str
        ``module:callable`` from the options to a `lorabench.bench.experiment.Experiment`; empty
        where `start` runs something else.
    view : str
        ``module:callable`` that prints a result on a console; likewise.
    about : str
        What ``--help`` says below the summary.
    example : str
        A command that works as it stands.
    beside : str
        Ending of the file that lies beside the document; empty for none.
    logs : str
        Ending of the folder of logs beside it, where a run keeps any; empty for none.
    always_saved : bool
        Without ``-o`` a new file in ``results/`` is written.
    start : str
        ``module:callable`` from command, options and output to what runs; the runner by default.
    output : type
        Dataclass of the options that say where the result goes.
    """

    name: str
    summary: str
    options: type[Any]
    experiment: str = ""
    view: str = ""
    about: str = ""
    example: str = ""
    beside: str = ""
    logs: str = ""
    always_saved: bool = True
    start: str = "lorabench.bench.runner:run"
    output: type[Any] = Output

    def load(self, what: str) -> Any:
        """Import what one of the fields names."""
        module, _, name = str(getattr(self, what)).partition(":")
        return getattr(importlib.import_module(module), name)

    def run(self, options: Any, output: Any) -> None:
        """Run it with these options."""
        self.load("start")(self, options, output)
