"""Options of ``lorabench compare``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.bench.options import INPUT, OUTPUT, RARE, option
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.results.gate import Gate

FORMATS = ("text", "markdown", "junit", "json", "benchmark")


def percentage(text: str) -> float:
    """Read ``5%`` as a share.

    Raises
    ------
    ValueError
        It is none.
    """
    number, mark, rest = text.partition("%")
    try:
        if not mark or rest:
            raise ValueError(text)
        return float(number) / 100
    except ValueError:
        raise ValueError("a percentage, such as 5%") from None


@dataclass(frozen=True)
class CompareOptions:
    """What is compared, and what it is held to."""

    base: str = option(
        "",
        "Result document, or a folder of repeated runs; with --run, a python that has lorabench.",
        "BASE",
        metavar="BASE",
        panel=INPUT,
    )
    head: str = option(
        "", "What is held against it, likewise.", "HEAD", metavar="HEAD", panel=INPUT
    )
    arguments: tuple[str, ...] = option(
        (),
        "With --run, after --: what both versions run, such as colocate --preset demo.",
        "ARGUMENTS",
        metavar="[-- ARGUMENTS]",
        panel=INPUT,
    )
    run: bool = option(
        False,
        "Run both versions now, interleaved block by block on this machine (colocate, kernels or "
        "profile), and compare within pairs.",
    )
    keep: Path | None = option(
        None,
        "Folder for both documents of --run; by default a new one in results/.",
        metavar="DIR",
        panel=RARE,
    )
    seed: int = option(0, "Of the order within each pair of blocks of --run.", least=0, panel=RARE)
    gate: tuple[str, ...] = option(
        (),
        "Fail where this metric is shown to be worse by more than so much, in every case but "
        "controls or in one: latency_p99=5% or latency_p99[isolated]=5%; may be repeated.",
        metavar="METRIC[CASE]=X%",
    )
    on_unknown: str = option(
        "fail",
        "Whether a gate passes whose data could not have shown a change of its size.",
        choices=("pass", "fail"),
    )
    allow_different: bool = option(
        False,
        "Compare although configuration, machine, kernel, pages or instruction set differ.",
        panel=RARE,
    )
    size: float = option(
        0.05,
        "Size of a change that matters where no gate says so.",
        metavar="X%",
        parse=percentage,
        shown="5%",
        above=0,
        below=1,
        panel=RARE,
    )

    @property
    def gates(self) -> "tuple[Gate, ...]":
        """What metrics are held to."""
        return tuple(map(_gate, self.gate))

    def check(self) -> None:
        """Refuse what does not go together.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        expected = "a python that has lorabench" if self.run else "a result or a folder"
        for name in ("base", "head"):
            if not getattr(self, name):
                raise InputError(f"{name.upper()}: found nothing, expected {expected}")
        if self.run and not self.arguments:
            raise InputError("--run: found nothing to run, expected it after --, as -- colocate")
        if not self.run and self.arguments:
            raise InputError(
                f"found {' '.join(self.arguments)!r:.60} beside BASE and HEAD, expected the two "
                "alone; to run two versions, --run"
            )
        if not self.run and self.keep is not None:
            raise InputError("--keep: found it without --run, expected both or neither")
        if len(set(self.gates)) < len(self.gates):
            raise InputError(f"--gate: found {', '.join(self.gate)}, expected each once")


@dataclass(frozen=True)
class CompareOutput:
    """What is shown, and how."""

    format: str = option(
        "text",
        "Table, Markdown for a CI job's summary, JUnit XML of the gates, JSON, or ratios as "
        "github-action-benchmark's customSmallerIsBetter.",
        choices=FORMATS,
        panel=OUTPUT,
    )
    output: str | None = option(
        None, "Write it here, and not on stdout.", "--output", "-o", metavar="FILE", panel=OUTPUT
    )
    as_json: bool = option(False, "The same as --format json.", "--json", panel=OUTPUT)
    quiet: bool = option(False, "No progress of --run on stderr.", "--quiet", "-q", panel=OUTPUT)
    metric: tuple[str, ...] = option(
        (), "Show this metric alone; may be repeated.", metavar="METRIC", panel=RARE
    )
    everything: bool = option(
        False, "Show every metric in every case, controls too.", "--all", panel=RARE
    )

    @property
    def form(self) -> str:
        """The format that is asked for, in whichever way."""
        return "json" if self.as_json else self.format

    def check(self) -> None:
        """Refuse two formats.

        Raises
        ------
        InputError
            Naming them.
        """
        if self.as_json and self.format not in ("text", "json"):
            raise InputError(
                f"--json: found --format {self.format} beside it, expected one of them"
            )


def _gate(text: str) -> "Gate":
    from lorabench.results.gate import parse_gate

    try:
        return parse_gate(text)
    except ValueError as error:
        raise InputError(f"--gate: found {text!r}, expected {error}") from None
