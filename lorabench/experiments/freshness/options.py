"""Options of ``lorabench freshness``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.bench.options import RARE, names, option
from lorabench.errors import InputError
from lorabench.experiments.freshness.check_options import CheckOptions
from lorabench.experiments.freshness.study_options import MONOLITH, SHARDS, StudyOptions

if TYPE_CHECKING:
    from lorabench.strategies.base import StrategySpec

SEEDS = 5
"""Replicates, unless asked for otherwise."""

RECORDED = "deltas"
"""The strategy that sends what was recorded."""

BLOCKS = 6
"""Blocks of time of a lone stream, unless asked for otherwise: a verdict takes as many."""

WINDOWS = 12
"""Stretches of the stream, unless asked for otherwise."""

LEAST_ROWS = 256
"""Of a window: an area of fewer rows says little."""


ALL = (
    "none",
    "full",
    "delta",
    "delta-int8",
    "priority-delta-norm-5",
    "priority-delta-norm-10",
    "priority-grad-energy-5",
    "priority-freq-grad-5",
    "stream",
    "lora",
    "lora+delta",
    "memory",
    "ideal",
)
"""What ``--strategies all`` stands for: each way once, and of ``priority`` each selector."""


def _each_once(text: str) -> tuple[str, ...]:
    """Read names; ``all`` stands for `ALL`."""
    each = (ALL if name == "all" else (name,) for name in names(text))
    return tuple(dict.fromkeys(name for several in each for name in several))


def even_blocks(windows: int) -> int:
    """Return into how many blocks of as many windows each a lone stream falls.

    Of unequal blocks each window would weigh by the block that it is in. At least `BLOCKS`, or as
    many as there are windows.

    Examples
    --------
    >>> even_blocks(12), even_blocks(16), even_blocks(7), even_blocks(4)
    (6, 8, 7, 4)
    """
    least = min(BLOCKS, windows)
    return next(blocks for blocks in range(least, windows + 1) if windows % blocks == 0)


@dataclass(frozen=True)
class FreshnessOptions(CheckOptions, StudyOptions):
    """What to replay, and by which strategies."""

    strategies: tuple[str, ...] = option(
        ("none", "lora", "ideal"),
        "none, full, delta, delta-int8, priority, stream, deltas, lora, lora+delta, memory, ideal, "
        "ideal-fbgemm, or all; forms such as lora-r4 are in docs/freshness.md.",
        metavar="S[,S]...",
        parse=_each_once,
    )
    rows: int | None = option(
        None, "Rows to replay.", shown="the whole stream", least=2 * LEAST_ROWS
    )
    minutes: float | None = option(
        None,
        "Minutes to replay; generated rows are as many as that takes.",
        above=0,
        below=float("inf"),
    )
    windows: int | None = option(
        None,
        "Stretches of the stream that get a quality each.",
        shown=f"{WINDOWS}; of --data with few rows fewer",
        least=2,
    )
    memory_budget: float = option(
        0.02,
        "LoRA state, or memory's, as a share of the table bytes, at most.",
        above=0,
        most=1,
        panel=RARE,
    )
    tune: bool = option(
        False, "Choose each one's learning rate and decay on a stream of another seed first."
    )
    seed: int = option(0, "Of generated rows, initial weights and the learner's draws.", least=0)
    seeds: int | None = option(
        None,
        "Replicates: --seed and those behind it, each with rows and a model of its own; with "
        "--data, blocks of time of the one stream.",
        shown=f"{SEEDS}; with --data {BLOCKS} or more; with an adapter or deltas and no --data 1",
        least=1,
    )
    window_rows: int = option(
        65_536,
        "Where no strategy learns: most rows of each that are predicted.",
        least=LEAST_ROWS,
        panel=RARE,
    )
    dim: int | None = option(None, "Embedding dim.", shown="the workload's", least=1, panel=RARE)
    learning_rate: float | None = option(
        None,
        "Of every strategy that learns.",
        shown="each one's own",
        above=0,
        below=float("inf"),
        panel=RARE,
    )
    full_every: int = option(
        36,
        "Pushes of priority from one that sends all that is outstanding to the next.",
        least=1,
        panel=RARE,
    )
    compute_model: str | None = option(
        None,
        "Take what learning and pushing take from this file instead of measuring it.",
        metavar="FILE.toml",
        panel=RARE,
    )
    save_compute_model: str | None = option(
        None, "Save what was measured as such a file.", metavar="FILE.toml", panel=RARE
    )
    tune_rows: int = option(400_000, "Rows replayed to --tune.", least=2 * LEAST_ROWS, panel=RARE)
    adapter: str | None = option(
        None, "LoRA begins with this saved adapter.", metavar="FILE", panel=RARE
    )
    save_adapter: str | None = option(
        None,
        "Save the LoRA strategy's adapter at the end.",
        metavar="FILE.safetensors",
        panel=RARE,
    )

    def specs(self) -> "tuple[StrategySpec, ...]":
        """Return the strategies that are asked for.

        Raises
        ------
        InputError
            A name is none of theirs.
        """
        # Here, so that `--help` need not wait for torch.
        from lorabench.strategies.registry import parse

        specs = (parse(name, self.learning_rate, seed=self.seed) for name in self.strategies)
        folder = None if self.deltas is None else Path(self.deltas)
        return tuple(spec.given(folder=folder) if spec.name == RECORDED else spec for spec in specs)

    def recorded(self) -> "StrategySpec":
        """Return the strategy whose pushes are to be recorded.

        Raises
        ------
        InputError
            There is none, or not just one.
        """
        from lorabench.strategies.pushed import Pushed

        pushing = [
            spec
            for spec in self.specs()
            if issubclass(spec.kind, Pushed) and spec.kind.encoding is not None
        ]
        chosen = [spec for spec in pushing if spec.name == "delta"] or pushing
        if len(chosen) != 1:
            found = ", ".join(spec.name for spec in chosen) or "none"
            raise InputError(
                f"--save-deltas: found {found} among --strategies that pushes touched rows, "
                "expected delta, or one"
            )
        return chosen[0]

    def limit(self, rows_per_s: float) -> int | None:
        """Return how many rows are to be replayed at most; None for all."""
        if self.minutes is None:
            return self.rows
        return max(1, round(self.minutes * 60 * rows_per_s))

    @property
    def replicates(self) -> int:
        """How many seeds are replayed, or into how many blocks of time the stream of --data falls.

        Adapters and deltas belong to the tables of one seed.
        """
        if self.seeds is not None:
            return self.seeds
        if self.data is not None:
            return even_blocks(self.stretches)
        return SEEDS if self._of_one_seed is None else 1

    @property
    def blocks(self) -> int:
        """Into how many blocks of time a replay falls: 1 where there are several replays.

        A protocol's average is over all its shards, as it is in print.
        """
        if self.data is not None:
            return self.replicates
        several = self.replicates > 1 or self.protocol is not None
        return 1 if several else even_blocks(self.stretches)

    @property
    def stretches(self) -> int:
        """Stretches of the stream that get a quality each: windows, or a protocol's shards."""
        if self.protocol == MONOLITH:
            return self.shards or SHARDS
        return self.windows or WINDOWS

    @property
    def _of_one_seed(self) -> str | None:
        """The option that names what belongs to the tables of one seed."""
        given = {
            "--adapter": self.adapter,
            "--save-adapter": self.save_adapter,
            "--deltas": self.deltas,
            "--save-deltas": self.save_deltas,
        }
        return next((flag for flag, value in given.items() if value is not None), None)

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises
        ------
        InputError
            Naming them.
        """
        self.check_alone()
        if self.check_link:
            return
        if self.rows is not None and self.minutes is not None:
            raise InputError("--rows, --minutes: found both, expected one of them")
        if not self.strategies:
            raise InputError("--strategies: found none, expected some, such as none,lora,ideal")
        if self.learning_rate is not None and self.tune:
            raise InputError("--tune: found --learning-rate beside it, expected one or the other")
        self.check_study()
        if (RECORDED in self.strategies) != (self.deltas is not None):
            found, lacks = (
                ("--deltas", f"the strategy {RECORDED}")
                if self.deltas is not None
                else (f"--strategies {RECORDED}", "--deltas")
            )
            raise InputError(f"{found}: found it without {lacks}, expected both")
        if self.save_deltas is not None:
            self.recorded()
        kept = [spec.name for spec in self.specs() if spec.kind.resumable]
        if self.adapter is not None and not kept:
            raise InputError("--adapter: found no lora among --strategies, expected one")
        if self.save_adapter is not None and len(kept) != 1:
            raise InputError(f"--save-adapter: found {len(kept)} lora strategies, expected one")
        if self.data is not None and self.replicates > self.stretches:
            raise InputError(
                f"--seeds: found {self.seeds}, expected at most {self.stretches}: the stream of "
                "--data is replayed once, and its windows make up the replicates"
            )
        if self.data is None and self._of_one_seed is not None and self.replicates > 1:
            raise InputError(
                f"{self._of_one_seed}: found --seeds {self.seeds} beside it, expected 1: it "
                "belongs to the tables of one seed"
            )
