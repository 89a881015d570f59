"""Two versions, interleaved: who gives the turns, and when both have had enough.

`run_pair` is all that a command needs. A machine's weather falls on both sides of a pair alike,
where it would pass for a change between two runs one after the other; and both sides serve the same
arrivals at the same rate (`lorabench.bench.turns`, ``docs/methodology.md``).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorabench.bench.experiment import Observer
from lorabench.bench.pair import AFRESH
from lorabench.bench.pair.afresh import Afresh, ColocateArguments, remove_blocks
from lorabench.bench.pair.paired_run import SILENCE_S, PairedRun, Step
from lorabench.bench.pair.process import SideError, end
from lorabench.bench.pair.version import Version
from lorabench.bench.turns import Decided, Ended, Planned
from lorabench.errors import InputError
from lorabench.isolation.cleanup import run_lock
from lorabench.isolation.undoing import signals_held
from lorabench.results.files import check_writable, read_result
from lorabench.results.schema import Result, new_id

INTERLEAVED = ("colocate", "kernels", "profile")
"""Commands whose runs take turns."""

# Options whose meaning is the pair's to say, and what stands in their place.
_NOT_THEIRS = {
    "-o": "both documents are written where the pair's are kept",
    "--output": "both documents are written where the pair's are kept",
    "--strict": "a claim of one run is no verdict on two; expected a gate",
    "--dry-run": "nothing is measured then; expected a run",
}


@dataclass(frozen=True)
class Pair:
    """What came of a pair of runs.

    Parameters
    ----------
    base, head : tuple of Result
        A document each; of a version that takes no turns one a block, in order.
    notes : tuple of str
        What a reader should know, a sentence each.
    interrupted : bool
        It was ended by Ctrl-C; there may be one block more of one side than of the other.
    """

    base: tuple[Result, ...]
    head: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    interrupted: bool = False


def run_pair(
    base_python: str,
    head_python: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    decided: Decided,
    observer: Observer,
    say: Callable[[str], None],
    seed: int = 0,
    silence_s: float = SILENCE_S,
) -> Pair:
    """Run a command of two installed versions, step by step in turn, in random order.

    Call it from the main thread. ``base.json`` and ``head.json`` are written into `folder`, raw
    samples beside them, however the pair ends; where a version takes no turns, folders ``base`` and
    ``head`` of a document a block. Both runs end with this process, whatever ends it.

    Parameters
    ----------
    base_python, head_python : str
        Interpreters that have a version installed each.
    arguments : sequence of str
        Command and options.
    folder : Path
        Where documents go.
    decided : callable
        Asked at the looks that base has planned (`colocate` without ``--rounds``).
    observer, say
        Told how both get on, and in a line what the user has to know.
    seed : int
        Of the order within each pair.
    silence_s : float
        How long a run may give no sign, beside three steps as it plans them.

    Returns
    -------
    Pair
        Also where Ctrl-C ended it, once both sides had finished something.

    Raises
    ------
    InputError
        An interpreter has no lorabench, or the command takes no turns.
    SideError
        A run failed, died or fell silent: which and how, and its exit code.
    MachineError
        Another run is under way on this machine.
    """
    _check(arguments)
    outputs = _outputs(folder)
    observer.stage("asking both versions", 0.0)
    versions = {"base": Version.ask(base_python), "head": Version.ask(head_python)}
    if not all(version.takes_turns for version in versions.values()):
        asked = ColocateArguments.read(arguments)
        return _afresh(Afresh(versions, folder, asked, observer, silence_s), decided, seed)
    turning = _Turning(decided, observer, seed)
    interrupted = _in_turn(versions, arguments, outputs, turning, say=say, silence_s=silence_s)
    base, head = (read_result(path) for path in outputs.values())
    return Pair((base,), (head,), tuple(_notes(base, head)), interrupted)


def _outputs(folder: Path) -> dict[str, Path]:
    """Return where each side's document goes, once it is known that it can be written there."""
    found = {name: folder / f"{name}.json" for name in ("base", "head")}
    for name, path in found.items():
        check_writable(path)
        # Of an earlier pair: it must not pass for this one's.
        path.unlink(missing_ok=True)
        remove_blocks(folder, name)
    return found


def _in_turn(
    versions: Mapping[str, Version],
    arguments: Sequence[str],
    outputs: Mapping[str, Path],
    turning: "_Turning",
    *,
    say: Callable[[str], None],
    silence_s: float,
) -> bool:
    """Run both versions to their ends; return whether Ctrl-C ended them, with something finished.

    Raises
    ------
    SideError, MachineError, KeyboardInterrupt
        As of `run_pair`.
    """
    pair = new_id()
    with run_lock(say), ExitStack() as stack:
        started: list[PairedRun] = []
        try:
            for name, version in versions.items():
                side = PairedRun(
                    name,
                    version,
                    arguments,
                    outputs[name],
                    pair=pair,
                    tell=turning.observer.stage,
                    silence_s=silence_s,
                )
                started.append(stack.enter_context(side))
                first = started[0].planned
                side.open(None if side is started[0] or first is None else first.kept)
            turning.run(*started)
        except BaseException as error:
            # Each keeps what it has finished, as a run of its own does.
            with signals_held():
                end(started)
            if isinstance(error, KeyboardInterrupt) and all(
                path.is_file() for path in outputs.values()
            ):
                return True
            raise
    return False


def _check(arguments: Sequence[str]) -> None:
    """Refuse what cannot be interleaved, and options that are the pair's."""
    command = arguments[0] if arguments else "nothing"
    if command not in INTERLEAVED:
        raise InputError(
            f"--run: found {command!r:.60} to run, expected one of {', '.join(INTERLEAVED)}"
        )
    for word in arguments[1:]:
        name = word.partition("=")[0]
        if name in _NOT_THEIRS:
            raise InputError(
                f"{name}: found it among the options of both runs; {_NOT_THEIRS[name]}"
            )


def _afresh(runs: Afresh, decided: Decided, seed: int) -> Pair:
    interrupted = False
    try:
        runs.run(decided, seed)
    except KeyboardInterrupt:
        if not all(runs.found.values()):
            raise
        interrupted = True
    pairs = list(zip(runs.found["base"], runs.found["head"], strict=False))
    notes = [AFRESH, *dict.fromkeys(note for pair in pairs for note in _notes(*pair))]
    base, head = zip(*pairs, strict=True)
    return Pair(base, head, tuple(notes), interrupted)


class _Turning:
    """Gives the turns.

    Parameters
    ----------
    decided : callable
        As of `run_pair`.
    observer : Observer
        Told of each pair.
    seed : int
        Of the order within each.
    """

    def __init__(self, decided: Decided, observer: Observer, seed: int) -> None:
        self._decided = decided
        self.observer = observer
        self._rng = np.random.default_rng((seed, 7))
        self._begun_s = time.monotonic()

    def run(self, base: PairedRun, head: PairedRun) -> None:
        """Take both sides, opened, through their steps to their ends.

        Raises
        ------
        SideError
            One failed, or they have other steps.
        """
        planned = base.planned or Planned()
        opened_s = time.monotonic()
        order, done = [base, head], 0
        while base.step is not None and head.step is not None:
            if base.step.text != head.step.text:
                raise _unlike(base.step, head.step)
            blocks, within = divmod(done, planned.steps)
            ended = None if within else self._ended(base, head, blocks, planned, opened_s)
            self.observer.stage(base.step.text, base.step.done)
            # Every second step the other way round: of a block both begin as many.
            order = order[::-1] if within % 2 else [order[n] for n in self._rng.permutation(2)]
            last = within == planned.steps - 1
            for side in order:
                if ended is None:
                    side.go(report=last and blocks + 1 in planned.looks)
                else:
                    side.stop(ended)
            done += 1
        if base.step is not None or head.step is not None:
            raise _unlike(base.step, head.step)

    def _ended(
        self, base: PairedRun, head: PairedRun, blocks: int, planned: Planned, opened_s: float
    ) -> Ended | None:
        """Return what ends both after so many blocks; None to go on."""
        level = planned.level if blocks in planned.looks else None
        if level is not None and self._decided([base.measured], [head.measured], level):
            return "known"
        if blocks and planned.most_s is not None:
            now_s = time.monotonic()
            left_s = planned.most_s - (now_s - self._begun_s) - 2 * planned.later_s
            if left_s < (now_s - opened_s) / blocks:
                return "time"
        return None


def _unlike(base: Step | None, head: Step | None) -> SideError:
    at = ["nothing" if step is None else repr(step.text) for step in (base, head)]
    return SideError(
        f"found {at[0]:.100} to come of base and {at[1]:.100} of head, expected versions whose "
        "runs have the same steps",
        InputError.exit_code,
    )


def _notes(base: Result, head: Result) -> Iterator[str]:
    """Say what speaks against comparing blocks pair by pair."""
    pairs = list(zip(base.rounds, head.rounds, strict=False))
    unlike = sum(
        one.schedule_sha256[name] != other.schedule_sha256[name]
        for one, other in pairs
        for name in one.schedule_sha256.keys() & other.schedule_sha256.keys()
    )
    if unlike:
        yield (
            f"arrivals differed between base and head {unlike} times in {len(pairs)} pairs of "
            "blocks: the two versions draw them differently, so that their load is the same on "
            "average only"
        )
