"""Our side of `lorabench kernels`: what is drawn, the tables it is drawn from, the work.

The peers' side is `lorabench.experiments.kernels.peers`. Both read the same memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabench._kernels.adapter import AdapterReader
from lorabench._kernels.generate import zipf
from lorabench._kernels.lookup import Tables, random_read
from lorabench.bench.timing import Candidate
from lorabench.lora.layout import plan_adapter
from lorabench.lora.writer import Adapter, AdapterOwner, attach_reader
from lorabench.memory import HugeRegion, PageSizes, Region
from lorabench.model.tables import TableLayout

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

EXPONENT = 1.05
_PATTERN_BYTES = 32 << 20


class TableMemory:
    """One block of memory that all tables of a page size are views of.

    Parameters
    ----------
    kind : str
        ``"4k"``, or ``"2m"`` for huge pages where the machine gives any.
    size_bytes : int
        Of the largest table.
    """

    def __init__(self, kind: str, size_bytes: int) -> None:
        self.kind = kind
        self._region = (HugeRegion if kind == "2m" else Region).create(
            f"kernels-{kind}", size_bytes
        )
        words = self._region.array(np.float32, (size_bytes // 4,))
        # Any finite numbers will do; a pattern is quick to write, and no cache holds a table of it.
        pattern = np.random.default_rng(0).standard_normal(_PATTERN_BYTES // 4, dtype=np.float32)
        for begin in range(0, len(words), len(pattern)):
            part = words[begin : begin + len(pattern)]
            part[:] = pattern[: len(part)]
        self._region.settle()
        self._words = words

    def table(self, size_bytes: int, dim: int) -> Floats:
        """View the first `size_bytes` as a table [V, dim]."""
        rows = size_bytes // (4 * dim)
        return self._words[: rows * dim].reshape(rows, dim)

    @property
    def sizes(self) -> PageSizes:
        """What the memory is really made of."""
        return self._region.page_sizes()

    @property
    def method(self) -> str:
        """How its pages were obtained."""
        return self._region.method

    def close(self) -> None:
        """Let go of the memory."""
        self._region.close()


@dataclass(frozen=True)
class Bags:
    """Inputs of a lookup: int32 indices [B * L], offsets [B + 1], whatever their batch."""

    indices: Ints
    offsets: Ints


@dataclass(frozen=True)
class IndexSampler:
    """Draws bags of rows.

    Parameters
    ----------
    rows : int
        V of the table.
    bags : int
        B.
    pooling : int
        L, rows a bag.
    distribution : {"uniform", "zipf"}
        Which rows: any alike, or by a Zipf law of exponent 1.05 whose ranks lie scattered.
    adapted : int
        Ranks up to here have a slot; used with `hit_share`.
    hit_share : float or None
        Draw so large a share from the adapted rows, uniformly, and the rest from the others.
    """

    rows: int
    bags: int
    pooling: int
    distribution: str
    adapted: int = 0
    hit_share: float | None = None

    def __call__(self, rng: np.random.Generator) -> Bags:
        """Draw afresh."""
        n = self.bags * self.pooling
        if self.hit_share is not None:
            ranks = rng.integers(self.adapted, self.rows, n)
            hits = rng.random(n) < self.hit_share
            ranks[hits] = rng.integers(0, self.adapted, int(hits.sum()))
            indices = scatter(ranks, self.rows)
        elif self.distribution == "zipf":
            ranks = np.empty(n, np.int64)
            zipf(rng.bit_generator, self.rows, EXPONENT, ranks)
            ranks -= 1
            indices = scatter(ranks, self.rows)
        else:
            indices = rng.integers(0, self.rows, n, dtype=np.int32)
        return Bags(indices, np.arange(0, n + 1, self.pooling, dtype=np.int32))


def scatter(ranks: NDArray[np.int64], rows: int) -> Ints:
    """Map ranks [N] one to one to rows: a popular row's neighbours are not popular.

    A multiplication by a prime that does not divide the number of rows.
    """
    return ((ranks * 2654435761) % rows).astype(np.int32)


def our_lookup(name: str, table: Floats, draw: IndexSampler, *, offsets: bool) -> Candidate:
    """Look up with this project's kernel; without `offsets` by the one-hot path."""
    tables = Tables([table])
    out = np.zeros((draw.bags, 1, table.shape[1]), np.float32)

    def work(bags: Bags) -> None:
        if offsets:
            tables.lookup(bags.indices, out, bags.offsets)
        else:
            tables.lookup(bags.indices.reshape(-1, 1), out)

    return Candidate(name, draw, {"lookup": work})


def random_reads(name: str, table: Floats, rows: int) -> Candidate:
    """Read rows at random and do nothing else: the limit. The best distance is found first."""

    def prepare(rng: np.random.Generator) -> int:
        return int(rng.integers(1, 2**62))

    def reader(ahead: int) -> Callable[[int], float]:
        # Other rows for each distance: those of the last one are in the cache.
        return lambda seed: random_read(table, rows, ahead=ahead, seed=seed + ahead)

    # Every distance is a stage; who asks for the limit takes the fastest.
    return Candidate(
        name, prepare, {f"ahead {ahead}": reader(ahead) for ahead in (16, 32, 64, 128, 256)}
    )


class AdaptedTable:
    """A table with an adapter of a budget's size, whose rows are the most popular ones.

    Parameters
    ----------
    table : float32 [V, D]
        The base.
    rank : int
        R.
    budget : float
        LoRA state as a share of the table's bytes.
    """

    def __init__(self, table: Floats, rank: int, budget: float) -> None:
        rows, dim = table.shape
        plan = plan_adapter(TableLayout((rows,), dim), rank, 1, budget)
        self.slots = plan.slots[0]
        self.fraction = plan.fraction
        self.tables = Tables([table])
        self._adapter = Adapter(plan)
        self.state = AdapterOwner(self._adapter.handle)
        self.reader: AdapterReader = attach_reader(self._adapter.handle, 0)
        writer = self.state.writer
        writer.begin()
        rng = np.random.default_rng(1)
        basis, _ = np.linalg.qr(rng.standard_normal((dim, rank)))
        writer.set_basis(np.ascontiguousarray(basis.T, dtype=np.float32)[None])
        self.start = np.zeros(1, np.float32)
        popular = scatter(np.arange(self.slots), rows)
        writer.put(
            0, popular.astype(np.int32), rng.standard_normal((len(popular), rank), np.float32)
        )
        writer.publish()
        writer.begin()

    def learn(self, indices: Ints, grad: Floats, offsets: Ints | None) -> int:
        """Take one training step."""
        return self.state.writer.learn(
            self.tables,
            indices,
            grad,
            learning_rate=0.01,
            epsilon=1e-8,
            initial_accumulator=self.start,
            offsets=offsets,
        )

    def hit_share(self, bags: Bags) -> float:
        """Share of the lookups that have a slot."""
        rows = np.zeros(self.tables.arrays[0].shape[0], dtype=bool)
        rows[scatter(np.arange(self.slots), len(rows))] = True
        return float(rows[bags.indices].mean())

    def lookup(self, name: str, draw: IndexSampler, *, offsets: bool) -> Candidate:
        """Look up with the LoRA term."""
        out = np.zeros((draw.bags, 1, self.tables.dim), np.float32)

        def work(bags: Bags) -> None:
            if offsets:
                self.reader.lookup(self.tables, bags.indices, out, bags.offsets)
            else:
                self.reader.lookup(self.tables, bags.indices.reshape(-1, 1), out)

        return Candidate(name, draw, {"lookup": work})

    def update(self, name: str, draw: IndexSampler) -> Candidate:
        """Train A: forward with the term, then backward with row-wise Adagrad."""
        out = np.zeros((draw.bags, 1, self.tables.dim), np.float32)

        def prepare(rng: np.random.Generator) -> tuple[Bags, Floats]:
            grad = rng.standard_normal(out.shape, dtype=np.float32) * np.float32(1e-3)
            return draw(rng), grad

        def forward(inputs: tuple[Bags, Any]) -> None:
            bags, _ = inputs
            self.state.writer.lookup(self.tables, bags.indices, out, bags.offsets)

        def backward(inputs: tuple[Bags, Floats]) -> None:
            bags, grad = inputs
            self.learn(bags.indices, grad, bags.offsets)

        return Candidate(name, prepare, {"forward": forward, "backward": backward})

    def close(self) -> None:
        """Let go of the adapter's memory."""
        self._adapter.close()
