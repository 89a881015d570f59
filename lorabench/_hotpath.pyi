"""The hot path: embedding lookups with a LoRA term, training of A, publication, replay.

Letters: B batch, F sparse features (one table each), D embedding dim, R rank, V rows of a table,
S slots. Batches come in one of three layouts:

* one-hot, ``indices`` [B, F], ``offsets`` None: one row a table and sample;
* of fixed hotness, ``indices`` [B, C], ``offsets`` None: ``hotness[f]`` rows a sample of table f,
  those of one feature behind those of the one before (C is the sum; `Tables` knows the hotness);
* multi-hot, ``indices`` [N] table by table and ``offsets`` [F * B + 1]: bag ``b`` of table ``f``
  is ``indices[offsets[f * B + b]:offsets[f * B + b + 1]]`` (the layout of FBGEMM's table-batched
  embedding). An empty bag gives zeros.

Indices and offsets are int32 or int64, each as it likes. ``weights``, float32 of the shape of
``indices``, scale each row (mode "sum" only, and not in the layout of fixed hotness); mode "mean"
divides by the bag's size. Tables are float32, or bf16 given as its bits in uint16
(``tensor.view(torch.uint16).numpy()``).

Arrays must be C-contiguous, aligned and of the stated dtype. A wrong shape, dtype or layout, an
output that cannot be written and offsets that decrease raise `ValueError`, a row outside its table
`IndexError`, both naming argument and position and before anything is written. All kernels release
the GIL. Why they are written as they are: ``docs/kernels.md``.
"""

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

HUGE_PAGE_BYTES: int
PIN_BYTES: int
LOAD_BYTES: int
MAX_RANK: int
MAX_NODES: int

Indices = NDArray[np.int32] | NDArray[np.int64]
Weights = NDArray[np.float32] | NDArray[np.uint16]

def instruction_sets() -> tuple[str, ...]:
    """Which builds of the kernels this machine can run, the fastest first; the last is "plain"."""

def instruction_set() -> str:
    """Which of them is in use: the first one, unless `use_instruction_set` chose another."""

def use_instruction_set(name: str) -> None:
    """Choose the kernels for the whole process; for tests and comparisons."""

def sleep_until(deadline_ns: int) -> None:
    """Block until ``time.monotonic_ns()`` reaches `deadline_ns` (`clock_nanosleep`, absolute)."""

def set_timer_slack(slack_ns: int) -> None:
    """Set the calling thread's timer slack: how late the kernel may wake it. Linux: 50 us."""

def allowed_nodes() -> tuple[int, ...]:
    """NUMA nodes that this process may take memory from (its cpuset's)."""

def memory_policy() -> tuple[str, tuple[int, ...]]:
    """Mode and nodes of the calling thread's memory policy; see `set_memory_policy`."""

def set_memory_policy(mode: str, nodes: Sequence[int] = ()) -> None:
    """``set_mempolicy``: where the calling thread's private memory is to come from.

    Threads and processes that it starts later inherit it; other threads keep theirs. Modes as for
    `Mapping.bind`.
    """

@final
class Mapping(Buffer):
    """A shared mapping of a file descriptor, at an address that is a multiple of 2 MiB.

    Parameters
    ----------
    fd : int
        A memfd; it may be closed once it is mapped.
    length : int
        Bytes to map; a multiple of 2 MiB for a huge-page file.
    writable : bool
        Otherwise a write through the mapping is impossible, not only forbidden.

    Raises
    ------
    OSError
        The kernel refuses, for example because no huge pages are free.
    """

    length: int
    writable: bool
    start: int
    def __new__(cls, fd: int, length: int, *, writable: bool = False) -> Mapping: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def advise_huge(self) -> None:
        """``MADV_HUGEPAGE``: let faults take huge pages where sysfs allows it."""

    def collapse(self) -> None:
        """``MADV_COLLAPSE``: move what is filled onto huge pages now, whatever sysfs says."""

    def populate(self, *, write: bool = False) -> None:
        """``MADV_POPULATE_READ``: take all page faults now and not while serving.

        With `write`, ``MADV_POPULATE_WRITE``: pages that the kernel does not have are an error
        here and not a SIGBUS later.
        """

    def bind(
        self, mode: str, nodes: Sequence[int], offset: int = 0, length: int | None = None
    ) -> None:
        """``mbind``: say which NUMA nodes the pages of a part are to come from.

        Of a memfd the policy belongs to the file: it holds for whoever maps it, and stays when this
        mapping goes. With ``MFD_HUGETLB`` it is this mapping's alone. Pages that are there already
        stay where they are.

        Parameters
        ----------
        mode : {"default", "bind", "interleave", "local"}
        nodes : sequence of int
            None for "default" and "local".
        offset, length : int
            The part, in bytes; `offset` a multiple of the page size, by default all.

        Raises
        ------
        OSError
            EINVAL: none of the nodes has memory that this process may use; EPERM: forbidden here;
            ENOSYS: a kernel without NUMA.
        """

    def policy(self, offset: int = 0) -> tuple[str, tuple[int, ...]]:
        """``get_mempolicy``: read back mode and nodes of the policy that holds at `offset`.

        The kernel keeps of the nodes asked for only those that it can use.
        """

    def page_nodes(self, step: int, nodes: NDArray[np.int32]) -> None:
        """``move_pages`` without moving: write the node of each page, `step` bytes apart.

        `nodes` [n] gets the node of the page at 0, `step`, ... or -errno where this process maps
        none (ENOENT, EFAULT).
        """

@final
class Tables:
    """The base embedding tables of a set, their addresses resolved once.

    Parameters
    ----------
    arrays : sequence of float32 or uint16 (bf16) [V_f, D] arrays
        One a sparse feature; read-only ones will do. D is the same for all.
    hotness : sequence of int, length F, optional
        Rows that a sample looks up in each table; one by default.
    version : int64 [1], optional
        In the memory of the tables; see `advance_version`.

    Attributes
    ----------
    columns : int
        C, rows that a sample looks up in all tables.
    kept : tuple of int, length K
        Tables whose pooled base vectors are worth keeping for the trainer: a bag's rows, L * D
        floats, are more than its sum twice over, once written and once read (L > 2).
    kept_rows : int
        Rows that a sample looks up in those.
    """

    arrays: tuple[Weights, ...]
    dim: int
    count: int
    hotness: tuple[int, ...]
    columns: int
    kept: tuple[int, ...]
    kept_rows: int
    def __new__(
        cls,
        arrays: Sequence[Weights],
        hotness: Sequence[int] | None = None,
        version: NDArray[np.int64] | None = None,
    ) -> Tables: ...
    @property
    def version(self) -> int:
        """The tables' version just now, odd while they are being changed; 0 if they have none.

        Read before rows are: vectors pooled from them are good for as long as it is even and the
        same.
        """

    def lookup(
        self,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> None:
        """Pool the rows of every bag: ``out[b, f] = sum w_i W_f[i]``, `out` float32 [B, F, D].

        With `base` float32 [B, K, D], the pooled vectors of the tables in `kept`, no row of those
        is read.
        """

    def gather(self, indices: Indices, base: NDArray[np.float32]) -> None:
        """Pool only the bags of the tables in `kept`, into `base` float32 [B, K, D]."""

@final
class TableOptimizer:
    """Training of whole tables, full rank: SGD, or row-wise Adagrad.

    Parameters
    ----------
    arrays : sequence of float32 [V_f, D] arrays
        Writable; moved in place.
    accumulators : sequence of float32 [V_f] arrays, optional
        Of row-wise Adagrad: each row's running sum of mean squared gradients (Naumov et al. 2019).
        Without them the step is plain SGD.
    hotness : sequence of int, length F, optional
        As for `Tables`.
    """

    tables: Tables
    accumulators: tuple[NDArray[np.float32], ...]
    def __new__(
        cls,
        arrays: Sequence[NDArray[np.float32]],
        accumulators: Sequence[NDArray[np.float32]] | None = None,
        hotness: Sequence[int] | None = None,
    ) -> TableOptimizer: ...
    def step(
        self,
        indices: Indices,
        grad: NDArray[np.float32],
        *,
        learning_rate: float,
        epsilon: float = 1e-8,
        offsets: Indices | None = None,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
    ) -> None:
        """Move the rows of every bag by `grad` float32 [B, F, D], the gradient by each bag.

        Rows that a batch repeats are summed before the step, in the order of the batch.
        """

@final
class RowIndex:
    """Row -> slot, as every adapted table has one; here alone, for those who measure or test it.

    Parameters
    ----------
    capacity : int
        Most rows that it ever holds at one time.
    """

    capacity: int
    used: int
    def __new__(cls, capacity: int) -> RowIndex: ...
    def insert(self, rows: NDArray[np.int32], slots: NDArray[np.int32]) -> None:
        """Insert `rows` [n], none of them there yet, with their `slots` [n], both from 0 up.

        A row that cannot go in raises `ValueError`; those before it are in.
        """

    def find(self, rows: NDArray[np.int32], slots: NDArray[np.int32]) -> None:
        """Write the slot of each of `rows` [n], or -1, to `slots` [n]."""

    def erase(self, rows: NDArray[np.int32]) -> int:
        """Forget `rows` [n]; returns how many of them were there."""

def zipf(
    bit_generator: np.random.BitGenerator, n: int, exponent: float, out: NDArray[np.int64]
) -> None:
    """Fill `out` [N] with ranks 1..n, ``P(K = k) ~ k**-exponent``, exactly, for exponents >= 0.

    References
    ----------
    W. Hoermann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
    distributions", ACM TOMACS 6(3), 1996.
    """

def place_ranks(
    bit_generator: np.random.BitGenerator,
    ranks: NDArray[np.int64],
    trades: NDArray[np.float64],
    newcomers: NDArray[np.float64],
    rows: NDArray[np.int32],
    *,
    ids: int,
    multiplier: int,
    offset: int,
    key: int,
    missing: float,
    hot: int,
) -> None:
    """Write to `rows` [N] the table rows that hold popularity `ranks` [N] of one feature.

    `trades` and `newcomers` [ticks] are the clocks of the popularity drift, read once for each
    N / ticks ranks. Rank k's own row is ``1 + (multiplier * (k - 1) + offset) % ids``; with
    probability `missing` the row is 0; newcomers take only ranks up to `hot`. The equations are in
    `lorabench.workload.generator`.
    """

def plant_sums(
    rows: NDArray[np.int32],
    hotness: NDArray[np.int32],
    keys: NDArray[np.uint32],
    knots: NDArray[np.uint32],
    near: NDArray[np.float32],
    far: NDArray[np.float32],
    sums: NDArray[np.float32],
    *,
    start: int,
    own: float,
    day: float,
) -> None:
    """Sum the planted model's parameters over the features, for samples start .. start + n.

    Parameters
    ----------
    rows : int32 [columns, N]
        Table rows, feature f's ``hotness[f]`` columns after those of the features before it.
    hotness : int32 [F]
    keys : uint32 [F, dims + 1, 2]
        Of the hashes: of each feature's taste, its factors, and its daily taste.
    knots : uint32 [dims]
        Whole quarter turns of the shared drift.
    near, far : float32 [dims]
        Weights of a parameter's value at the last knot and at the next one.
    sums : float32 [3, n]
        Written: sums of tastes, of the products of every two features' factors, of daily tastes.
    start : int
        First sample.
    own : float
        Clock of each row's own drift.
    day : float
        Weight of the daily taste; at 0 it is not computed.
    """

def parse_criteo(
    text: NDArray[np.uint8],
    label: NDArray[np.int8],
    dense: NDArray[np.int32],
    ids: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Parse raw Criteo lines until one is bad, or the room is full.

    Parameters
    ----------
    text : uint8 [bytes]
        Whole lines: it ends with a line feed.
    label : int8 [N]
        Written, as are the next two.
    dense : int32 [13, N]
        The smallest int32 where missing.
    ids : int64 [26, N]
        -1 where missing.

    Returns
    -------
    rows, bytes, column : int
        How many lines were parsed, the bytes they take, and the bad column of the line behind them:
        40 if it has more columns, -1 if none is bad.
    """

def format_criteo(
    label: NDArray[np.int8], dense: NDArray[np.int32], ids: NDArray[np.int64]
) -> bytearray:
    """Write raw Criteo lines, the inverse of `parse_criteo`; ids as 8 digits."""

def hash_ids(ids: NDArray[np.int64], cardinality: int, rows: NDArray[np.int32]) -> None:
    """Write ``1 + mix64(id) % cardinality`` of `ids` [N] to `rows` [N], 0 for a negative id.

    mix64 is splitmix64's finaliser, Stafford's variant 13.
    """

class Dictionary:
    """Ids to table rows, numbered from 1 in the order in which the ids first appear.

    Parameters
    ----------
    most : int
        Distinct ids that it may hold; below 2^31 - 1. It takes 24 to 48 bytes an id.
    """

    def __new__(cls, most: int) -> Dictionary: ...
    def __len__(self) -> int: ...
    def rows(self, ids: NDArray[np.int64], rows: NDArray[np.int32]) -> None:
        """Write the rows of `ids` [N] to `rows` [N], 0 for a negative id; new ids get new rows.

        Raises
        ------
        OverflowError
            More distinct ids than it may hold.
        MemoryError
            No room for more.
        """

    def copy_ids(self, first: int, ids: NDArray[np.int64]) -> None:
        """Write the ids of rows ``first + 1`` to the last to `ids`."""

def top_rows(x: NDArray[np.float32], rows: NDArray[np.int64], norms: NDArray[np.float32]) -> None:
    """Find the k rows of `x` [n, W] with the largest Euclidean norm, the largest first.

    k is the length of `rows` and `norms`, which are written. Equal norms go by row number; a row
    that holds a NaN comes last, with norm -1.
    """

def add_gram(
    x: NDArray[np.float32], tables: NDArray[np.int64], packed: NDArray[np.float32]
) -> None:
    """Add ``x[:, f].T @ x[:, f]`` to ``packed[i]`` for each ``f = tables[i]``.

    `x` is [B, F, D], `packed` [T, D (D + 1) / 2]: lower triangles, row by row.
    """

def random_read(table: NDArray[np.float32], rows: int, *, ahead: int, seed: int) -> float:
    """Read `rows` random rows of `table` [V, D], each prefetched `ahead` rows early; their sum.

    The limit that lookups are held against: `ahead` is a power of two up to 256, and the caller
    takes the best.
    """

def adapter_bytes(
    slots: NDArray[np.int64], rank: int | Sequence[int] | NDArray[np.int64], dim: int
) -> int:
    """Bytes of the shared memory of an adapter, both sides, for `slots` int64 [F].

    `rank` is one for all tables or one a table; 0 only where a table has no slot.
    """

def slot_state_bytes(slots: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> int:
    """Bytes that an `AdapterWriter` keeps for itself: accumulators, rows, heat, marks, sketches."""

def format_adapter(
    sides: Mapping,
    slots: NDArray[np.int64],
    rank: int | Sequence[int] | NDArray[np.int64],
    dim: int,
) -> None:
    """Lay out an empty adapter: active side 0, epoch 0, no row adapted.

    What `sides` has beyond the layout's bytes is room for `AdapterWriter.relayout`.
    """

def clear_pin(pins: Mapping, server: int) -> None:
    """Take back the pin of a server that is dead, so that the writer need not defer for ever."""

@final
class AdapterReader:
    """A server's view of the adapter.

    Parameters
    ----------
    sides : Mapping
        The adapter; a read-only mapping.
    pins : Mapping
        One pin line of `PIN_BYTES` a server; writable.
    server : int
        Which line is this reader's. No two readers may share one.
    """

    def __new__(cls, sides: Mapping, pins: Mapping, server: int) -> AdapterReader: ...
    def lookup(
        self,
        tables: Tables,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> int:
        """Pool with the LoRA term, all tables from one epoch, and return that epoch.

        ``out[b, f] = sum W_f[i] + (sum A_f[slot(i)]) @ B_f``, `out` float32 [B, F, D]. `base`
        float32 [B, K, D] gets the first sum, without the term, of the tables in ``tables.kept``.
        """

@final
class AdapterWriter:
    """The trainer's side of the adapter: train in the idle side, then publish it.

    Parameters
    ----------
    sides, pins : Mapping
        As for `AdapterReader`, both writable.
    servers : int
        How many pin lines there are.
    rows : int64 [F], optional
        Rows of each table. Where there are fewer slots than rows, a row must then earn its slot (it
        is met twice within a count-min sketch's memory), and takes the one of a colder row when
        none is free (TinyLFU; Einziger, Friedman and Manes 2017). Without it, slots are given out
        as rows come and never taken back.
    """

    servers: int
    epoch: int
    deferred: int
    def __new__(
        cls,
        sides: Mapping,
        pins: Mapping,
        servers: int,
        rows: NDArray[np.int64] | None = None,
    ) -> AdapterWriter: ...
    @property
    def used(self) -> list[int]:
        """Slots in use, table by table."""

    @property
    def rank(self) -> list[int]:
        """Rank of each table's adapter; 0 where the table is not adapted."""

    def begin(self) -> bool:
        """Bring the idle side up to date and start to write in it.

        Returns
        -------
        bool
            False when a reader still pins the idle side; nothing was done, `deferred` was
            counted, and the caller does something else and tries again later.
        """

    def lookup(
        self,
        tables: Tables,
        indices: Indices,
        out: NDArray[np.float32],
        offsets: Indices | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        base: NDArray[np.float32] | None = None,
    ) -> None:
        """As `AdapterReader.lookup`, in the idle side; between `begin` and `publish`.

        `base` float32 [B, K, D] is given here, not written: what a reader handed out. Only the LoRA
        term of the tables in ``tables.kept`` is then computed, and no row of theirs is read. Equal
        base vectors give equal bits.
        """

    def learn(
        self,
        tables: Tables,
        indices: Indices,
        grad: NDArray[np.float32],
        *,
        learning_rate: float,
        epsilon: float,
        initial_accumulator: NDArray[np.float32],
        offsets: Indices | None = None,
        weights: NDArray[np.float32] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        basis_grad: NDArray[np.float32] | None = None,
    ) -> int:
        """One row-wise Adagrad step of every table's A.

        Rows that a batch repeats are summed before the update, in the order of the batch.

        Parameters
        ----------
        grad : float32 [B, F, D]
            Gradient of the loss by each pooled embedding.
        initial_accumulator : float32 [F]
            What a slot that is given out in this step starts with.
        basis_grad : float32 [F, R, D], optional
            The gradient by B, taken at the A before the step, is added to it.

        Returns
        -------
        int
            Lookups whose row got no slot because all of the table's are taken.
        """

    def set_basis(self, basis: NDArray[np.float32]) -> None:
        """Set B to `basis` float32 [F, R, D] and forget every row; A is relative to B."""

    def relayout(
        self,
        slots: NDArray[np.int64],
        ranks: Sequence[int] | NDArray[np.int64],
        keep: list[NDArray[np.int32]],
        basis: NDArray[np.float32],
        turn: NDArray[np.float32],
    ) -> None:
        """Lay the idle side out anew: other ranks, other numbers of slots, other bases.

        Right after `begin`: what was learned since then is lost. Sketches begin anew.

        Parameters
        ----------
        slots, ranks : int64 [F]
            Of each table; must fit in the room that there is.
        keep : list of int32 arrays
            Of each table, the slots whose rows stay, in their new order.
        basis : float32 [F, R, D]
            New B, orthonormal, of each table; R is at least the largest of `ranks`.
        turn : float32 [F, R_old, R]
            The new A is the old one times this.
        """

    def put(self, t: int, rows: NDArray[np.int32], A: NDArray[np.float32]) -> None:
        """Give rows [n] of table `t` slots, with `A` [n, R]; between `begin` and `publish`."""

    def decay(self, accumulators: float = ...) -> None:
        """Halve every count of lookups, and look anew at how large a row of A typically is.

        Parameters
        ----------
        accumulators : float
            What every accumulator is multiplied by, above 0 and at most 1.
        """

    def slot_state(
        self, t: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.uint16]]:
        """Copy accumulators, rows and lookups of late of the slots in use [used] of table `t`."""

    @property
    def state_bytes(self) -> tuple[int, int]:
        """Bytes in use: private (slot state and sketches), and shared (both sides)."""

    def gram(self, t: int) -> NDArray[np.float64]:
        """Compute ``A.T @ A`` [R, R] of the published side of table `t`."""

    def basis(self, t: int) -> NDArray[np.float32]:
        """Copy B [R, D] of the published side of table `t`."""

    def clear(self) -> None:
        """Forget every row: from the next publish on the base tables alone are served."""

    def publish(self) -> int:
        """Make the idle side the active one and return its epoch."""

    def arrays(
        self, table: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Copy A [used, R], B [R, D] and the rows [used] of the published side."""

def advance_version(version: NDArray[np.int64]) -> None:
    """Count a table set's `version` [1] up: before its tables are changed, and again afterwards.

    Odd, they are being changed, and what was pooled from them is not to be kept.
    """

@final
class ReplayRing:
    """Bounded ring of served samples: one server appends, one trainer takes.

    Parameters
    ----------
    mapping : Mapping
        Writable memory, all zero at first; its length bounds the ring.
    num_dense, num_sparse : int
        Dense features, and ids, a sample.
    base : int
        Floats of pooled base vectors that are kept with a sample; with any, `reset` comes before
        the first use, and both ends must agree.
    """

    def __new__(
        cls, mapping: Mapping, num_dense: int, num_sparse: int, base: int = 0
    ) -> ReplayRing: ...
    @property
    def capacity(self) -> int:
        """Samples that fit."""

    @property
    def appended(self) -> int:
        """Samples appended since the last reset."""

    @property
    def dropped(self) -> int:
        """Samples that found the ring full."""

    @property
    def base_bytes(self) -> int:
        """What keeping base vectors adds to a sample: the vectors and their version."""

    def reset(self) -> None:
        """Empty the ring and lay it out as this end has it; only while neither end uses it."""

    def append(
        self,
        first: int,
        served_ns: int,
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        *,
        version: int = 0,
        base: NDArray[np.float32] | None = None,
    ) -> bool:
        """Append samples ``first, first + 1, ...``, all or none; False if they were dropped.

        `base` float32 [n, K, D] where base vectors are kept, read from tables of `version`.
        """

    def take(
        self,
        before_ns: int,
        keys: NDArray[np.int64],
        dense: NDArray[np.float32],
        sparse: NDArray[np.int32],
        *,
        versions: NDArray[np.int64] | None = None,
        base: NDArray[np.float32] | None = None,
    ) -> int:
        """Take the oldest samples served at or before `before_ns`, as many as the arrays hold.

        `keys` int64 [n, 2] gets (sample, served_ns), `dense` and `sparse` its features, and where
        base vectors are kept `base` [n, K, D] those and `versions` [n] theirs. Returns how many
        were taken.
        """

    def due(self, before_ns: int) -> int:
        """How many samples wait that were served at or before `before_ns`."""

    def skip(self, n: int) -> None:
        """Give up the `n` oldest samples unread."""

class LoadLine:
    """What server number `server` tells about its load; the server's end of a line.

    Parameters
    ----------
    mapping : Mapping
        Writable memory of `LOAD_BYTES` a server, all zero at first.
    server : int
        Its number, from 0.
    """

    def __new__(cls, mapping: Mapping, server: int) -> LoadLine: ...
    def begin(self, now_ns: int, arrivals: NDArray[np.int64], at: int) -> None:
        """Tell that a batch which begins with arrival `at` is taken up, and how many are due."""

    def end(
        self, now_ns: int, answered_ns: int, arrivals: NDArray[np.int64], at: int, end: int
    ) -> None:
        """Tell that arrivals `at` to `end` (int64 [N], ns, rising) were answered, and when.

        `now_ns` is when the server is free again: what it does for a batch after the answer counts
        as busy, not as latency.
        """

class LoadLines:
    """The load of all servers; the trainer's end of their lines.

    Parameters
    ----------
    mapping : Mapping
        Writable memory of `LOAD_BYTES` a server.
    servers : int
        How many, at least 1.
    """

    def __new__(cls, mapping: Mapping, servers: int) -> LoadLines: ...
    @property
    def servers(self) -> int:
        """How many servers there are."""

    def reset(self, limit_ns: int) -> None:
        """Set all counters to zero, and from when on an answer counts as late; 0 for never.

        Only while no server serves.
        """

    def read(self, now_ns: int) -> list[tuple[int, int, int, int]]:
        """Read every server's counters.

        Returns
        -------
        list of tuple of int
            Of each server, since the last reset: ns spent on batches (the one in hand included),
            queries answered, of those late, and queries that were due when the batch in hand was
            taken up (0 where there is none).
        """
