"""The hot path against what people would use instead, on this machine, in one process.

What is compared, at which points, and what a fair reading of it is: ``docs/kernels.md``. The loop
is `lorabench.bench.timing`, our work `lorabench.experiments.kernels.ours`, the peers'
`lorabench.experiments.kernels.peers`. Figures are medians over rounds; a ratio's rounds are paired.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from lorabench._hotpath import (
    MAX_RANK,
    RowIndex,
    add_gram,
    instruction_set,
    instruction_sets,
    top_rows,
    use_instruction_set,
    zipf,
)
from lorabench.bench.timing import Candidate, Floats, Times, best, time_interleaved
from lorabench.errors import InputError, MachineError
from lorabench.experiments.kernels import peers
from lorabench.experiments.kernels.ours import (
    EXPONENT,
    AdaptedTable,
    IndexSampler,
    TableMemory,
    our_lookup,
    random_reads,
)
from lorabench.host import environment
from lorabench.host.topology import read_topology
from lorabench.isolation.affinity import pin_threads
from lorabench.results import claims as verdict
from lorabench.results import schema, statistics
from lorabench.results.program import program

GROUPS = ("lookup", "lora", "update", "zipf", "index", "top_rows", "gram", "scaling")
PEERS = ("torch", "fbgemm")
BAGS = 2048
BUDGET = 0.02
ZIPF_RANKS = 40_000_000

MIB, GIB = 1 << 20, 1 << 30

# Beside the tables: torch, the peers' own copies of an update, the adapter.
_RESERVE_BYTES = 5 * GIB


@dataclass(frozen=True)
class KernelsConfig:
    """What a run is asked for.

    Parameters
    ----------
    groups : tuple of str
        Which kernels.
    against : tuple of str
        Which peers.
    dims, poolings, sizes : tuple of int
        D, rows a bag, bytes of a table.
    laws : tuple of str
        Which rows are looked up: ``"uniform"``, ``"zipf"``.
    rank : int
        R of the LoRA kernels.
    rounds : int
        Turns of every contender in a case.
    isa : str or None
        Which build of our kernels; None for the fastest.
    cpu : int or None
        Where to run; None for the last CPU that is allowed.
    seed : int
        Of inputs and orders.
    brief : bool
        Measure updates at one width alone: the peers' set-up takes longer than their work.
    """

    groups: tuple[str, ...] = GROUPS
    against: tuple[str, ...] = PEERS
    dims: tuple[int, ...] = (16, 32, 64, 128)
    poolings: tuple[int, ...] = (1, 20, 100)
    sizes: tuple[int, ...] = (MIB, 64 * MIB, 2 * GIB, 4 * GIB)
    laws: tuple[str, ...] = ("uniform", "zipf")
    rank: int = 8
    rounds: int = 21
    isa: str | None = None
    cpu: int | None = None
    seed: int = 0
    brief: bool = False

    @property
    def brief_dim(self) -> int:
        """The width that a brief run measures updates at: 64, or the largest asked for."""
        return 64 if 64 in self.dims else max(self.dims)

    @property
    def large(self) -> int:
        """Bytes of the table that is beyond any cache: 2 GiB, or the largest asked for."""
        return 2 * GIB if 2 * GIB in self.sizes else max(self.sizes)

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        for option, found, known in (
            ("--kernels", self.groups, GROUPS),
            ("--against", self.against, PEERS),
            ("--indices", self.laws, ("uniform", "zipf")),
        ):
            for name in found:
                if name not in known:
                    raise InputError(
                        f"{option}: found '{name}', expected some of {', '.join(known)}"
                    )
        for option, numbers, least, most in (
            ("--dim", self.dims, 1, 4096),
            ("--pooling", self.poolings, 1, 10_000),
            ("--table-mib", tuple(size // MIB for size in self.sizes), 1, 1 << 20),
            ("--rank", (self.rank,), 1, MAX_RANK),
            ("--rounds", (self.rounds,), 1, 10_000),
            ("--seed", (self.seed,), 0, 2**63 - 1),
        ):
            if not numbers:
                raise InputError(f"{option}: found nothing, expected at least one number")
            for number in numbers:
                if not least <= number <= most:
                    raise InputError(f"{option}: found {number}, expected {least} to {most}")
        if self.rank > min(self.dims) and {"lora", "update"} & set(self.groups):
            raise InputError(
                f"--rank: found {self.rank}, expected at most the smallest --dim, {min(self.dims)}"
            )
        if not (self.groups and self.laws):
            raise InputError("--kernels, --indices: found nothing, expected at least one name")
        if self.isa is not None and self.isa not in instruction_sets():
            raise InputError(
                f"--isa: found '{self.isa}', expected one of {', '.join(instruction_sets())}, "
                "which is what this machine runs"
            )


def quick(config: KernelsConfig) -> KernelsConfig:
    """Cut a run down to the points that targets are set for, in less than a minute."""
    return KernelsConfig(
        **{
            **asdict(config),
            "dims": tuple(dim for dim in config.dims if dim != 32) or config.dims,
            "poolings": (20,),
            "sizes": (2 * GIB,),
            "laws": ("uniform",),
            "rounds": 11,
            "brief": True,
            "groups": tuple(g for g in config.groups if g != "scaling") or config.groups,
        }
    )


class Observer(Protocol):
    """Who is told how far a run is."""

    def condition(self, number: int, total: int, text: str) -> None:
        """Case `number` of `total` begins."""


@dataclass(frozen=True)
class Target:
    """What a claim asks of a median ratio: at least, or at most, a limit."""

    claim: str
    statement: str
    limit: float
    kind: Literal["least", "most"]

    def judge(self, estimate: statistics.Estimate | None) -> schema.Verdict:
        """Hold the interval against the limit."""
        if estimate is None:
            return "unavailable"
        if estimate.interval is None or estimate.n < verdict.MIN_ROUNDS:
            return "inconclusive"
        low, high = estimate.interval
        if self.kind == "least":
            return "met" if low >= self.limit else "missed" if high < self.limit else "inconclusive"
        return "met" if high <= self.limit else "missed" if low > self.limit else "inconclusive"


# The ratios that the kernels are built to reach, by embedding dim.
SAME_PAGES = {16: 1.15, 64: 1.15, 128: 1.05}
AS_RUN = {16: 1.6, 64: 1.6, 128: 1.3}


def _times(value: float) -> str:
    return f"{value:g}x"


class Kernels:
    """One run: holds the memory, runs the cases, gathers metrics and claims.

    Parameters
    ----------
    config : KernelsConfig
        Checked here.
    observer : Observer
        Told of each case.

    Raises
    ------
    InputError
        The configuration cannot be run.
    MachineError
        The tables do not fit, or the CPU is not this process's to use.
    """

    def __init__(self, config: KernelsConfig, observer: Observer) -> None:
        config.check()
        self._config = config
        self._observer = observer
        self._topology = read_topology()
        allowed = sorted(self._topology.allowed)
        self._cpu = allowed[-1] if config.cpu is None else config.cpu
        if self._cpu not in allowed:
            raise MachineError(f"--cpu: found {self._cpu}, expected one of {allowed}")
        self._sizes = self._fitting(config.sizes)
        self._metrics: list[schema.Metric] = []
        self._claims: list[schema.Claim] = []
        self._series: list[schema.Series] = []
        self._worst: statistics.Estimate | None = None
        self._points = 0
        self._pages: dict[str, TableMemory] = {}

    def _fitting(self, sizes: Sequence[int]) -> tuple[int, ...]:
        self._unavailable: list[schema.Unavailable] = []
        available = psutil.virtual_memory().available
        fit = tuple(size for size in sizes if 2 * size + _RESERVE_BYTES <= available)
        for size in sizes:
            if size not in fit:
                self._unavailable.append(
                    schema.Unavailable(
                        what=f"tables of {size_text(size)}",
                        why=f"two of them and {size_text(_RESERVE_BYTES)} to run do not fit into "
                        f"the {size_text(available)} that are available",
                        enable="free memory, or use a larger machine",
                    )
                )
        if not fit:
            raise MachineError(
                f"--table-mib: found {size_text(min(sizes))} and {size_text(available)} of memory "
                f"available, expected twice the table and {size_text(_RESERVE_BYTES)} more"
            )
        return fit

    def run(self) -> None:
        """Run all cases."""
        config = self._config
        pin_threads(os.getpid(), frozenset({self._cpu}))
        self._peers = [name for name in config.against if self._usable(name)]
        if self._peers:
            peers.use_one_thread()
        before = instruction_set()
        if config.isa is not None:
            use_instruction_set(config.isa)
        try:
            cases = list(self._cases())
            self._pages = {kind: TableMemory(kind, max(self._sizes)) for kind in ("4k", "2m")}
            for number, (text, case) in enumerate(cases, start=1):
                self._observer.condition(number, len(cases), text)
                case()
            self._never_slower()
        finally:
            self._isa = instruction_set()
            use_instruction_set(before)

    def close(self) -> None:
        """Let go of the tables."""
        for pages in self._pages.values():
            pages.close()

    def _usable(self, name: str) -> bool:
        why = peers.unavailable(name)
        if why is not None:
            enable = (
                "pip install --no-deps fbgemm-gpu-cpu==1.8.0 beside torch 2.13.0"
                if name == "fbgemm"
                else "pip install torch==2.13.0"
            )
            self._unavailable.append(schema.Unavailable(what=name, why=why, enable=enable))
        return why is None

    def _cases(self) -> Iterator[tuple[str, Callable[[], None]]]:
        config, large = self._config, min(self._config.large, max(self._sizes))
        if "lookup" in config.groups:
            for size in self._sizes:
                for dim in config.dims:
                    for law in config.laws:
                        for pooling in config.poolings:
                            point = Point(dim, pooling, law, size)
                            yield f"lookup, {point}", partial(self._lookup, point)
        for dim in config.dims:
            if "lora" in config.groups:
                yield f"lookup_lora, D={dim}", partial(self._lora, dim, large)
            if "update" in config.groups and not (config.brief and dim != config.brief_dim):
                yield f"update, D={dim}", partial(self._update, dim, large)
        for group, case in (
            ("zipf", self._zipf),
            ("index", self._index),
            ("top_rows", self._top_rows),
            ("gram", self._gram),
        ):
            if group in config.groups:
                yield group, case
        if "scaling" in config.groups:
            yield "scaling: table size", self._scaling_size
            yield "scaling: bag size", partial(self._scaling_bag, large)
            yield "scaling: rank", partial(self._scaling_rank, large)
            yield "scaling: tables", partial(self._scaling_tables, large)

    def _contest(self, contenders: Sequence[Candidate], units: int, case: str) -> dict[str, Times]:
        seed = [self._config.seed, *case.encode()]
        return time_interleaved(contenders, units=units, rounds=self._config.rounds, seed=seed)

    def _record(
        self, name: str, condition: str, values: Floats, *, better: str = "lower", unit: str = "s"
    ) -> statistics.Estimate | None:
        listed = [float(value) for value in values]
        estimate = statistics.median(listed)
        self._metrics.append(
            schema.Metric.of(
                name,
                condition,
                unit=unit,
                better="higher" if better == "higher" else "lower",
                values=list(listed),
                estimate=estimate,
            )
        )
        return estimate

    def _ratio(self, name: str, condition: str, values: Floats) -> statistics.Estimate | None:
        better = "higher" if name.endswith("speedup") else "lower"
        return self._record(name, condition, values, better=better, unit="ratio")

    def _claim(
        self, target: Target, estimate: statistics.Estimate | None, *, scale: float = 1.0
    ) -> None:
        """Judge; `scale` brings what was measured to the unit that the statement speaks of."""
        judged = target.judge(estimate)
        reason = "there is no peer to compare with"
        if estimate is not None:
            reason = f"measured {estimate.value * scale:.3g}"
            if estimate.interval is not None:
                low, high = (bound * scale for bound in estimate.interval)
                reason += f" [{low:.3g}..{high:.3g}]"
            if judged == "inconclusive":
                reason += (
                    f" in {estimate.n} rounds, expected at least {verdict.MIN_ROUNDS}"
                    if estimate.n < verdict.MIN_ROUNDS
                    else ", an interval that holds the target"
                )
        self._claims.append(
            schema.Claim(
                id=target.claim,
                statement=target.statement,
                target=target.limit,
                measured=estimate.value if estimate else None,
                ci95=estimate.interval if estimate else None,
                verdict=judged,
                basis="measured-synthetic",
                reason=reason,
            )
        )

    # Embedding-bag lookups.

    def _lookup(self, point: "Point") -> None:
        draw = IndexSampler(point.size // (4 * point.dim), BAGS, point.pooling, point.law)
        units = BAGS * point.pooling
        contenders, limits = [], []
        for kind, pages in self._pages.items():
            table = pages.table(point.size, point.dim)
            own = our_lookup(f"lorabench {kind}", table, draw, offsets=point.pooling > 1)
            theirs = [peers.lookup(p, f"{p} {kind}", table, draw) for p in self._peers]
            contenders += [replace(who, memory=kind) for who in (own, *theirs)]
            if point.law == "uniform" and point.size >= 1 * GIB and point.dim >= 16:
                limits.append(replace(random_reads(f"limit {kind}", table, units), memory=kind))
        times = self._contest([*contenders, *limits], units, f"lookup {point}")
        for contender in contenders:
            took = times[contender.name].total
            self._record("lookup_row_s", f"{contender.name}, {point}", took)
        self._speedups(point, times)
        for limit in limits:
            # The best distance of a machine is one of its properties, not of a round.
            stages = times[limit.name].stages
            wall = min(stages.values(), key=lambda values: float(np.median(values)))
            kind = limit.name.split()[1]
            ours = times[f"lorabench {kind}"].total
            self._record("random_read_row_s", f"{kind}, {point}", wall)
            over = self._ratio("lookup_over_limit", f"{kind}, {point}", ours / wall)
            if (point.dim, point.pooling, point.law, kind) == (64, 20, "uniform", "2m"):
                target = Target(
                    f"lookup.limit[{size_text(point.size)}]",
                    "lookup at D=64 takes <= 1.2x the time of reading the same rows at random",
                    1.2,
                    "most",
                )
                self._claim(target, over)

    def _speedups(self, point: "Point", times: dict[str, Times]) -> None:
        if not self._peers:
            return
        fastest = {
            kind: best([times[f"{peer} {kind}"].total for peer in self._peers])
            for kind in self._pages
        }
        for peer in self._peers:
            for kind in self._pages:
                ratio = times[f"{peer} {kind}"].total / times[f"lorabench {kind}"].total
                self._ratio("lookup_speedup", f"{peer}, both {kind}, {point}", ratio)
        same = {}
        for kind in self._pages:
            ratio = fastest[kind] / times[f"lorabench {kind}"].total
            same[kind] = self._ratio("lookup_speedup", f"best peer, both {kind}, {point}", ratio)
            self._points += 1
            found = same[kind]
            if found and found.interval:
                worst = self._worst.interval if self._worst else None
                if worst is None or found.interval[0] < worst[0]:
                    self._worst, self._worst_at = found, f"{kind}, {point}"
        ratio = fastest["4k"] / times["lorabench 2m"].total
        as_run = self._ratio("lookup_speedup", f"best peer 4k, ours 2m, {point}", ratio)
        if (point.pooling, point.law, point.size) == (20, "uniform", 2 * GIB):
            self._lookup_claims(point.dim, same["2m"], as_run)

    def _lookup_claims(
        self,
        dim: int,
        same: statistics.Estimate | None,
        as_run: statistics.Estimate | None,
    ) -> None:
        for name, goals, found, words in (
            ("same_pages", SAME_PAGES, same, "the better peer on the same 2 MiB pages"),
            ("as_run", AS_RUN, as_run, "the better peer on 4 KiB pages, ours on 2 MiB"),
        ):
            if dim in goals:
                statement = f"lookup at D={dim} >= {_times(goals[dim])} as fast as {words}"
                self._claim(
                    Target(f"lookup.{name}[D={dim}]", statement, goals[dim], "least"), found
                )

    def _never_slower(self) -> None:
        if self._worst is None or self._worst.interval is None:
            return
        low = self._worst.interval[0]
        self._claims.append(
            schema.Claim(
                id="lookup.never_slower",
                statement="the interval of lookup's speed against the better peer begins at "
                ">= 0.95x everywhere",
                target=0.95,
                measured=low,
                ci95=self._worst.interval,
                verdict="met" if low >= 0.95 else "missed",
                basis="measured-synthetic",
                reason=f"the lowest of {self._points} points is {low:.3g}, at {self._worst_at}",
            )
        )

    # LoRA.

    def _lora(self, dim: int, size: int) -> None:
        table = self._pages["2m"].table(size, dim)
        adapted = AdaptedTable(table, self._config.rank, BUDGET)
        rows = len(table)
        try:
            for name, draw, limit, words in (
                (
                    "pooled",
                    IndexSampler(rows, BAGS, 20, "uniform", adapted.slots, 0.05),
                    1.15,
                    "pooling 20 and 5 % adapted lookups",
                ),
                ("one_hot", IndexSampler(rows, BAGS, 1, "zipf"), 1.6, "one-hot Zipf 1.05"),
            ):
                point = Point(dim, draw.pooling, draw.law, size)
                where = f"{name}, rank {self._config.rank}, {point}"
                offsets = draw.pooling > 1
                times = self._contest(
                    [
                        our_lookup("lookup", table, draw, offsets=offsets),
                        adapted.lookup("lookup_lora", draw, offsets=offsets),
                    ],
                    BAGS * draw.pooling,
                    f"lora {where}",
                )
                for kernel, took in times.items():
                    self._record("lora_row_s", f"{kernel}, {where}", took.total)
                ratio = times["lookup_lora"].total / times["lookup"].total
                found = self._ratio("lookup_lora_ratio", where, ratio)
                bags = draw(np.random.default_rng(self._config.seed))
                share = adapted.hit_share(bags)
                self._record("lora_hit_share", where, np.array([share]), unit="ratio")
                statement = (
                    f"lookup_lora of rank {self._config.rank} at D={dim}, {words}, takes <= "
                    f"{_times(limit)} the time of lookup"
                )
                target = Target(f"lookup_lora.{name}[D={dim}]", statement, limit, "most")
                self._claim(target, found)
        finally:
            adapted.close()

    def _update(self, dim: int, size: int) -> None:
        table = self._pages["2m"].table(size, dim)
        adapted = AdaptedTable(table, self._config.rank, BUDGET)
        # Once for all laws: the state of torch's Adagrad is as large as the table.
        theirs = {peer: peers.trained(peer, table) for peer in self._peers}
        try:
            for name, draw in (
                # Every lookup adapted: the LoRA update does all of its work.
                ("all adapted", IndexSampler(len(table), BAGS, 20, "uniform", adapted.slots, 1.0)),
                ("zipf", IndexSampler(len(table), BAGS, 20, "zipf")),
                # Rows of the whole table: most have no slot, and LoRA learns nothing from them.
                ("any row", IndexSampler(len(table), BAGS, 20, "uniform")),
            ):
                where = f"{name}, rank {self._config.rank}, {Point(dim, 20, draw.law, size)}"
                contenders = [adapted.update("lorabench", draw)]
                contenders += [
                    peers.update(peer, stages, dim, draw) for peer, stages in theirs.items()
                ]
                times = self._contest(contenders, BAGS * 20, f"update {where}")
                for contender, took in times.items():
                    for stage, values in took.stages.items():
                        self._record("update_row_s", f"{contender} {stage}, {where}", values)
                for peer in self._peers:
                    ratio = times[peer].total / times["lorabench"].total
                    found = self._ratio("update_speedup", f"{peer}, {where}", ratio)
                    if name == "all adapted":
                        self._update_claim(dim, peer, found)
        finally:
            adapted.close()

    def _update_claim(self, dim: int, peer: str, found: statistics.Estimate | None) -> None:
        statement = (
            f"a LoRA update (rank {self._config.rank}, forward and backward) at D={dim} >= 5x as "
            f"fast a row as {peer}'s full-precision one, which is more work"
        )
        self._claim(Target(f"update.{peer}[D={dim}]", statement, 5.0, "least"), found)

    # The others.

    def _zipf(self) -> None:
        n = 100_000
        ranks = np.empty(n, np.int64)

        def ours(rng: np.random.Generator) -> None:
            zipf(rng.bit_generator, ZIPF_RANKS, EXPONENT, ranks)

        times = self._contest(
            [
                Candidate("lorabench", lambda rng: rng, {"draw": ours}),
                Candidate("numpy", lambda rng: rng, {"draw": lambda rng: rng.zipf(EXPONENT, n)}),
            ],
            n,
            "zipf",
        )
        where = f"{ZIPF_RANKS:,} ranks, exponent {EXPONENT}"
        took = self._record("zipf_sample_s", f"lorabench, {where}", times["lorabench"].total)
        # NumPy's law is unbounded: it draws less work, and ranks that no table has.
        self._record("zipf_sample_s", f"numpy, {where}", times["numpy"].total)
        ratio = times["numpy"].total / times["lorabench"].total
        self._ratio("zipf_speedup", f"numpy, {where}", ratio)
        statement = f"a Zipf variate of {ZIPF_RANKS:,} ranks takes <= 20 ns"
        self._claim(Target("zipf.sample", statement, 20e-9, "most"), took, scale=1e9)

    def _index(self) -> None:
        rows, n = 400_000, 40_000
        index = RowIndex(rows)
        keys = np.random.default_rng(0).permutation(8 * rows)[:rows].astype(np.int32)
        index.insert(keys, np.arange(rows, dtype=np.int32))
        ordered, found = np.sort(keys), np.empty(n, np.int32)

        def prepare(rng: np.random.Generator) -> NDArray[np.int32]:
            asked = rng.integers(0, 8 * rows, n, dtype=np.int32)
            hits = rng.random(n) < 0.5
            asked[hits] = keys[rng.integers(0, rows, int(hits.sum()))]
            return asked

        times = self._contest(
            [
                Candidate("lorabench", prepare, {"find": lambda asked: index.find(asked, found)}),
                Candidate(
                    "numpy searchsorted",
                    prepare,
                    {"find": lambda asked: np.searchsorted(ordered, asked)},
                ),
            ],
            n,
            "index",
        )
        self._against("index_find", f"{rows:,} rows, every second one there", times)

    def _top_rows(self) -> None:
        n, dim, k = 50_000, 64, 500
        rows, norms = np.empty(k, np.int64), np.empty(k, np.float32)

        def prepare(rng: np.random.Generator) -> NDArray[np.float32]:
            return rng.standard_normal((n, dim), dtype=np.float32)

        contenders = [Candidate("lorabench", prepare, {"find": lambda x: top_rows(x, rows, norms)})]
        if "torch" in self._peers:
            contenders.append(peers.torch_top_rows("torch", prepare, k))
        times = self._contest(contenders, n, "top_rows")
        self._against("top_rows_row", f"{k:,} of {n:,} rows, D={dim}", times)

    def _gram(self) -> None:
        n = 2048
        for dim in self._config.dims:
            packed = np.zeros((1, dim * (dim + 1) // 2), np.float32)

            def prepare(rng: np.random.Generator, dim: int = dim) -> NDArray[np.float32]:
                return rng.standard_normal((n, 1, dim), dtype=np.float32)

            def ours(x: NDArray[np.float32], packed: NDArray[np.float32] = packed) -> None:
                add_gram(x, np.zeros(1, np.int64), packed)

            contenders = [Candidate("lorabench", prepare, {"add": ours})]
            if "torch" in self._peers:
                contenders.append(peers.torch_gram("torch", prepare, dim))
            times = self._contest(contenders, n, f"gram {dim}")
            self._against("gram_sample", f"D={dim}", times)

    def _against(self, name: str, where: str, times: dict[str, Times]) -> None:
        for contender, took in times.items():
            self._record(f"{name}_s", f"{contender}, {where}", took.total)
            if contender != "lorabench":
                ratio = took.total / times["lorabench"].total
                self._ratio(f"{name}_speedup", f"{contender}, {where}", ratio)

    # How the cost of a row grows: ours alone, on 2 MiB pages.

    def _scale(
        self, name: str, unit: str, where: str, points: Sequence[tuple[float, Candidate, int]]
    ) -> None:
        named = [
            Candidate(f"{place}", contender.prepare, contender.stages)
            for place, (_, contender, _) in enumerate(points)
        ]
        y = []
        for place, (x, _, units) in enumerate(points):
            times = self._contest([named[place]], units, f"scaling {name} {where} {x}")
            found = statistics.median([float(v) for v in times[f"{place}"].total])
            y.append(found.value if found else 0.0)
        self._series.append(
            schema.Series(
                name=f"row_s_by_{name}",
                condition=where,
                x=[x for x, _, _ in points],
                y=y,
                x_unit=unit,
                y_unit="s",
            )
        )

    def _scaling_size(self) -> None:
        for dim in self._config.dims:
            sizes = [MIB << shift for shift in range(0, 13, 2) if MIB << shift <= max(self._sizes)]
            points = []
            for size in sizes:
                table = self._pages["2m"].table(size, dim)
                draw = IndexSampler(len(table), BAGS, 20, "uniform")
                contender = our_lookup("lookup", table, draw, offsets=True)
                points.append((float(size), contender, BAGS * 20))
            self._scale("table_size", "bytes", f"lookup, D={dim}, pooling 20, uniform", points)

    def _scaling_bag(self, size: int) -> None:
        for dim in self._config.dims:
            table = self._pages["2m"].table(size, dim)
            points = []
            for pooling in (1, 2, 5, 10, 20, 50, 100):
                draw = IndexSampler(len(table), BAGS, pooling, "uniform")
                contender = our_lookup("lookup", table, draw, offsets=pooling > 1)
                points.append((float(pooling), contender, BAGS * pooling))
            self._scale("bag_size", "rows", f"lookup, D={dim}, uniform", points)

    def _scaling_rank(self, size: int) -> None:
        for dim in self._config.dims:
            table = self._pages["2m"].table(size, dim)
            draw = IndexSampler(len(table), BAGS, 1, "zipf")
            points = [(0.0, our_lookup("lookup", table, draw, offsets=False), BAGS)]
            tables = []
            for rank in (rank for rank in (1, 2, 4, 8, 16, 32, 64) if rank <= dim):
                adapted = AdaptedTable(table, rank, BUDGET)
                tables.append(adapted)
                contender = adapted.lookup("lookup_lora", draw, offsets=False)
                points.append((float(rank), contender, BAGS))
            where = f"lookup_lora, D={dim}, one-hot, zipf, 2 % of the bytes; 0 is lookup"
            self._scale("rank", "rank", where, points)
            for adapted in tables:
                adapted.close()

    def _scaling_tables(self, size: int) -> None:
        from lorabench._hotpath import Tables

        batch = 128
        for dim in self._config.dims:
            whole = self._pages["2m"].table(size, dim)
            points = []
            for count in (1, 2, 4, 8, 16, 26):
                rows = len(whole) // count
                tables = Tables([whole[t * rows : (t + 1) * rows] for t in range(count)])
                out = np.zeros((batch, count, dim), np.float32)

                def prepare(
                    rng: np.random.Generator, rows: int = rows, count: int = count
                ) -> NDArray[np.int32]:
                    return rng.integers(0, rows, (batch, count), dtype=np.int32)

                def work(
                    indices: NDArray[np.int32],
                    tables: Tables = tables,
                    out: NDArray[np.float32] = out,
                ) -> None:
                    tables.lookup(indices, out)

                contender = Candidate("lookup", prepare, {"lookup": work})
                points.append((float(count), contender, batch * count))
            where = f"lookup, D={dim}, one-hot, uniform, batch {batch}, {size_text(size)} in all"
            self._scale("tables", "tables", where, points)

    @property
    def begun(self) -> bool:
        """Whether a case has been finished."""
        return bool(self._metrics)

    def document(self, *, partial: bool = False) -> schema.Result:
        """Assemble the result document; `partial` where the run was interrupted."""
        config = {**asdict(self._config), "isa": self._isa, "cpu": self._cpu}
        return schema.Result(
            command="kernels",
            id=schema.new_id(),
            created=datetime.now(UTC),
            lorabench=program(),
            config=config,
            config_hash=schema.config_hash(config),
            environment={
                **environment.capture(self._topology),
                "instruction_sets": list(instruction_sets()),
                "peers": {name: peers.version(name) for name in self._peers},
                "pages": {
                    kind: environment.pages(pages.method, [pages.sizes])
                    for kind, pages in self._pages.items()
                },
                "system_checks": environment.system_checks(),
            },
            partial=partial,
            rounds=[],
            metrics=self._metrics,
            claims=self._claims,
            unavailable=self._unavailable,
            series=self._series,
        )


@dataclass(frozen=True)
class Point:
    """Where a lookup is measured."""

    dim: int
    pooling: int
    law: str
    size: int

    def __str__(self) -> str:
        """Name the point as conditions of metrics do."""
        return f"D={self.dim}, pooling {self.pooling}, {self.law}, {size_text(self.size)}"


def size_text(size: int) -> str:
    """Write bytes as a person would: 64 MiB, 2 GiB."""
    return f"{size / GIB:.3g} GiB" if size >= GIB else f"{size / MIB:.3g} MiB"
