"""The interleaving of versions of which one is too old to take turns: a fresh run for each block.

Slower, since each run opens, calibrates and starts its processes anew, and weaker, since all blocks
have the same arrivals: both follow from a run's seed, and another seed is another model. Each run
holds the lock of the machine itself.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lorabench.bench.experiment import Observer
from lorabench.bench.pair import MAX_MINUTES_OF_TWO
from lorabench.bench.pair.process import RunProcess, end
from lorabench.bench.pair.version import Version
from lorabench.bench.turns import Decided
from lorabench.errors import InputError
from lorabench.isolation.undoing import signals_held
from lorabench.results.files import documents_in, read_result, write_result
from lorabench.results.schema import Result, new_id
from lorabench.results.sequential import Looks, plan_looks

# A block that only calibrates: the load is all that is read of it.
_SHORT = ("--rounds", "1", "--duration", "0.5")


@dataclass(frozen=True)
class ColocateArguments:
    """A command of `colocate`, apart from what says how long it goes on.

    Parameters
    ----------
    arguments : tuple of str
        Without these.
    rounds : int or None
        How many blocks; None for as many as the verdicts take.
    most_s : float
        How long then.
    """

    arguments: tuple[str, ...]
    rounds: int | None
    most_s: float

    @classmethod
    def read(cls, arguments: Sequence[str]) -> "ColocateArguments":
        """Take options apart.

        Raises
        ------
        InputError
            Another command, or a value that is no number.
        """
        if arguments[0] != "colocate":
            raise InputError(
                f"--run: found {arguments[0]} and a version that takes no turns, expected colocate "
                "or two versions that do"
            )
        left: list[str] = []
        values: dict[str, float] = {}
        words = iter(arguments)
        for word in words:
            name, _, value = word.partition("=")
            if name in ("--rounds", "--max-minutes"):
                text = value or next(words, "")
                try:
                    values[name] = float(text)
                except ValueError:
                    raise InputError(f"{name}: found {text!r:.60}, expected a number") from None
            elif name != "--decide":
                left.append(word)
        rounds = values.get("--rounds")
        return cls(
            tuple(left),
            None if rounds is None else int(rounds),
            60 * values.get("--max-minutes", MAX_MINUTES_OF_TWO),
        )

    def has(self, name: str) -> bool:
        """Whether an option is given."""
        return any(word.partition("=")[0] == name for word in self.arguments)


@dataclass
class Afresh:
    """Runs blocks one by one.

    Parameters
    ----------
    versions : mapping of str to Version
        ``base`` and ``head``.
    folder : Path
        Where documents go: ``base/001.json`` and so on. Each says in its ``environment`` of which
        pair it is (``pair``), which block (``pair_block``) and the level of intervals at the looks,
        where looks were planned by then (``pair_level``): that is how they are compared again.
    asked : ColocateArguments
        What is run.
    observer : Observer
        Told of each run.
    silence_s : float
        How long a run may take at the least before it counts as hung.
    found : dict of str to list of Result
        A document a block of each side.
    """

    versions: Mapping[str, Version]
    folder: Path
    asked: ColocateArguments
    observer: Observer
    silence_s: float
    found: dict[str, list[Result]] = field(default_factory=lambda: {"base": [], "head": []})
    _pair: str = field(default_factory=new_id)

    def run(self, decided: Decided, seed: int) -> None:
        """Run pairs of blocks until they are enough.

        Raises
        ------
        InputError
            The command is none of colocate.
        SideError
            A run failed.
        """
        begun_s = time.monotonic()
        arguments = [*self.asked.arguments, "--rounds", "1"]
        if not self.asked.has("--qps"):
            arguments += ["--qps", repr(self._load())]
        opened_s = time.monotonic()
        rng = np.random.default_rng((seed, 7))
        total, looks = self.asked.rounds, None
        pairs = 0
        while total is None or pairs < total:
            self.observer.stage(f"pair {pairs + 1}", 0.0 if total is None else pairs / total)
            for name in rng.permutation(["base", "head"]):
                self.found[name].append(self._block(str(name), pairs + 1, arguments, looks))
            pairs += 1
            now_s = time.monotonic()
            if total is None:
                left_s = self.asked.most_s - (now_s - begun_s)
                looks = plan_looks(pairs + max(0, int(left_s / (now_s - opened_s))))
                total = looks.most
            if looks is not None and self._enough(decided, looks, pairs):
                return
            if looks is not None and now_s - begun_s > self.asked.most_s:
                return

    def _enough(
        self,
        decided: Decided,
        looks: Looks,
        pairs: int,
    ) -> bool:
        if pairs not in looks.blocks:
            return False
        base, head = (
            [(one.metrics, one.rounds) for one in self.found[n]] for n in ("base", "head")
        )
        return decided(base, head, looks.level)

    def _load(self) -> float:
        """Return the load that base calibrates, of both."""
        self.observer.stage("base: measuring its load", 0.0)
        try:
            output = self.folder / "base-load.json"
            result = self._one("base", output, [*self.asked.arguments, *_SHORT])
        finally:
            for name in ("base-load.json", "base-load.npz"):
                (self.folder / name).unlink(missing_ok=True)
        metric = result.metric("offered_qps")
        if metric is None or not metric.estimate:
            raise InputError("base: found no offered_qps in its document; expected --qps")
        return metric.estimate

    def _block(
        self, name: str, number: int, arguments: Sequence[str], looks: Looks | None
    ) -> Result:
        """Run a block, and note in its document which it was, of which the run knows nothing."""
        output = block_path(self.folder, name, number)
        result = self._one(name, output, arguments)
        told: dict[str, object] = {"pair": self._pair, "pair_block": number}
        if looks is not None:
            told["pair_level"] = looks.level
        result = result.model_copy(update={"environment": result.environment | told})
        write_result(result, output)
        return result

    def _one(self, name: str, output: Path, arguments: Sequence[str]) -> Result:
        output.unlink(missing_ok=True)
        with RunProcess(name, self.versions[name], arguments, output) as run:
            try:
                run.finish(self.silence_s + self.asked.most_s)
            except BaseException:
                with signals_held():
                    end([run])
                raise
        return read_result(output)


def block_path(folder: Path, name: str, number: int) -> Path:
    """Return where a side's document of a block goes."""
    return folder / name / f"{number:03d}.json"


def remove_blocks(folder: Path, name: str) -> None:
    """Remove a side's documents of an earlier pair, raw samples too, and nothing else."""
    side = folder / name
    if not side.is_dir():
        return
    for path in documents_in(side):
        try:
            ours = "pair_block" in read_result(path).environment
        except InputError:
            continue
        if ours:
            path.unlink()
            path.with_suffix(".npz").unlink(missing_ok=True)
