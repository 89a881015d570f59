"""``compare --run``: two installed versions in turn, until their gates are decided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorabench.bench.pair.run import run_pair
from lorabench.bench.progress import progress
from lorabench.bench.turns import Measured
from lorabench.documents.compare.options import CompareOptions
from lorabench.documents.compare.pairing import level_of, sentence
from lorabench.errors import InputError
from lorabench.report.terminal import terminal
from lorabench.results.compare import SIGNED, compare, rows_of, verdicts
from lorabench.results.comparison import Comparison, settled
from lorabench.results.registry import metric_spec
from lorabench.results.schema import new_id
from lorabench.results.sides import Blocks, Side


@dataclass(frozen=True)
class _Looks:
    """Looks at the pairs so far, as often as the runs have planned."""

    options: CompareOptions

    def decided(self, base: Sequence[Measured], head: Sequence[Measured], level: float) -> bool:
        """Return whether more pairs would change nothing."""
        sides = _side(base), _side(head)
        gates, size = self.options.gates, self.options.size
        rows = rows_of(*sides, gates=gates, paired=True, level=level, size=size)
        try:
            return settled(rows, verdicts(gates, rows, *sides, level))
        except InputError:
            return False  # what a gate is about is known only of the whole run


def _side(runs: Sequence[Measured]) -> Side:
    return Side.measured([metrics for metrics, _ in runs], [Blocks.of(one) for _, one in runs])


def run_versions(options: CompareOptions, *, quiet: bool) -> tuple[Comparison, bool]:
    """Run both versions and compare them, and say whether Ctrl-C ended them.

    Raises
    ------
    InputError
        What is to be run cannot be, or a gate is about no metric there is.
    SideError, MachineError, KeyboardInterrupt
        As of `lorabench.bench.pair.run.run_pair`.
    """
    _check(options)
    folder = options.keep or Path("results") / f"compare-{new_id()}"
    console = terminal(stderr=True)
    with progress(console, quiet=quiet, verbose=False) as observer:
        pair = run_pair(
            options.base,
            options.head,
            options.arguments,
            folder=folder,
            decided=_Looks(options).decided,
            observer=observer,
            say=lambda line: console.print(f"lorabench: {line}", highlight=False),
            seed=options.seed,
        )
    console.print(f"documents: {folder}", highlight=False, soft_wrap=True)
    found = compare(
        pair.base,
        pair.head,
        gates=options.gates,
        paired=True,
        level=level_of(pair.base),
        size=options.size,
    )
    return replace(found, notes=(*map(sentence, pair.notes), *found.notes)), (pair.interrupted)


def _check(options: CompareOptions) -> None:
    """Refuse a gate about no metric of this version before minutes are spent on it."""
    for gate in options.gates:
        try:
            signed = metric_spec(gate.metric).signed
        except KeyError:
            raise InputError(
                f"--gate {gate}: found no metric of that name, expected one of docs/metrics.md"
            ) from None
        if signed:
            raise InputError(SIGNED.format(gate=gate))
