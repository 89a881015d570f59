# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The seam between Python and the C headers beside this file.

Types, argument checks and the release of the GIL are here; the algorithms are in the headers.
The documentation for callers is in ``lorabench/_hotpath.pyi``.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytearray cimport PyByteArray_AsString
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite, sqrt
from libc.stdint cimport (
    INT32_MAX, int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
)
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.mman cimport munmap

import os


cdef extern from "shared/pages.h" nogil:
    size_t LB_HUGE_PAGE
    int MADV_HUGEPAGE, MADV_COLLAPSE, MADV_POPULATE_READ, MADV_POPULATE_WRITE
    void *lb_map(int fd, size_t length, int writable)
    void lb_sleep_until(int64_t deadline_ns)
    int lb_set_timer_slack(unsigned long ns)
    int madvise(void *address, size_t length, int advice)

cdef extern from "shared/numa.h" nogil:
    int LB_MAX_NODES
    int MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL
    int MPOL_MODE_FLAGS
    unsigned MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED

    ctypedef struct lb_nodes:
        pass

    void lb_nodes_add(lb_nodes *nodes, int node)
    int lb_nodes_have(const lb_nodes *nodes, int node)
    int lb_mbind(void *address, size_t length, int mode, const lb_nodes *nodes)
    int lb_set_mempolicy(int mode, const lb_nodes *nodes)
    int lb_get_mempolicy(int *mode, lb_nodes *nodes, const void *address, unsigned flags)
    int lb_page_nodes(const char *address, int64_t step, int64_t n, int32_t *nodes)

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef extern from "<errno.h>" nogil:
    int errno

cdef extern from "dispatch/kernels.h" nogil:
    int LB_MAX_RANK

    ctypedef struct lb_bags:
        const void *indices
        const void *offsets
        const float *weights
        int64_t index_stride
        int64_t bags
        int32_t wide_indices
        int32_t wide_offsets
        int32_t mean

    ctypedef struct lb_table:
        const void *weights
        int64_t rows
        int64_t dim
        int32_t bf16

    ctypedef struct lb_bucket:
        pass

    ctypedef struct lb_index:
        lb_bucket *buckets
        int64_t capacity
        uint32_t *filter
        int32_t filter_bits

    ctypedef struct lb_lora:
        float *A
        float *B
        lb_index index
        int32_t rank

    ctypedef struct lb_parts:
        float *base
        int64_t stride
        int given

    ctypedef struct lb_sketch:
        uint8_t *counters
        int32_t bits

    ctypedef struct lb_slots:
        float *accumulator
        int32_t *slot_row
        uint16_t *heat
        uint8_t *dirty
        int32_t slots
        int32_t used
        lb_sketch sketch
        float typical
        uint32_t random
        int32_t evicted

    int32_t lb_sketch_bits(int64_t slots)
    void lb_sketch_halve(lb_sketch *sketch)

    ctypedef struct lb_scratch:
        float *sums
        int32_t *touched
        lb_index seen

    ctypedef struct lb_adagrad:
        float learning_rate
        float epsilon
        float initial_accumulator

    ctypedef struct lb_gradient:
        const float *grad
        int64_t stride
        float *basis_grad

    ctypedef struct lb_trained:
        float *weights
        float *accumulator
        int64_t dim

    ctypedef struct lb_bitgen:
        pass

    ctypedef struct lb_zipf:
        pass

    int LB_PLANT_DIMS

    ctypedef struct lb_crowd:
        int64_t ids
        int64_t multiplier
        int64_t offset
        uint32_t key
        uint32_t missing
        int64_t hot

    ctypedef struct lb_clocks:
        int64_t tick
        const double *trades
        const double *newcomers

    ctypedef struct lb_plant:
        int64_t features
        const int32_t *hotness
        const uint32_t *keys
        int64_t dims
        const uint32_t *knots
        const float *near
        const float *far
        double own
        float day

    ctypedef struct lb_logits:
        float *taste
        float *pairs
        float *daily

    ctypedef struct lb_kernels:
        const char *name
        int64_t (*bad_index)(const lb_bags *bags, int64_t rows) noexcept nogil
        int64_t (*bad_offset)(const lb_bags *bags, int64_t n) noexcept nogil
        void (*find)(
            const lb_index *index, const int32_t *rows, int64_t n, int32_t *slots
        ) noexcept nogil
        void (*ahead)(const lb_table *table, const lb_bags *bags) noexcept nogil
        void (*ahead_lora)(
            const lb_table *table, const lb_lora *lora, const lb_bags *bags
        ) noexcept nogil
        void (*lookup)(
            const lb_table *table, const lb_bags *bags, float *out, int64_t out_stride
        ) noexcept nogil
        void (*lookup_lora)(
            const lb_table *table, const lb_lora *lora, const lb_bags *bags,
            const lb_parts *parts, float *out, int64_t out_stride
        ) noexcept nogil
        int64_t (*lora_backward)(
            lb_lora *lora, lb_slots *slots, int64_t dim, const lb_bags *bags,
            const lb_gradient *by, const lb_adagrad *rule, lb_scratch *scratch
        ) noexcept nogil
        void (*table_step)(
            const lb_trained *table, const lb_bags *bags, const float *grad, int64_t stride,
            const lb_adagrad *rule, lb_scratch *scratch
        ) noexcept nogil
        void (*top_rows)(
            const float *x, int64_t n, int64_t width, int64_t k, int64_t *rows, float *norms2
        ) noexcept nogil
        void (*gram)(
            const float *x, int64_t stride, int64_t n, int64_t dim, float *packed
        ) noexcept nogil
        void (*zipf)(
            const lb_zipf *law, lb_bitgen *random, int64_t *ranks, int64_t n
        ) noexcept nogil
        void (*place)(
            const lb_crowd *crowd, lb_bitgen *random, const lb_clocks *clocks,
            const int64_t *ranks, int64_t n, int32_t *rows
        ) noexcept nogil
        void (*plant_sums)(
            const lb_plant *plant, const int32_t *rows, int64_t stride, int64_t n,
            const lb_logits *sums
        ) noexcept nogil
        float (*random_read)(
            const lb_table *table, uint64_t seed, int64_t n, int64_t ahead
        ) noexcept nogil

    lb_zipf lb_zipf_law(int64_t n, double exponent)
    int lb_kernels_here(const lb_kernels **found)
    int LB_WALL_AHEAD
    int64_t lb_bag_end(const lb_bags *bags, int64_t bag)
    int64_t lb_bag_row(const lb_bags *bags, int64_t position)
    void lb_take_bags(const void *source, int64_t columns, int64_t hotness, int64_t bags,
                      int64_t size, void *indices, int32_t *offsets)
    int32_t lb_index_find(const lb_index *index, int32_t row)
    void lb_index_put(const lb_index *index, int32_t row, int32_t slot)
    int32_t lb_index_erase(const lb_index *index, int32_t row)
    void lb_index_clear(const lb_index *index)
    int64_t lb_index_capacity(int64_t rows)
    int32_t lb_index_filter_bits(int64_t rows)
    int64_t lb_filter_bytes(int32_t filter_bits)

cdef extern from "ingest/criteo.h" nogil:
    int LB_CRITEO_DENSE
    int LB_CRITEO_SPARSE
    int LB_CRITEO_LINE

    ctypedef struct lb_criteo_rows:
        int8_t *label
        int32_t *dense
        int64_t *ids
        int64_t stride

    int64_t lb_criteo_parse(const uint8_t *text, int64_t size, const lb_criteo_rows *out,
                            int64_t *used, int32_t *column)
    int64_t lb_criteo_format(const lb_criteo_rows *rows, int64_t n, uint8_t *text)

cdef extern from "ingest/ids.h" nogil:
    ctypedef struct lb_dictionary:
        int64_t used
        int64_t most
        int32_t *place
        int64_t *ids

    void lb_hash_ids(const int64_t *id, int64_t n, uint64_t ids, int32_t *rows)
    int64_t lb_dictionary_rows(lb_dictionary *dictionary, const int64_t *id, int64_t n,
                               int32_t *rows)

cdef extern from "shared/adapter.h" nogil:
    int LB_PIN_BYTES

    ctypedef struct lb_pin:
        int64_t side

    ctypedef struct lb_side_table:
        int64_t capacity
        int32_t rank
        int32_t slots
        int32_t used

    ctypedef struct lb_side:
        int64_t epoch
        int64_t tables
        int64_t dim
        int64_t bytes
        lb_side_table *table

    ctypedef struct lb_adapter:
        int64_t active
        int64_t side_bytes
        int64_t tables
        int64_t dim

    int64_t lb_reader_enter(const int64_t *active, lb_pin *pin)
    void lb_reader_leave(lb_pin *pin)
    int lb_side_is_free(const lb_pin *pins, int64_t readers, int64_t side)
    void lb_flip(int64_t *active, int64_t side)
    int64_t lb_side_bytes(int64_t tables, int64_t dim, const int64_t *ranks,
                          const int64_t *slots)
    int64_t lb_adapter_bytes(int64_t tables, int64_t dim, const int64_t *ranks,
                             const int64_t *slots)
    void lb_side_format(lb_side *side, int64_t tables, int64_t dim, const int64_t *ranks,
                        const int64_t *slots)
    void lb_adapter_format(lb_adapter *adapter, int64_t bytes, int64_t tables, int64_t dim,
                           const int64_t *ranks, const int64_t *slots)
    lb_side *lb_adapter_side(lb_adapter *adapter, int64_t side)
    lb_lora lb_side_lora(lb_side *side, int64_t t)
    lb_lora lb_side_view(lb_side *side, int64_t t)
    void lb_sync_table(lb_side *source, lb_side *target, int64_t t, lb_slots *slots)
    void lb_sync_all(lb_adapter *adapter, int64_t source, int64_t target)

cdef extern from "serve/load.h" nogil:
    int LB_LOAD_BYTES

    ctypedef struct lb_load_line:
        int64_t queries
        int64_t late
        int64_t due
        int64_t limit_ns

    void lb_load_begin(lb_load_line *line, int64_t now_ns, const int64_t *arrivals, int64_t n)
    void lb_load_end(lb_load_line *line, int64_t now_ns, int64_t answered_ns,
                     const int64_t *arrivals, int64_t n)
    int64_t lb_load_busy(const lb_load_line *line, int64_t now_ns)
    int64_t lb_load_get(const int64_t *source)
    void lb_load_set(int64_t *target, int64_t value)

cdef extern from "shared/ring.h" nogil:
    ctypedef struct lb_ring_state:
        uint64_t head
        uint64_t dropped
        int64_t base
        uint64_t tail

    ctypedef struct lb_ring_key:
        int64_t sample
        int64_t served_ns

    ctypedef struct lb_ring:
        lb_ring_state *state
        char *records
        int64_t capacity
        int64_t bytes
        int64_t dense
        int64_t sparse
        int64_t base

    ctypedef struct lb_ring_rows:
        float *dense
        int32_t *sparse
        int64_t *version
        float *base

    int64_t lb_ring_base_bytes(int64_t base)
    int64_t lb_ring_record_bytes(int64_t dense, int64_t sparse, int64_t base)
    int lb_ring_append(const lb_ring *ring, int64_t first, int64_t n, int64_t served_ns,
                       int64_t version, const float *dense, const int32_t *sparse,
                       const float *base)
    int64_t lb_ring_take(const lb_ring *ring, int64_t before_ns, int64_t most, lb_ring_key *keys,
                         const lb_ring_rows *rows)
    int64_t lb_ring_due(const lb_ring *ring, int64_t before_ns)
    void lb_ring_skip(const lb_ring *ring, int64_t n)

cdef extern from "shared/version.h" nogil:
    int64_t lb_version(const int64_t *version)
    void lb_version_advance(int64_t *version)


HUGE_PAGE_BYTES = LB_HUGE_PAGE
PIN_BYTES = LB_PIN_BYTES
LOAD_BYTES = LB_LOAD_BYTES
MAX_RANK = LB_MAX_RANK
MAX_NODES = LB_MAX_NODES


def sleep_until(int64_t deadline_ns):
    with nogil:
        lb_sleep_until(deadline_ns)


def set_timer_slack(unsigned long slack_ns):
    if lb_set_timer_slack(slack_ns) != 0:
        raise OSError(errno, os.strerror(errno))


cdef dict _POLICIES = {
    "default": MPOL_DEFAULT, "bind": MPOL_BIND, "interleave": MPOL_INTERLEAVE, "local": MPOL_LOCAL,
}


cdef int _policy_mode(str mode) except -1:
    if mode not in _POLICIES:
        raise ValueError(f"mode: found '{mode}', expected one of {', '.join(_POLICIES)}")
    return _POLICIES[mode]


cdef int _fill_nodes(lb_nodes *mask, nodes) except -1:
    memset(mask, 0, sizeof(lb_nodes))
    for node in nodes:
        if not 0 <= node < LB_MAX_NODES:
            raise ValueError(f"nodes: found {node}, expected 0 to {LB_MAX_NODES - 1}")
        lb_nodes_add(mask, node)
    return 0


cdef tuple _policy_at(const void *address, unsigned flags):
    cdef int mode = 0
    cdef lb_nodes mask
    memset(&mask, 0, sizeof(lb_nodes))
    if lb_get_mempolicy(&mode, &mask, address, flags) != 0:
        raise OSError(errno, os.strerror(errno))
    mode &= ~MPOL_MODE_FLAGS
    name = next((name for name, value in _POLICIES.items() if value == mode), f"mode {mode}")
    return name, tuple(node for node in range(LB_MAX_NODES) if lb_nodes_have(&mask, node))


def allowed_nodes():
    return _policy_at(NULL, MPOL_F_MEMS_ALLOWED)[1]


def memory_policy():
    return _policy_at(NULL, 0)


def set_memory_policy(str mode, nodes=()):
    cdef lb_nodes mask
    cdef int kind = _policy_mode(mode)
    _fill_nodes(&mask, nodes)
    if lb_set_mempolicy(kind, &mask) != 0:
        raise OSError(errno, os.strerror(errno))


cdef class _Array


cdef class Mapping:
    cdef void *address
    cdef readonly Py_ssize_t length
    cdef readonly bint writable
    cdef Py_ssize_t shape[1]

    def __cinit__(self, int fd, Py_ssize_t length, *, bint writable=False):
        if length <= 0:
            raise ValueError(f"length: found {length}, expected a positive number of bytes")
        self.address = lb_map(fd, <size_t>length, writable)
        if self.address == NULL:
            raise OSError(errno, os.strerror(errno))
        self.length = length
        self.writable = writable
        self.shape[0] = length

    def __dealloc__(self):
        if self.address != NULL:
            munmap(self.address, <size_t>self.length)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if (flags & PyBUF_WRITABLE) and not self.writable:
            raise BufferError("the mapping is read-only")
        buffer.buf = self.address
        buffer.obj = self
        buffer.len = self.length
        buffer.readonly = not self.writable
        buffer.itemsize = 1
        buffer.format = b"B"
        buffer.ndim = 1
        buffer.shape = self.shape
        buffer.strides = &buffer.itemsize
        buffer.suboffsets = NULL
        buffer.internal = NULL

    @property
    def start(self):
        return <size_t>self.address

    def _advise(self, int advice):
        cdef int failed
        with nogil:
            failed = madvise(self.address, <size_t>self.length, advice)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def advise_huge(self):
        self._advise(MADV_HUGEPAGE)

    def collapse(self):
        self._advise(MADV_COLLAPSE)

    def populate(self, *, bint write=False):
        self._advise(MADV_POPULATE_WRITE if write else MADV_POPULATE_READ)

    def bind(self, str mode, nodes, Py_ssize_t offset=0, length=None):
        cdef lb_nodes mask
        cdef int failed, kind = _policy_mode(mode)
        cdef Py_ssize_t size = self.length - offset if length is None else length
        _fill_nodes(&mask, nodes)
        self._check_part(offset, size)
        with nogil:
            failed = lb_mbind(<char *>self.address + offset, <size_t>size, kind, &mask)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def policy(self, Py_ssize_t offset=0):
        self._check_part(offset, 1)
        return _policy_at(<char *>self.address + offset, MPOL_F_ADDR)

    def page_nodes(self, int64_t step, nodes):
        cdef _Array found = _Array(nodes, "nodes", _INT32, 1, writable=True)
        cdef int64_t n = found.size()
        cdef int32_t *out = <int32_t *>found.view.buf
        cdef int failed
        if step < 1:
            raise ValueError(f"step: found {step}, expected at least 1 byte")
        if n == 0:
            return
        if n - 1 > (self.length - 1) // step:
            raise ValueError(
                f"nodes: found {n} places {step} bytes apart, expected them to lie within "
                f"{self.length} bytes"
            )
        with nogil:
            failed = lb_page_nodes(<char *>self.address, step, n, out)
        if failed:
            raise OSError(errno, os.strerror(errno))

    def _check_part(self, Py_ssize_t offset, Py_ssize_t size):
        if offset < 0 or size < 1 or size > self.length - offset:
            raise ValueError(
                f"part: found {size} bytes at {offset}, expected a part of {self.length} bytes"
            )


# The kernels in use, and all that this machine can run, the fastest first.
cdef const lb_kernels *_available[3]
cdef int _count = lb_kernels_here(_available)
cdef const lb_kernels *_kernels = _available[0]


def instruction_sets():
    return tuple(_available[i].name.decode() for i in range(_count))


def instruction_set():
    return _kernels.name.decode()


def use_instruction_set(str name):
    global _kernels
    for i in range(_count):
        if _available[i].name.decode() == name:
            _kernels = _available[i]
            return
    raise ValueError(
        f"instruction set: found '{name}', expected one of {', '.join(instruction_sets())}"
    )


cdef dict _KINDS = {
    **dict.fromkeys("efdg", "float"),
    **dict.fromkeys("bhilqn", "int"),
    **dict.fromkeys("BHILQN", "uint"),
}


cdef class _Array:
    """A C-contiguous, aligned buffer of one of the dtypes asked for.

    Checked here and not by typed memoryviews, whose messages do not name the argument.
    """

    cdef Py_buffer view
    cdef bint taken
    cdef str dtype

    def __cinit__(self, value, str name, tuple dtypes, int ndim, *, bint writable=False):
        if not PyObject_CheckBuffer(value):
            raise TypeError(
                f"{name}: found {type(value).__name__}, expected an array of {' or '.join(dtypes)}"
            )
        try:
            PyObject_GetBuffer(value, &self.view, PyBUF_FORMAT | PyBUF_STRIDES)
        except (ValueError, BufferError) as error:
            raise ValueError(f"{name}: found a buffer that cannot be read: {error}") from None
        self.taken = True
        kind = self.view.format.decode().lstrip("@=<") if self.view.format != NULL else "B"
        self.dtype = f"{_KINDS.get(kind, kind)}{8 * self.view.itemsize}"
        if self.dtype not in dtypes:
            raise ValueError(f"{name}: found {self.dtype}, expected {' or '.join(dtypes)}")
        if self.view.ndim != ndim:
            raise ValueError(
                f"{name}: found shape {self.shape}, expected {ndim} "
                f"{'axis' if ndim == 1 else 'axes'}"
            )
        if not PyBuffer_IsContiguous(&self.view, b"C"):
            raise ValueError(f"{name}: found strides {self.strides}, expected a C-contiguous array")
        if <size_t>self.view.buf % <size_t>self.view.itemsize:
            raise ValueError(
                f"{name}: found an address that is no multiple of {self.view.itemsize}, "
                f"expected an aligned array"
            )
        if writable and self.view.readonly:
            raise ValueError(f"{name}: found a read-only array, expected a writable one")

    def __dealloc__(self):
        if self.taken:
            PyBuffer_Release(&self.view)

    @property
    def shape(self):
        return tuple(self.view.shape[i] for i in range(self.view.ndim))

    @property
    def strides(self):
        return tuple(self.view.strides[i] for i in range(self.view.ndim))

    cdef int64_t size(self, int axis=0) noexcept:
        return self.view.shape[axis]


cdef tuple _FLOAT = ("float32",)
cdef tuple _DOUBLE = ("float64",)
cdef tuple _BYTES = ("uint8",)
cdef tuple _INT8 = ("int8",)
cdef tuple _INT32 = ("int32",)
cdef tuple _INT64 = ("int64",)
cdef tuple _UINT32 = ("uint32",)
cdef tuple _INDEX = ("int32", "int64")
# NumPy has no bf16: its bits are given as uint16, as torch's .view(torch.uint16) gives them.
cdef tuple _WEIGHTS = ("float32", "uint16")


# Base vectors are kept for the trainer where a bag's rows take more bytes than its sum does twice
# over: once written, once read.
cdef int _KEPT_ABOVE = 2

cdef struct _Feature:
    int64_t hotness  # ids a sample
    int64_t column   # of its first id
    int64_t taken    # ids that lb_take_bags has taken of a sample before it takes this feature's
    int64_t number   # of those features, this is
    int64_t kept     # number of its vector among the base vectors that are kept, or -1


cdef class Tables:
    cdef readonly tuple arrays
    cdef readonly int64_t dim
    cdef readonly Py_ssize_t count
    cdef readonly tuple hotness, kept
    cdef readonly int64_t columns, kept_rows
    cdef list views
    cdef lb_table *tables
    cdef _Feature *features
    cdef _Array version_array
    cdef int64_t most_rows, most_hot, taken_ids, taken_features, kept_features

    def __cinit__(self, arrays, hotness=None, version=None):
        cdef _Array array
        cdef Py_ssize_t t
        self.arrays = tuple(arrays)
        self.count = len(self.arrays)
        if self.count == 0:
            raise ValueError("arrays: found no table, expected at least one")
        self.tables = <lb_table *>calloc(self.count, sizeof(lb_table))
        self.features = <_Feature *>calloc(self.count, sizeof(_Feature))
        if self.tables == NULL or self.features == NULL:
            raise MemoryError
        self.views = []
        for t in range(self.count):
            array = _Array(self.arrays[t], f"arrays[{t}]", _WEIGHTS, 2)
            if t == 0:
                self.dim = array.size(1)
            if array.size(0) == 0 or array.size(1) == 0 or array.size(1) != self.dim:
                raise ValueError(
                    f"arrays[{t}]: found shape {array.shape}, expected [V, "
                    f"{self.dim or 'D'}] with V > 0{'' if self.dim else ' and D > 0'}"
                )
            self.views.append(array)
            self.tables[t].weights = array.view.buf
            self.tables[t].rows = array.size(0)
            self.tables[t].dim = self.dim
            self.tables[t].bf16 = array.dtype == "uint16"
            self.most_rows = max(self.most_rows, array.size(0))
        self._shape((1,) * self.count if hotness is None else tuple(hotness))
        if version is not None:
            self.version_array = _Array(version, "version", _INT64, 1)
            if self.version_array.size() != 1:
                raise ValueError(f"version: found {self.version_array.size()} numbers, expected 1")

    cdef _shape(self, tuple hotness):
        """Where each feature's ids are in a sample, and whose base vectors are worth keeping."""
        cdef Py_ssize_t t
        cdef _Feature *feature
        if len(hotness) != self.count:
            raise ValueError(f"hotness: found {len(hotness)}, expected {self.count}, one a table")
        self.hotness = hotness
        self.kept = tuple(t for t in range(self.count) if hotness[t] > _KEPT_ABOVE)
        for t in range(self.count):
            if not 1 <= hotness[t] < 2 ** 20:
                raise ValueError(f"hotness[{t}]: found {hotness[t]}, expected 1 to 2^20 - 1")
            feature = &self.features[t]
            feature.hotness = hotness[t]
            feature.column = self.columns
            feature.taken = self.taken_ids
            feature.number = self.taken_features
            feature.kept = self.kept.index(t) if t in self.kept else -1
            self.columns += feature.hotness
            self.most_hot = max(self.most_hot, feature.hotness)
            if feature.hotness > 1:
                self.taken_ids += feature.hotness
                self.taken_features += 1
            if feature.kept >= 0:
                self.kept_rows += feature.hotness
                self.kept_features += 1

    @property
    def version(self):
        if self.version_array is None:
            return 0
        return lb_version(<const int64_t *>self.version_array.view.buf)

    def __dealloc__(self):
        free(self.tables)
        free(self.features)

    cdef lb_bags bags(self, Py_ssize_t t, _Batch batch) noexcept nogil:
        """Table t's bags: column t of [B, F], its columns of [B, C], or segment t of the flat
        layout."""
        cdef lb_bags found = batch.bags
        cdef int64_t size = 8 if found.wide_indices else 4
        cdef const _Feature *feature = &self.features[t]
        if batch.taken != NULL and feature.hotness > 1:
            found.indices = <const char *>batch.taken + feature.taken * found.bags * size
            found.offsets = batch.taken_offsets + feature.number * (found.bags + 1)
        elif batch.taken != NULL:
            found.indices = <const char *>found.indices + feature.column * size
            found.index_stride = self.columns
        elif found.offsets == NULL:
            found.indices = <const char *>found.indices + t * size
            found.index_stride = self.count
            if found.weights != NULL:
                found.weights += t
        else:
            found.offsets = (<const char *>found.offsets
                             + t * found.bags * (8 if found.wide_offsets else 4))
        return found

    cdef _Batch checked(self, indices, offsets, weights, str mode, vectors, str name,
                        bint writable):
        """Check a batch against these tables before anything is read or written through it."""
        cdef _Batch batch = _Batch()
        cdef _Array array
        cdef lb_bags bags
        cdef int64_t bad, size
        cdef Py_ssize_t t
        if mode not in ("sum", "mean"):
            raise ValueError(f"mode: found '{mode}', expected 'sum' or 'mean'")
        if weights is not None and mode == "mean":
            raise ValueError("weights: found some with mode 'mean', expected mode 'sum'")
        if vectors is None:
            size = _Array(indices, "indices", _INDEX, 2).size()
        else:
            array = _Array(vectors, name, _FLOAT, 3, writable=writable)
            size = array.size()
            if array.size(1) != self.count or array.size(2) != self.dim:
                raise ValueError(
                    f"{name}: found shape {array.shape}, expected [B, {self.count}, {self.dim}]"
                )
            batch.vectors_array = array
            batch.vectors = <float *>array.view.buf
        if size > INT32_MAX:
            raise ValueError(f"{name}: found {size} bags a table, expected at most {INT32_MAX}")
        batch.bags.bags = size
        batch.bags.index_stride = 1
        batch.bags.mean = mode == "mean"
        array = _Array(indices, "indices", _INDEX, 2 if offsets is None else 1)
        batch.indices_array = array
        batch.bags.indices = array.view.buf
        batch.bags.wide_indices = array.dtype == "int64"
        if offsets is None:
            if array.size() != size or array.size(1) != self.columns:
                raise ValueError(
                    f"indices: found shape {array.shape}, expected "
                    f"[{size}, {self.columns}]"
                    f"{' as ' + name + ' has' if self.columns == self.count else ''}"
                )
            batch.positions = size * self.most_hot
            if self.taken_ids and size:
                if weights is not None:
                    raise ValueError("weights: found some without offsets, expected none")
                self._take(batch)
        else:
            self._check_offsets(batch, offsets, array.size())
        if weights is not None:
            batch.weights_array = _Array(weights, "weights", _FLOAT, array.view.ndim)
            if batch.weights_array.shape != array.shape:
                raise ValueError(
                    f"weights: found shape {batch.weights_array.shape}, expected "
                    f"{array.shape} as indices has"
                )
            batch.bags.weights = <const float *>batch.weights_array.view.buf
        for t in range(self.count):
            bags = self.bags(t, batch)
            with nogil:
                bad = _kernels.bad_index(&bags, self.tables[t].rows)
            if bad >= 0:
                found = lb_bag_row(&bags, bad)
                raise IndexError(
                    f"indices of table {t}: found {found} at position {bad}, "
                    f"expected 0 to {self.tables[t].rows - 1}"
                )
        return batch

    cdef _take(self, _Batch batch):
        """Take the ids of features that have several out of the samples, feature by feature."""
        cdef int64_t size = 8 if batch.bags.wide_indices else 4, bags = batch.bags.bags
        cdef const _Feature *feature
        cdef Py_ssize_t t
        if bags * self.most_hot > INT32_MAX:
            raise ValueError(
                f"indices: found {bags} samples, expected at most {INT32_MAX // self.most_hot} "
                f"of {self.most_hot} ids a feature"
            )
        batch.taken = malloc(<size_t>(self.taken_ids * bags * size))
        batch.taken_offsets = <int32_t *>malloc(
            <size_t>(self.taken_features * (bags + 1)) * sizeof(int32_t)
        )
        if batch.taken == NULL or batch.taken_offsets == NULL:
            raise MemoryError
        with nogil:
            for t in range(self.count):
                feature = &self.features[t]
                if feature.hotness > 1:
                    lb_take_bags(<const char *>batch.bags.indices + feature.column * size,
                                 self.columns, feature.hotness, bags, size,
                                 <char *>batch.taken + feature.taken * bags * size,
                                 batch.taken_offsets + feature.number * (bags + 1))

    cdef _keep(self, _Batch batch, base, bint given):
        """Where base vectors are handed out to, or where they are given."""
        cdef _Array array
        if base is None:
            return
        array = _Array(base, "base", _FLOAT, 3, writable=not given)
        if array.shape != (batch.bags.bags, len(self.kept), self.dim):
            raise ValueError(
                f"base: found shape {array.shape}, expected "
                f"[{batch.bags.bags}, {len(self.kept)}, {self.dim}]"
            )
        batch.base_array = array
        batch.base = <float *>array.view.buf
        batch.given = given

    cdef lb_parts parts(self, Py_ssize_t t, _Batch batch) noexcept nogil:
        cdef lb_parts found
        cdef int64_t number = self.features[t].kept
        found.base = NULL
        found.stride = self.kept_features * self.dim
        found.given = 0
        if batch.base != NULL and number >= 0:
            if batch.given:
                found.given = 1
            else:
                found.base = batch.base + number * self.dim
        return found

    cdef void put_given(self, Py_ssize_t t, _Batch batch) noexcept nogil:
        """Write table t's given base vectors to the output."""
        cdef int64_t stride = self.kept_features * self.dim, b
        cdef const float *source = batch.base + self.features[t].kept * self.dim
        cdef float *target = batch.vectors + t * self.dim
        for b in range(batch.bags.bags):
            memcpy(target + b * self.count * self.dim, source + b * stride,
                   <size_t>self.dim * sizeof(float))

    cdef _check_offsets(self, _Batch batch, offsets, int64_t indices):
        cdef int64_t n = batch.bags.bags * self.count + 1, bad, t
        cdef lb_bags *bags = &batch.bags
        cdef _Array array = _Array(offsets, "offsets", _INDEX, 1)
        if array.size() != n:
            raise ValueError(
                f"offsets: found shape {array.shape}, expected [F * B + 1] = [{n}]"
            )
        batch.offsets_array = array
        bags.offsets = array.view.buf
        bags.wide_offsets = array.dtype == "int64"
        # lb_bag_end(bags, i) is offsets[i + 1].
        if lb_bag_end(bags, -1) != 0:
            raise ValueError(f"offsets[0]: found {lb_bag_end(bags, -1)}, expected 0")
        with nogil:
            bad = _kernels.bad_offset(bags, n)
        if bad >= 0:
            raise ValueError(
                f"offsets[{bad}]: found {lb_bag_end(bags, bad - 1)} after "
                f"{lb_bag_end(bags, bad - 2)}, expected offsets that do not decrease"
            )
        if lb_bag_end(bags, n - 2) != indices:
            raise ValueError(
                f"offsets[-1]: found {lb_bag_end(bags, n - 2)}, "
                f"expected the number of indices, {indices}"
            )
        for t in range(self.count):
            batch.positions = max(
                batch.positions,
                lb_bag_end(bags, (t + 1) * bags.bags - 1) - lb_bag_end(bags, t * bags.bags - 1),
            )

    def lookup(self, indices, out, offsets=None, *, weights=None, str mode="sum", base=None):
        cdef _Batch batch = self.checked(indices, offsets, weights, mode, out, "out", True)
        cdef const lb_kernels *kernels = _kernels
        cdef lb_bags bags
        cdef Py_ssize_t t
        self._keep(batch, base, True)
        if batch.bags.bags == 0:
            return
        with nogil:
            self.ask_ahead(0, batch, kernels)
            for t in range(self.count):
                self.ask_ahead(t + 1, batch, kernels)
                if batch.given and self.features[t].kept >= 0:
                    self.put_given(t, batch)
                    continue
                bags = self.bags(t, batch)
                kernels.lookup(&self.tables[t], &bags, batch.vectors + t * self.dim,
                               self.count * self.dim)

    def gather(self, indices, base):
        cdef _Batch batch
        cdef const lb_kernels *kernels = _kernels
        cdef lb_bags bags
        cdef Py_ssize_t t
        batch = self.checked(indices, None, None, "sum", None, "base", False)
        if base is None:
            raise TypeError("base: found None, expected an array of float32")
        self._keep(batch, base, False)
        with nogil:
            for t in range(self.count):
                if self.features[t].kept >= 0 and batch.bags.bags:
                    bags = self.bags(t, batch)
                    kernels.lookup(&self.tables[t], &bags,
                                   batch.base + self.features[t].kept * self.dim,
                                   self.kept_features * self.dim)

    cdef void ask_ahead(self, Py_ssize_t t, _Batch batch, const lb_kernels *kernels) noexcept nogil:
        """While one table is worked on, the first rows of the next are on their way."""
        cdef lb_bags bags
        if t < self.count and not (batch.given and self.features[t].kept >= 0):
            bags = self.bags(t, batch)
            kernels.ahead(&self.tables[t], &bags)

    cdef void ask_side_ahead(self, lb_side *side, Py_ssize_t t, _Batch batch,
                             const lb_kernels *kernels) noexcept nogil:
        """As `ask_ahead`, and where the slots of the next table are looked for as well."""
        cdef lb_bags bags
        cdef lb_lora lora
        if t < self.count and not (batch.given and self.features[t].kept >= 0):
            bags = self.bags(t, batch)
            lora = lb_side_view(side, t)
            kernels.ahead_lora(&self.tables[t], &lora, &bags)

    cdef void lookup_side(self, lb_side *side, _Batch batch) noexcept nogil:
        cdef const lb_kernels *kernels = _kernels
        cdef Py_ssize_t t
        cdef lb_bags bags
        cdef lb_lora lora
        cdef lb_parts parts
        self.ask_side_ahead(side, 0, batch, kernels)
        for t in range(self.count):
            self.ask_side_ahead(side, t + 1, batch, kernels)
            bags = self.bags(t, batch)
            lora = lb_side_view(side, t)
            parts = self.parts(t, batch)
            if parts.given:
                self.put_given(t, batch)
            kernels.lookup_lora(&self.tables[t], &lora, &bags, &parts, batch.vectors + t * self.dim,
                                self.count * self.dim)


cdef class _Batch:
    """A checked batch: the arrays keep the memory alive, the pointers are what kernels use."""

    cdef _Array indices_array, offsets_array, weights_array, vectors_array, base_array
    cdef lb_bags bags
    cdef float *vectors
    cdef int64_t positions
    # Ids that lb_take_bags took, and the bags that they are.
    cdef void *taken
    cdef int32_t *taken_offsets
    cdef float *base
    cdef bint given

    def __dealloc__(self):
        free(self.taken)
        free(self.taken_offsets)


cdef class _Scratch:
    """Working memory of a training step: room for `positions` lookups, sums of `width` floats."""

    cdef lb_scratch room
    cdef int64_t positions, width

    def __dealloc__(self):
        self.release()

    cdef void release(self) noexcept:
        free(self.room.sums)
        free(self.room.touched)
        free(self.room.seen.buckets)
        self.room.sums = NULL
        self.room.touched = NULL
        self.room.seen.buckets = NULL
        self.positions = 0
        self.width = 0

    cdef lb_scratch fit(self, int64_t positions, int64_t width) except *:
        """Grow to what a batch needs."""
        cdef lb_scratch fitted
        if self.positions < positions or self.width < width:
            positions = max(positions, self.positions)
            width = max(width, self.width)
            self.release()
            self.room.sums = <float *>calloc(positions * width, sizeof(float))
            self.room.touched = <int32_t *>calloc(positions, sizeof(int32_t))
            self.room.seen.buckets = <lb_bucket *>aligned_alloc(
                64, lb_index_capacity(positions) * sizeof(lb_bucket)
            )
            if (self.room.sums == NULL or self.room.touched == NULL
                    or self.room.seen.buckets == NULL):
                self.release()
                raise MemoryError
            self.positions = positions
            self.width = width
        fitted = self.room
        # Sized for this batch, not for the largest one so far: it is cleared table by table.
        fitted.seen.capacity = lb_index_capacity(positions)
        return fitted


cdef class TableOptimizer:
    cdef readonly Tables tables
    cdef readonly tuple accumulators
    cdef _Scratch scratch
    cdef lb_trained *trained

    def __cinit__(self, arrays, accumulators=None, hotness=None):
        cdef _Array array, sums
        cdef Py_ssize_t t
        self.tables = Tables(arrays, hotness)
        self.accumulators = () if accumulators is None else tuple(accumulators)
        self.scratch = _Scratch()
        self.trained = <lb_trained *>calloc(self.tables.count, sizeof(lb_trained))
        if self.trained == NULL:
            raise MemoryError
        if accumulators is not None and len(self.accumulators) != self.tables.count:
            raise ValueError(
                f"accumulators: found {len(self.accumulators)}, expected {self.tables.count}"
            )
        for t in range(self.tables.count):
            array = _Array(self.tables.arrays[t], f"arrays[{t}]", _FLOAT, 2, writable=True)
            self.tables.views[t] = array
            self.trained[t].weights = <float *>array.view.buf
            self.trained[t].dim = self.tables.dim
            if accumulators is not None:
                sums = _Array(self.accumulators[t], f"accumulators[{t}]", _FLOAT, 1,
                              writable=True)
                if sums.size() != array.size():
                    raise ValueError(
                        f"accumulators[{t}]: found {sums.size()} entries, "
                        f"expected {array.size()}, one a row"
                    )
                self.tables.views.append(sums)
                self.trained[t].accumulator = <float *>sums.view.buf

    def __dealloc__(self):
        free(self.trained)

    def step(self, indices, grad, *, float learning_rate, float epsilon=1e-8, offsets=None,
             weights=None, str mode="sum"):
        cdef const lb_kernels *kernels = _kernels
        cdef Tables tables = self.tables
        cdef _Batch batch = tables.checked(indices, offsets, weights, mode, grad, "grad", False)
        cdef lb_scratch scratch
        cdef lb_adagrad rule
        cdef lb_bags bags
        cdef Py_ssize_t t
        if batch.positions == 0:
            return
        scratch = self.scratch.fit(batch.positions, tables.dim)
        rule.learning_rate = learning_rate
        rule.epsilon = epsilon
        with nogil:
            for t in range(tables.count):
                bags = tables.bags(t, batch)
                kernels.table_step(&self.trained[t], &bags, batch.vectors + t * tables.dim,
                                   tables.count * tables.dim, &rule, &scratch)


cdef class RowIndex:
    cdef readonly int64_t capacity, used
    cdef lb_index index

    def __cinit__(self, int64_t capacity):
        if not 0 < capacity <= INT32_MAX:
            raise ValueError(f"capacity: found {capacity}, expected 1 to {INT32_MAX}")
        self.capacity = capacity
        self.index.capacity = lb_index_capacity(capacity)
        self.index.filter_bits = lb_index_filter_bits(capacity)
        self.index.buckets = <lb_bucket *>aligned_alloc(64, self.index.capacity * sizeof(lb_bucket))
        self.index.filter = <uint32_t *>calloc(1, lb_filter_bytes(self.index.filter_bits))
        if self.index.buckets == NULL or self.index.filter == NULL:
            raise MemoryError
        lb_index_clear(&self.index)

    def __dealloc__(self):
        free(self.index.buckets)
        free(self.index.filter)

    cdef _Array rows(self, rows):
        """Checked here, so that nothing has changed when one of them is bad."""
        cdef _Array array = _Array(rows, "rows", ("int32",), 1)
        cdef const int32_t *row = <const int32_t *>array.view.buf
        for i in range(array.size()):
            if row[i] < 0:
                raise ValueError(f"rows[{i}]: found {row[i]}, expected 0 to {INT32_MAX}")
        return array

    cdef _Array slots(self, slots, _Array rows, bint writable):
        cdef _Array array = _Array(slots, "slots", ("int32",), 1, writable=writable)
        if array.size() != rows.size():
            raise ValueError(f"slots: found {array.size()}, expected {rows.size()} as many as rows")
        return array

    def insert(self, rows, slots):
        cdef _Array keys = self.rows(rows), values = self.slots(slots, keys, False)
        cdef const int32_t *row = <const int32_t *>keys.view.buf
        cdef const int32_t *slot = <const int32_t *>values.view.buf
        for i in range(keys.size()):
            if slot[i] < 0:
                raise ValueError(f"slots[{i}]: found {slot[i]}, expected 0 to {INT32_MAX}")
            if lb_index_find(&self.index, row[i]) >= 0:
                raise ValueError(f"rows[{i}]: found {row[i]}, which is in the index already")
            if self.used == self.capacity:
                raise ValueError(
                    f"rows[{i}]: found the index full, expected at most {self.capacity} rows"
                )
            lb_index_put(&self.index, row[i], slot[i])
            self.used += 1

    def find(self, rows, slots):
        cdef _Array keys = self.rows(rows), values = self.slots(slots, keys, True)
        cdef const lb_kernels *kernels = _kernels
        with nogil:
            kernels.find(&self.index, <const int32_t *>keys.view.buf, keys.view.shape[0],
                         <int32_t *>values.view.buf)

    def erase(self, rows):
        cdef _Array keys = self.rows(rows)
        cdef const int32_t *row = <const int32_t *>keys.view.buf
        cdef int64_t i, before = self.used
        with nogil:
            for i in range(keys.view.shape[0]):
                self.used -= lb_index_erase(&self.index, row[i]) >= 0
        return before - self.used


cdef lb_bitgen *_bitgen(bit_generator) except NULL:
    try:
        return <lb_bitgen *>PyCapsule_GetPointer(bit_generator.capsule, b"BitGenerator")
    except (AttributeError, ValueError):
        raise TypeError(
            f"bit_generator: found {type(bit_generator).__name__}, "
            "expected a numpy.random.BitGenerator"
        ) from None


def zipf(bit_generator, int64_t n, double exponent, out):
    cdef _Array array = _Array(out, "out", _INT64, 1, writable=True)
    cdef const lb_kernels *kernels = _kernels
    cdef lb_bitgen *random
    cdef lb_zipf law
    if not 1 <= n < 2 ** 53:
        raise ValueError(f"n: found {n}, expected 1 to 2^53")
    if not (isfinite(exponent) and exponent >= 0):
        raise ValueError(f"exponent: found {exponent}, expected a finite number >= 0")
    random = _bitgen(bit_generator)
    with bit_generator.lock, nogil:
        law = lb_zipf_law(n, exponent)
        kernels.zipf(&law, random, <int64_t *>array.view.buf, array.view.shape[0])


def place_ranks(bit_generator, ranks, trades, newcomers, rows, *, int64_t ids, int64_t multiplier,
                int64_t offset, uint32_t key, double missing, int64_t hot):
    cdef _Array taken = _Array(ranks, "ranks", _INT64, 1)
    cdef _Array traded = _Array(trades, "trades", _DOUBLE, 1)
    cdef _Array came = _Array(newcomers, "newcomers", _DOUBLE, 1)
    cdef _Array out = _Array(rows, "rows", _INT32, 1, writable=True)
    cdef const lb_kernels *kernels = _kernels
    cdef lb_bitgen *random = _bitgen(bit_generator)
    cdef lb_clocks clocks
    cdef lb_crowd crowd
    cdef int64_t n = taken.size(), i, ticks = traded.size()
    cdef const int64_t *rank = <const int64_t *>taken.view.buf
    if not (1 <= ids < 2 ** 31 - 1 and 1 <= multiplier <= ids and 0 <= offset < ids):
        raise ValueError(
            f"ids, multiplier, offset: found {ids}, {multiplier}, {offset}, expected ids below "
            "2^31 - 1, multiplier in 1..ids and offset in 0..ids - 1"
        )
    if not 0 <= missing <= 1:
        raise ValueError(f"missing: found {missing}, expected a share in 0..1")
    if not 0 <= hot <= ids:
        raise ValueError(f"hot: found {hot}, expected 0..{ids}")
    if out.size() != n:
        raise ValueError(f"rows: found {out.size()}, expected {n}, one a rank")
    if ticks == 0 or came.size() != ticks or n % ticks:
        raise ValueError(
            f"trades, newcomers: found {ticks} and {came.size()} readings for {n} ranks, "
            "expected as many of each, and a whole number of ranks for each"
        )
    for i in range(ticks):
        # Also refuses NaN; far beyond what a century at any speed gives.
        if not (0 <= (<const double *>traded.view.buf)[i] <= 1e15
                and 0 <= (<const double *>came.view.buf)[i] <= 1e15):
            raise ValueError("trades, newcomers: found a reading outside 0..1e15")
    for i in range(n):
        if not 1 <= rank[i] <= ids:
            raise ValueError(f"ranks: found {rank[i]}, expected 1..{ids}")
    clocks = lb_clocks(max(1, n // ticks), <const double *>traded.view.buf,
                       <const double *>came.view.buf)
    crowd = lb_crowd(ids, multiplier, offset, key,
                     <uint32_t>min(missing * 2.0 ** 32, 2.0 ** 32 - 1),
                     hot)
    with bit_generator.lock, nogil:
        kernels.place(&crowd, random, &clocks, rank, n, <int32_t *>out.view.buf)


def plant_sums(rows, hotness, keys, knots, near, far, sums, *, int64_t start, double own,
               double day):
    cdef _Array columns = _Array(rows, "rows", _INT32, 2)
    cdef _Array hot = _Array(hotness, "hotness", _INT32, 1)
    cdef _Array key = _Array(keys, "keys", _UINT32, 3)
    cdef _Array knot = _Array(knots, "knots", _UINT32, 1)
    cdef _Array cosine = _Array(near, "near", _FLOAT, 1)
    cdef _Array sine = _Array(far, "far", _FLOAT, 1)
    cdef _Array out = _Array(sums, "sums", _FLOAT, 2, writable=True)
    cdef const lb_kernels *kernels = _kernels
    cdef int64_t n = out.size(1), stride = columns.size(1), dims = knot.size(), f, wide = 0
    cdef float *taste = <float *>out.view.buf
    cdef const int32_t *first = <const int32_t *>columns.view.buf
    cdef lb_plant plant
    cdef lb_logits logits
    for f in range(hot.size()):
        if (<const int32_t *>hot.view.buf)[f] < 1:
            raise ValueError("hotness: found a feature of no columns, expected at least one each")
        wide += (<const int32_t *>hot.view.buf)[f]
    if wide != columns.size() or wide == 0:
        raise ValueError(f"rows: found {columns.size()} columns, expected {wide} by hotness")
    if not 1 <= dims < LB_PLANT_DIMS:
        raise ValueError(f"knots: found {dims}, expected 1 to {LB_PLANT_DIMS - 1}")
    if cosine.size() != dims or sine.size() != dims:
        raise ValueError(f"near, far: found {cosine.size()}, {sine.size()}, expected {dims} each")
    if key.shape != (hot.size(), dims + 1, 2):
        raise ValueError(f"keys: found {key.shape}, expected {(hot.size(), dims + 1, 2)}")
    if out.size() != 3 or start < 0 or start + n > stride:
        raise ValueError(
            f"sums: found {out.shape} from row {start}, "
            f"expected [3, n] of {stride} rows"
        )
    if not 0 <= own <= 1e15:
        raise ValueError(f"own: found {own}, expected 0 to 1e15")
    plant = lb_plant(
        hot.size(), <const int32_t *>hot.view.buf, <const uint32_t *>key.view.buf, dims,
        <const uint32_t *>knot.view.buf, <const float *>cosine.view.buf,
        <const float *>sine.view.buf, own, <float>day,
    )
    logits = lb_logits(taste, taste + n, taste + 2 * n)
    with nogil:
        kernels.plant_sums(&plant, first + start, stride, n, &logits)


cdef lb_criteo_rows _criteo_rows(_Array label, _Array dense, _Array ids) except *:
    cdef int64_t n = label.size()
    if dense.shape != (LB_CRITEO_DENSE, n) or ids.shape != (LB_CRITEO_SPARSE, n):
        raise ValueError(
            f"dense, ids: found {dense.shape} and {ids.shape}, "
            f"expected {(LB_CRITEO_DENSE, n)} and {(LB_CRITEO_SPARSE, n)}"
        )
    return lb_criteo_rows(<int8_t *>label.view.buf, <int32_t *>dense.view.buf,
                          <int64_t *>ids.view.buf, n)


def parse_criteo(text, label, dense, ids):
    cdef _Array lines = _Array(text, "text", _BYTES, 1)
    cdef _Array labels = _Array(label, "label", _INT8, 1, writable=True)
    cdef _Array counts = _Array(dense, "dense", _INT32, 2, writable=True)
    cdef _Array values = _Array(ids, "ids", _INT64, 2, writable=True)
    cdef lb_criteo_rows out = _criteo_rows(labels, counts, values)
    cdef const uint8_t *begin = <const uint8_t *>lines.view.buf
    cdef int64_t size = lines.size(), used = 0, rows
    cdef int32_t column = -1
    # The parser stops at a line's end; without one it would run on.
    if size and begin[size - 1] != 10:
        raise ValueError("text: found no line feed at its end, expected whole lines")
    with nogil:
        rows = lb_criteo_parse(begin, size, &out, &used, &column)
    return rows, used, column


def format_criteo(label, dense, ids):
    cdef _Array labels = _Array(label, "label", _INT8, 1)
    cdef _Array counts = _Array(dense, "dense", _INT32, 2)
    cdef _Array values = _Array(ids, "ids", _INT64, 2)
    cdef lb_criteo_rows rows = _criteo_rows(labels, counts, values)
    cdef bytearray text = bytearray(rows.stride * LB_CRITEO_LINE)
    cdef uint8_t *begin = <uint8_t *>PyByteArray_AsString(text)
    cdef int64_t size
    with nogil:
        size = lb_criteo_format(&rows, rows.stride, begin)
    del text[size:]
    return text


def hash_ids(ids, int64_t cardinality, rows):
    cdef _Array taken = _Array(ids, "ids", _INT64, 1)
    cdef _Array out = _Array(rows, "rows", _INT32, 1, writable=True)
    if not 1 <= cardinality < 2 ** 31 - 1:
        raise ValueError(f"cardinality: found {cardinality}, expected 1 to 2^31 - 2")
    if out.size() != taken.size():
        raise ValueError(f"rows: found {out.size()}, expected {taken.size()}, one an id")
    with nogil:
        lb_hash_ids(<const int64_t *>taken.view.buf, taken.view.shape[0], <uint64_t>cardinality,
                    <int32_t *>out.view.buf)


cdef class Dictionary:
    cdef lb_dictionary dictionary

    def __cinit__(self, int64_t most):
        if not 1 <= most < 2 ** 31 - 1:
            raise ValueError(f"most: found {most}, expected 1 to 2^31 - 2")
        self.dictionary.most = most

    def __dealloc__(self):
        free(self.dictionary.place)
        free(self.dictionary.ids)

    def __len__(self):
        return self.dictionary.used

    def rows(self, ids, rows):
        cdef _Array taken = _Array(ids, "ids", _INT64, 1)
        cdef _Array out = _Array(rows, "rows", _INT32, 1, writable=True)
        cdef int64_t n = taken.size(), done
        if out.size() != n:
            raise ValueError(f"rows: found {out.size()}, expected {n}, one an id")
        done = lb_dictionary_rows(&self.dictionary, <const int64_t *>taken.view.buf, n,
                                  <int32_t *>out.view.buf)
        if done < n and self.dictionary.used == self.dictionary.most:
            raise OverflowError(f"found more than {self.dictionary.most} distinct ids")
        if done < n:
            raise MemoryError(f"found no memory for {self.dictionary.used} distinct ids")

    def copy_ids(self, int64_t first, ids):
        cdef _Array out = _Array(ids, "ids", _INT64, 1, writable=True)
        if not 0 <= first <= self.dictionary.used or out.size() != self.dictionary.used - first:
            raise ValueError(
                f"ids: found {out.size()} from {first} on, expected {self.dictionary.used} in all"
            )
        if out.size():
            memcpy(out.view.buf, self.dictionary.ids + first, out.size() * sizeof(int64_t))


def top_rows(x, rows, norms):
    cdef _Array values = _Array(x, "x", _FLOAT, 2)
    cdef _Array places = _Array(rows, "rows", _INT64, 1, writable=True)
    cdef _Array lengths = _Array(norms, "norms", _FLOAT, 1, writable=True)
    cdef int64_t k = places.size(), i
    cdef float *norm = <float *>lengths.view.buf
    cdef const lb_kernels *kernels = _kernels
    if lengths.size() != k:
        raise ValueError(f"norms: found {lengths.size()}, expected {k} as many as rows")
    if k > values.size():
        raise ValueError(f"rows: found room for {k}, expected at most the {values.size()} of x")
    with nogil:
        kernels.top_rows(<const float *>values.view.buf, values.view.shape[0],
                         values.view.shape[1], k, <int64_t *>places.view.buf, norm)
        for i in range(k):
            norm[i] = sqrt(norm[i]) if norm[i] >= 0 else norm[i]


def add_gram(x, tables, packed):
    cdef _Array samples = _Array(x, "x", _FLOAT, 3)
    cdef _Array which = _Array(tables, "tables", _INT64, 1)
    cdef _Array sums = _Array(packed, "packed", _FLOAT, 2, writable=True)
    cdef int64_t count = samples.size(1), dim = samples.size(2), t
    cdef const int64_t *table = <const int64_t *>which.view.buf
    cdef const lb_kernels *kernels = _kernels
    if sums.size() != which.size() or sums.size(1) != dim * (dim + 1) // 2:
        raise ValueError(
            f"packed: found shape {sums.shape}, expected [{which.size()}, {dim * (dim + 1) // 2}]"
        )
    for t in range(which.size()):
        if not 0 <= table[t] < count:
            raise IndexError(f"tables[{t}]: found {table[t]}, expected 0 to {count - 1}")
    with nogil:
        for t in range(which.view.shape[0]):
            kernels.gram(<const float *>samples.view.buf + table[t] * dim, count * dim,
                         samples.view.shape[0], dim,
                         <float *>sums.view.buf + t * sums.view.shape[1])


def random_read(table, int64_t rows, *, int64_t ahead, uint64_t seed):
    cdef _Array array = _Array(table, "table", _FLOAT, 2)
    cdef lb_table source
    cdef float total
    cdef const lb_kernels *kernels = _kernels
    if not (1 <= ahead <= LB_WALL_AHEAD and ahead & (ahead - 1) == 0):
        raise ValueError(f"ahead: found {ahead}, expected a power of two up to {LB_WALL_AHEAD}")
    if array.size() == 0 or array.size(1) == 0 or rows < 0:
        raise ValueError(f"table: found shape {array.shape}, expected [V, D], both above 0")
    source.weights = array.view.buf
    source.rows = array.size()
    source.dim = array.size(1)
    source.bf16 = False
    with nogil:
        total = kernels.random_read(&source, seed, rows, ahead)
    return total


cdef _ranks(rank, const int64_t[::1] slots, int64_t dim):
    """Ranks int64 [F] of one rank for all tables, or of one a table; checked, as slots are."""
    import numpy as np

    cdef Py_ssize_t t
    if slots.shape[0] == 0:
        raise ValueError("slots: found none, expected one number a table")
    if not 1 <= dim < 2 ** 20:
        raise ValueError(f"dim: found {dim}, expected 1 to 2^20 - 1")
    cdef int64_t[::1] ranks = np.array(
        np.broadcast_to(np.asarray(rank, dtype=np.int64), (slots.shape[0],))
    )
    for t in range(slots.shape[0]):
        if not 0 <= slots[t] < 2 ** 31:
            raise ValueError(f"slots: found {slots[t]} for table {t}, expected 0 to 2^31 - 1")
        if not 0 <= ranks[t] <= LB_MAX_RANK or (ranks[t] == 0 and slots[t] > 0):
            raise ValueError(f"rank: found {ranks[t]}, expected 1 to {LB_MAX_RANK}")
    return ranks


def adapter_bytes(const int64_t[::1] slots not None, rank, int64_t dim):
    cdef int64_t[::1] ranks = _ranks(rank, slots, dim)
    return lb_adapter_bytes(slots.shape[0], dim, &ranks[0], &slots[0])


def format_adapter(Mapping sides not None, const int64_t[::1] slots not None, rank, int64_t dim):
    cdef int64_t[::1] ranks = _ranks(rank, slots, dim)
    need = lb_adapter_bytes(slots.shape[0], dim, &ranks[0], &slots[0])
    if need > sides.length:
        raise ValueError(f"sides: found {sides.length} bytes, expected {need}")
    if not sides.writable:
        raise ValueError("sides: found a read-only mapping, expected a writable one")
    lb_adapter_format(<lb_adapter *>sides.address, sides.length, slots.shape[0], dim, &ranks[0],
                      &slots[0])


cdef lb_pin *_pins(Mapping pins, Py_ssize_t servers) except NULL:
    if not pins.writable or pins.length < servers * LB_PIN_BYTES:
        raise ValueError(
            f"pins: found {pins.length} bytes, expected {servers * LB_PIN_BYTES} writable ones"
        )
    return <lb_pin *>pins.address


def clear_pin(Mapping pins not None, Py_ssize_t server):
    if server < 0:
        raise ValueError(f"server: found {server}, expected at least 0")
    lb_reader_leave(_pins(pins, server + 1) + server)


cdef int _check_fit(Tables tables, const lb_adapter *adapter) except -1:
    if adapter.tables != tables.count or adapter.dim != tables.dim:
        raise ValueError(
            f"tables: found {tables.count} of dim {tables.dim}, expected the adapter's "
            f"{adapter.tables} of dim {adapter.dim}"
        )
    if tables.most_rows > INT32_MAX:
        raise ValueError(f"tables: found {tables.most_rows} rows, expected at most {INT32_MAX}")
    return 0


cdef class AdapterReader:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pin

    def __cinit__(self, Mapping sides not None, Mapping pins not None, Py_ssize_t server):
        if server < 0:
            raise ValueError(f"server: found {server}, expected at least 0")
        if sides.length < <Py_ssize_t>sizeof(lb_adapter):
            raise ValueError(
                f"sides: found {sides.length} bytes, expected at least {sizeof(lb_adapter)}"
            )
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pin = _pins(pins, server + 1) + server

    def lookup(self, Tables tables not None, indices, out, offsets=None, *, weights=None,
               str mode="sum", base=None):
        cdef _Batch batch
        cdef lb_side *side
        cdef int64_t epoch
        _check_fit(tables, self.adapter)
        batch = tables.checked(indices, offsets, weights, mode, out, "out", True)
        tables._keep(batch, base, False)
        with nogil:
            side = lb_adapter_side(
                self.adapter, lb_reader_enter(&self.adapter.active, self.pin)
            )
            epoch = side.epoch
            if batch.bags.bags:
                tables.lookup_side(side, batch)
            lb_reader_leave(self.pin)
        return epoch


cdef int64_t _slot_bytes(int64_t slots, bint pruned) noexcept:
    """Private bytes of a table's slots: accumulator, row, heat, dirty mark; and the sketch."""
    cdef int64_t found = slots * (sizeof(float) + sizeof(int32_t) + sizeof(uint16_t) + 1)
    if pruned and slots:
        found += <int64_t>1 << lb_sketch_bits(slots)
    return found


def slot_state_bytes(const int64_t[::1] slots not None, const int64_t[::1] rows=None):
    cdef int64_t found = slots.shape[0] * sizeof(lb_slots)
    cdef Py_ssize_t t
    for t in range(slots.shape[0]):
        found += _slot_bytes(slots[t], rows is not None and slots[t] < rows[t])
    return found


cdef void _free_slots(lb_slots *slots) noexcept:
    free(slots.accumulator)
    free(slots.slot_row)
    free(slots.heat)
    free(slots.dirty)
    free(slots.sketch.counters)
    slots.accumulator = NULL
    slots.slot_row = NULL
    slots.heat = NULL
    slots.dirty = NULL
    slots.sketch.counters = NULL


cdef int _new_slots(lb_slots *slots, int64_t count, bint pruned, uint32_t seed) except -1:
    """Give a table empty bookkeeping for `count` slots."""
    memset(slots, 0, sizeof(lb_slots))
    slots.slots = <int32_t>count
    slots.random = seed
    if count == 0:
        return 0
    slots.accumulator = <float *>calloc(count, sizeof(float))
    slots.slot_row = <int32_t *>calloc(count, sizeof(int32_t))
    slots.heat = <uint16_t *>calloc(count, sizeof(uint16_t))
    slots.dirty = <uint8_t *>calloc(count, 1)
    if pruned:
        slots.sketch.bits = lb_sketch_bits(count)
        slots.sketch.counters = <uint8_t *>calloc(<size_t>1 << slots.sketch.bits, 1)
    if (slots.accumulator == NULL or slots.slot_row == NULL or slots.heat == NULL
            or slots.dirty == NULL or (pruned and slots.sketch.counters == NULL)):
        _free_slots(slots)
        raise MemoryError
    return 0


cdef class AdapterWriter:
    cdef Mapping sides, lines
    cdef lb_adapter *adapter
    cdef lb_pin *pins
    cdef readonly Py_ssize_t servers
    cdef lb_slots *slots
    cdef int64_t[::1] rows
    cdef bint pruned
    cdef bint writing, differs
    cdef readonly int64_t epoch
    cdef readonly int64_t deferred
    cdef _Scratch scratch

    def __cinit__(self, Mapping sides not None, Mapping pins not None, Py_ssize_t servers,
                  rows=None):
        cdef lb_side *side
        cdef Py_ssize_t t
        if not sides.writable or sides.length < <Py_ssize_t>sizeof(lb_adapter):
            raise ValueError(
                f"sides: found {sides.length} bytes, "
                f"expected at least {sizeof(lb_adapter)} writable ones"
            )
        if servers < 0:
            raise ValueError(f"servers: found {servers}, expected at least 0")
        self.sides = sides
        self.lines = pins
        self.adapter = <lb_adapter *>sides.address
        self.pins = _pins(pins, servers)
        self.servers = servers
        self.pruned = rows is not None
        if self.pruned:
            self.rows = rows
            if self.rows.shape[0] != self.adapter.tables:
                raise ValueError(
                    f"rows: found {self.rows.shape[0]}, expected {self.adapter.tables}"
                )
        self.scratch = _Scratch()
        self.slots = <lb_slots *>calloc(max(1, self.adapter.tables), sizeof(lb_slots))
        if self.slots == NULL:
            raise MemoryError
        side = lb_adapter_side(self.adapter, self.adapter.active)
        for t in range(self.adapter.tables):
            _new_slots(&self.slots[t], side.table[t].slots, self.prunes(t, side.table[t].slots),
                       <uint32_t>t)
        self.epoch = side.epoch
        self.differs = True

    def __dealloc__(self):
        cdef Py_ssize_t t
        if self.slots != NULL:
            for t in range(self.adapter.tables):
                _free_slots(&self.slots[t])
        free(self.slots)

    cdef bint prunes(self, Py_ssize_t t, int64_t slots):
        """Whether a table with so many slots has fewer than rows."""
        return self.pruned and slots < self.rows[t]

    cdef lb_side *idle(self) except NULL:
        if not self.writing:
            raise RuntimeError("the idle side is read and written only between begin and publish")
        return lb_adapter_side(self.adapter, 1 - self.adapter.active)

    @property
    def used(self):
        return [self.slots[t].used for t in range(self.adapter.tables)]

    @property
    def rank(self):
        side = lb_adapter_side(self.adapter, self.adapter.active)
        return [side.table[t].rank for t in range(self.adapter.tables)]

    def begin(self):
        cdef int64_t active = self.adapter.active
        cdef Py_ssize_t t
        if self.writing:
            return True
        if not lb_side_is_free(self.pins, self.servers, 1 - active):
            self.deferred += 1
            return False
        with nogil:
            if self.differs:
                lb_sync_all(self.adapter, active, 1 - active)
                for t in range(self.adapter.tables):
                    self.clean(t)
            else:
                for t in range(self.adapter.tables):
                    lb_sync_table(lb_adapter_side(self.adapter, active),
                                  lb_adapter_side(self.adapter, 1 - active), t, &self.slots[t])
        self.differs = False
        self.writing = True
        return True

    def lookup(self, Tables tables not None, indices, out, offsets=None, *, weights=None,
               str mode="sum", base=None):
        cdef lb_side *side = self.idle()
        cdef _Batch batch
        _check_fit(tables, self.adapter)
        batch = tables.checked(indices, offsets, weights, mode, out, "out", True)
        tables._keep(batch, base, True)
        if batch.bags.bags:
            with nogil:
                tables.lookup_side(side, batch)

    def learn(self, Tables tables not None, indices, grad, *, float learning_rate, float epsilon,
              initial_accumulator, offsets=None, weights=None, str mode="sum", basis_grad=None):
        cdef lb_side *side = self.idle()
        cdef const lb_kernels *kernels = _kernels
        cdef _Batch batch
        cdef _Array start = _Array(initial_accumulator, "initial_accumulator", _FLOAT, 1)
        cdef _Array basis
        cdef lb_scratch scratch
        cdef lb_adagrad rule
        cdef lb_gradient by
        cdef lb_lora lora
        cdef lb_bags bags
        cdef Py_ssize_t t
        cdef int64_t refused = 0
        cdef float *basis_sums = NULL
        cdef int64_t basis_stride = 0
        _check_fit(tables, self.adapter)
        batch = tables.checked(indices, offsets, weights, mode, grad, "grad", False)
        if start.size() != tables.count:
            raise ValueError(
                f"initial_accumulator: found {start.size()} entries, expected {tables.count}"
            )
        if basis_grad is not None:
            basis = _Array(basis_grad, "basis_grad", _FLOAT, 3, writable=True)
            if basis.shape != (tables.count, max(self.rank), tables.dim):
                raise ValueError(
                    f"basis_grad: found shape {basis.shape}, expected "
                    f"[{tables.count}, {max(self.rank)}, {tables.dim}]"
                )
            basis_sums = <float *>basis.view.buf
            basis_stride = basis.size(1) * basis.size(2)
        if batch.positions == 0:
            return 0
        scratch = self.scratch.fit(batch.positions, max(1, max(self.rank)))
        rule.learning_rate = learning_rate
        rule.epsilon = epsilon
        by.stride = tables.count * tables.dim
        with nogil:
            for t in range(tables.count):
                rule.initial_accumulator = (<const float *>start.view.buf)[t]
                by.grad = batch.vectors + t * tables.dim
                by.basis_grad = basis_sums + t * basis_stride if basis_sums != NULL else NULL
                bags = tables.bags(t, batch)
                lora = lb_side_lora(side, t)
                refused += kernels.lora_backward(&lora, &self.slots[t], tables.dim, &bags, &by,
                                                 &rule, &scratch)
                side.table[t].used = self.slots[t].used
        return refused

    def set_basis(self, const float[:, :, ::1] basis):
        cdef lb_side *side = self.idle()
        cdef Py_ssize_t t
        cdef int64_t j, d
        cdef lb_lora lora
        if basis.shape[0] != self.adapter.tables or basis.shape[2] != self.adapter.dim:
            raise ValueError(
                f"basis: found shape [{basis.shape[0]}, {basis.shape[1]}, {basis.shape[2]}], "
                f"expected [{self.adapter.tables}, R, {self.adapter.dim}]"
            )
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            if lora.rank > basis.shape[1]:
                raise ValueError(
                    f"basis: found {basis.shape[1]} directions, expected {lora.rank}"
                )
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            for j in range(lora.rank):
                for d in range(self.adapter.dim):
                    lora.B[j * self.adapter.dim + d] = basis[t, j, d]
        self._clear(side)

    def clear(self):
        self._clear(self.idle())

    cdef void clean(self, Py_ssize_t t) noexcept nogil:
        """The two sides of table t are alike."""
        if self.slots[t].slots:
            memset(self.slots[t].dirty, 0, <size_t>self.slots[t].slots)
        self.slots[t].evicted = 0

    cdef _clear(self, lb_side *side):
        """Forget every row: the adapter serves the base tables again."""
        cdef Py_ssize_t t
        cdef lb_lora lora
        for t in range(self.adapter.tables):
            if self.slots[t].slots == 0:
                continue
            lora = lb_side_lora(side, t)
            lb_index_clear(&lora.index)
            side.table[t].used = 0
            self.slots[t].used = 0
            if self.slots[t].sketch.counters != NULL:
                memset(self.slots[t].sketch.counters, 0,
                       <size_t>1 << self.slots[t].sketch.bits)
            self.clean(t)
        self.differs = True

    def relayout(self, const int64_t[::1] slots not None, ranks, list keep not None,
                 const float[:, :, ::1] basis not None, const float[:, :, ::1] turn not None):
        cdef lb_side *target = self.idle()
        cdef lb_side *source = lb_adapter_side(self.adapter, self.adapter.active)
        cdef Py_ssize_t tables = self.adapter.tables, t
        cdef int64_t dim = self.adapter.dim, need
        cdef int64_t[::1] rank
        cdef const int32_t[::1] kept
        cdef list chosen = []
        if slots.shape[0] != tables or len(keep) != tables:
            raise ValueError(
                f"slots and keep: found {slots.shape[0]} and {len(keep)}, expected {tables}"
            )
        rank = _ranks(ranks, slots, dim)
        need = lb_side_bytes(tables, dim, &rank[0], &slots[0])
        if need > self.adapter.side_bytes:
            raise ValueError(
                f"slots: found a layout of {need} bytes a side, "
                f"expected at most {self.adapter.side_bytes}"
            )
        most = max(rank)
        old = max(self.rank)
        if basis.shape[0] != tables or basis.shape[1] < most or basis.shape[2] != dim:
            raise ValueError(
                f"basis: found shape [{basis.shape[0]}, {basis.shape[1]}, {basis.shape[2]}], "
                f"expected [{tables}, {most}, {dim}]"
            )
        if turn.shape[0] != tables or turn.shape[1] < old or turn.shape[2] < most:
            raise ValueError(
                f"turn: found shape [{turn.shape[0]}, {turn.shape[1]}, {turn.shape[2]}], "
                f"expected [{tables}, {old}, {most}]"
            )
        for t in range(tables):
            kept = keep[t]
            if kept.shape[0] > slots[t]:
                raise ValueError(
                    f"keep[{t}]: found {kept.shape[0]} slots, expected at most {slots[t]}"
                )
            seen = set(kept)
            if len(seen) != kept.shape[0] or (
                seen and not 0 <= min(seen) <= max(seen) < source.table[t].used
            ):
                raise ValueError(
                    f"keep[{t}]: found slots that repeat or are not in use, "
                    f"expected some of {source.table[t].used}"
                )
            chosen.append(kept)
        epoch = target.epoch
        lb_side_format(target, tables, dim, &rank[0], &slots[0])
        target.epoch = epoch
        for t in range(tables):
            self._move(source, target, t, chosen[t], basis[t], turn[t])
        self.differs = True

    cdef _move(self, lb_side *source, lb_side *target, Py_ssize_t t, const int32_t[::1] kept,
               const float[:, ::1] basis, const float[:, ::1] turn):
        """Take table t's kept slots over into the new layout."""
        cdef lb_lora old = lb_side_lora(source, t), new = lb_side_lora(target, t)
        cdef lb_slots fresh
        cdef lb_slots *before = &self.slots[t]
        cdef int64_t dim = self.adapter.dim
        cdef Py_ssize_t i, j, k
        cdef int32_t slot
        cdef float *row
        cdef float total
        _new_slots(&fresh, target.table[t].slots, self.prunes(t, target.table[t].slots),
                   before.random)
        fresh.typical = before.typical
        with nogil:
            for j in range(new.rank):
                memcpy(new.B + j * dim, &basis[j, 0], <size_t>dim * sizeof(float))
            for i in range(kept.shape[0]):
                slot = kept[i]
                row = old.A + <int64_t>slot * old.rank
                for k in range(new.rank):
                    total = 0
                    for j in range(old.rank):
                        total = total + row[j] * turn[j, k]
                    new.A[i * new.rank + k] = total
                fresh.accumulator[i] = before.accumulator[slot]
                fresh.slot_row[i] = before.slot_row[slot]
                fresh.heat[i] = before.heat[slot]
                lb_index_put(&new.index, fresh.slot_row[i], <int32_t>i)
        fresh.used = <int32_t>kept.shape[0]
        target.table[t].used = fresh.used
        _free_slots(before)
        self.slots[t] = fresh

    def put(self, Py_ssize_t t, const int32_t[::1] rows not None, const float[:, ::1] A not None):
        cdef lb_side *side = self.idle()
        cdef lb_slots *slots
        cdef lb_lora lora
        cdef Py_ssize_t i
        cdef int32_t slot
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        slots = &self.slots[t]
        lora = lb_side_lora(side, t)
        if A.shape[0] != rows.shape[0] or A.shape[1] != lora.rank:
            raise ValueError(
                f"A: found shape [{A.shape[0]}, {A.shape[1]}], "
                f"expected [{rows.shape[0]}, {lora.rank}]"
            )
        if rows.shape[0] > slots.slots - slots.used:
            raise ValueError(
                f"rows: found {rows.shape[0]}, expected at most {slots.slots - slots.used}, "
                "as many as there are free slots"
            )
        for i in range(rows.shape[0]):
            if rows[i] < 0 or lb_index_find(&lora.index, rows[i]) >= 0:
                raise ValueError(f"rows: found {rows[i]}, expected rows from 0, each once")
            slot = slots.used
            slots.used += 1
            lb_index_put(&lora.index, rows[i], slot)
            memcpy(lora.A + <int64_t>slot * lora.rank, &A[i, 0],
                   <size_t>lora.rank * sizeof(float))
            slots.slot_row[slot] = rows[i]
            slots.heat[slot] = 1
            side.table[t].used = slots.used
        self.differs = True

    def decay(self, float accumulators=1.0):
        if not 0 < accumulators <= 1:
            raise ValueError(f"accumulators: found {accumulators}, expected above 0 and at most 1")
        cdef Py_ssize_t t
        cdef int32_t slot
        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef lb_lora lora
        cdef double total
        cdef int64_t entry
        for t in range(self.adapter.tables):
            lora = lb_side_lora(side, t)
            total = 0
            with nogil:
                for slot in range(self.slots[t].used):
                    self.slots[t].heat[slot] >>= 1
                    self.slots[t].accumulator[slot] *= accumulators
                for entry in range(<int64_t>side.table[t].used * lora.rank):
                    total = total + lora.A[entry] * lora.A[entry]
                if self.slots[t].sketch.counters != NULL:
                    lb_sketch_halve(&self.slots[t].sketch)
            if side.table[t].used:
                self.slots[t].typical = <float>(total / side.table[t].used)

    def slot_state(self, Py_ssize_t t):
        import numpy as np

        cdef lb_slots *slots
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        slots = &self.slots[t]
        used = slots.used
        if used == 0:
            none = np.zeros(0, dtype=np.float32)
            return none, none.astype(np.int32), none.astype(np.uint16)
        return (
            np.array(<float[:used]>slots.accumulator),
            np.array(<int32_t[:used]>slots.slot_row),
            np.array(<uint16_t[:used]>slots.heat),
        )

    @property
    def state_bytes(self):
        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef int64_t found = self.adapter.tables * sizeof(lb_slots)
        cdef Py_ssize_t t
        for t in range(self.adapter.tables):
            found += _slot_bytes(self.slots[t].slots, self.slots[t].sketch.counters != NULL)
        return found, <int64_t>sizeof(lb_adapter) + 2 * side.bytes

    def gram(self, Py_ssize_t t):
        import numpy as np

        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef lb_lora lora
        cdef Py_ssize_t i, j, s
        cdef double[:, ::1] total
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        lora = lb_side_lora(side, t)
        total = np.zeros((lora.rank, lora.rank))
        with nogil:
            for s in range(side.table[t].used):
                for i in range(lora.rank):
                    for j in range(lora.rank):
                        total[i, j] += <double>lora.A[s * lora.rank + i] * lora.A[s * lora.rank + j]
        return np.asarray(total)

    def basis(self, Py_ssize_t t):
        import numpy as np

        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef lb_lora lora
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        lora = lb_side_lora(side, t)
        if lora.rank == 0:
            return np.zeros((0, self.adapter.dim), dtype=np.float32)
        return np.array(<float[:lora.rank, :self.adapter.dim]>lora.B)

    def publish(self):
        cdef lb_side *side = self.idle()
        self.epoch += 1
        side.epoch = self.epoch
        lb_flip(&self.adapter.active, 1 - self.adapter.active)
        self.writing = False
        return self.epoch

    def arrays(self, Py_ssize_t t):
        """Copies of table t's A [used, R], B [R, D] and rows [used] in the active side."""
        import numpy as np

        cdef lb_side *side = lb_adapter_side(self.adapter, self.adapter.active)
        cdef lb_lora lora
        cdef int32_t used
        if not 0 <= t < self.adapter.tables:
            raise IndexError(f"table: found {t}, expected 0 to {self.adapter.tables - 1}")
        lora = lb_side_lora(side, t)
        used = side.table[t].used
        rows = np.array([self.slots[t].slot_row[s] for s in range(used)], dtype=np.int32)
        if lora.rank == 0:
            empty = np.zeros((0, 0), dtype=np.float32)
            return empty, np.zeros((0, self.adapter.dim), dtype=np.float32), rows
        A = np.zeros((used, lora.rank), dtype=np.float32)
        if used:
            A[:] = np.asarray(<float[:used, :lora.rank]>lora.A)
        return A, np.array(<float[:lora.rank, :self.adapter.dim]>lora.B), rows


def advance_version(version):
    cdef _Array array = _Array(version, "version", _INT64, 1, writable=True)
    if array.size() != 1:
        raise ValueError(f"version: found {array.size()} numbers, expected 1")
    lb_version_advance(<int64_t *>array.view.buf)


cdef class ReplayRing:
    cdef Mapping mapping
    cdef lb_ring ring

    def __cinit__(self, Mapping mapping not None, int64_t num_dense, int64_t num_sparse,
                  int64_t base=0):
        cdef int64_t record
        if not (0 <= num_dense < 2 ** 31 and 0 <= num_sparse < 2 ** 31 and 0 <= base < 2 ** 31):
            raise ValueError(
                f"num_dense, num_sparse, base: found {num_dense}, {num_sparse} and {base}, "
                "expected 0 or more"
            )
        if not mapping.writable:
            raise ValueError("mapping: found a read-only one, expected a writable one")
        record = lb_ring_record_bytes(num_dense, num_sparse, base)
        self.mapping = mapping
        self.ring.state = <lb_ring_state *>mapping.address
        self.ring.records = <char *>mapping.address + sizeof(lb_ring_state)
        self.ring.capacity = (mapping.length - <int64_t>sizeof(lb_ring_state)) // record
        self.ring.bytes = record
        self.ring.dense = num_dense
        self.ring.sparse = num_sparse
        self.ring.base = base
        if self.ring.capacity < 1:
            raise ValueError(
                f"mapping: found {mapping.length} bytes, expected at least "
                f"{sizeof(lb_ring_state) + record}, the size of one record"
            )

    @property
    def capacity(self):
        return self.ring.capacity

    @property
    def appended(self):
        return self.ring.state.head

    @property
    def dropped(self):
        return self.ring.state.dropped

    @property
    def base_bytes(self):
        return lb_ring_base_bytes(self.ring.base)

    def reset(self):
        memset(self.ring.state, 0, sizeof(lb_ring_state))
        self.ring.state.base = self.ring.base

    cdef int check_layout(self) except -1:
        """What one end writes the other must read in the same way."""
        if self.ring.state.base != self.ring.base:
            raise ValueError(
                f"ring: found one laid out for {self.ring.state.base} floats of base vectors a "
                f"record, expected {self.ring.base}; reset it first"
            )
        return 0

    cdef int check_base(self, const float[:, :, ::1] base, int64_t n) except -1:
        if base is None:
            if self.ring.base:
                raise ValueError(f"base: found none, expected {self.ring.base} floats a record")
            return 0
        if base.shape[0] != n or base.shape[1] * base.shape[2] != self.ring.base:
            raise ValueError(
                f"base: found shape [{base.shape[0]}, {base.shape[1]}, {base.shape[2]}], "
                f"expected [{n}, K, D] of {self.ring.base} floats a record"
            )
        return 0

    def append(self, int64_t first, int64_t served_ns, const float[:, ::1] dense,
               const int32_t[:, ::1] sparse, *, int64_t version=0,
               const float[:, :, ::1] base=None):
        cdef int kept
        cdef int64_t n = sparse.shape[0]
        cdef const float *vectors = NULL
        if (sparse.shape[1] != self.ring.sparse or dense.shape[1] != self.ring.dense
                or dense.shape[0] != n):
            raise ValueError(
                f"dense, sparse: found shapes [{dense.shape[0]}, {dense.shape[1]}] and "
                f"[{n}, {sparse.shape[1]}], expected [n, {self.ring.dense}] and "
                f"[n, {self.ring.sparse}]"
            )
        self.check_base(base, n)
        self.check_layout()
        if n == 0:
            return True
        if self.ring.base:
            vectors = &base[0, 0, 0]
        with nogil:
            kept = lb_ring_append(&self.ring, first, n, served_ns, version,
                                  &dense[0, 0] if self.ring.dense else NULL,
                                  &sparse[0, 0] if self.ring.sparse else NULL, vectors)
        return kept != 0

    def take(self, int64_t before_ns, int64_t[:, ::1] keys, float[:, ::1] dense,
             int32_t[:, ::1] sparse, *, int64_t[::1] versions=None,
             float[:, :, ::1] base=None):
        cdef int64_t n
        cdef int64_t most = keys.shape[0]
        cdef lb_ring_rows rows
        if (keys.shape[1] != 2 or dense.shape[0] != most or sparse.shape[0] != most
                or dense.shape[1] != self.ring.dense or sparse.shape[1] != self.ring.sparse):
            raise ValueError(
                f"keys, dense, sparse: found shapes [{most}, {keys.shape[1]}], "
                f"[{dense.shape[0]}, {dense.shape[1]}] and "
                f"[{sparse.shape[0]}, {sparse.shape[1]}], expected [n, 2], "
                f"[n, {self.ring.dense}] and [n, {self.ring.sparse}]"
            )
        self.check_base(base, most)
        if self.ring.base and (versions is None or versions.shape[0] != most):
            raise ValueError(
                f"versions: found {'none' if versions is None else versions.shape[0]}, "
                f"expected {most}"
            )
        self.check_layout()
        if most == 0:
            return 0
        rows.dense = &dense[0, 0] if self.ring.dense else NULL
        rows.sparse = &sparse[0, 0] if self.ring.sparse else NULL
        rows.version = &versions[0] if self.ring.base else NULL
        rows.base = &base[0, 0, 0] if self.ring.base else NULL
        with nogil:
            n = lb_ring_take(&self.ring, before_ns, most, <lb_ring_key *>&keys[0, 0], &rows)
        return n

    def due(self, int64_t before_ns):
        return lb_ring_due(&self.ring, before_ns)

    def skip(self, int64_t n):
        if not 0 <= n <= <int64_t>(self.ring.state.head - self.ring.state.tail):
            raise ValueError(f"n: found {n}, expected 0 to what the ring holds")
        lb_ring_skip(&self.ring, n)


cdef lb_load_line *_load_lines(Mapping mapping, Py_ssize_t servers) except NULL:
    if not mapping.writable or mapping.length < servers * <Py_ssize_t>sizeof(lb_load_line):
        raise ValueError(
            f"mapping: found {mapping.length} bytes, expected at least "
            f"{servers * sizeof(lb_load_line)} writable ones for {servers} servers"
        )
    return <lb_load_line *>mapping.address


cdef class LoadLine:
    cdef Mapping mapping
    cdef lb_load_line *line

    def __cinit__(self, Mapping mapping not None, Py_ssize_t server):
        if server < 0:
            raise ValueError(f"server: found {server}, expected 0 or more")
        self.mapping = mapping
        self.line = _load_lines(mapping, server + 1) + server

    def begin(self, int64_t now_ns, const int64_t[::1] arrivals not None, Py_ssize_t at):
        cdef Py_ssize_t n = arrivals.shape[0]
        if not 0 <= at < n:
            raise ValueError(f"at: found {at}, expected 0 to {n - 1}")
        lb_load_begin(self.line, now_ns, &arrivals[at], n - at)

    def end(self, int64_t now_ns, int64_t answered_ns, const int64_t[::1] arrivals not None,
            Py_ssize_t at, Py_ssize_t end):
        cdef Py_ssize_t n = arrivals.shape[0]
        if not 0 <= at < end <= n:
            raise ValueError(f"at, end: found {at} and {end}, expected 0 <= at < end <= {n}")
        lb_load_end(self.line, now_ns, answered_ns, &arrivals[at], end - at)


cdef class LoadLines:
    cdef Mapping mapping
    cdef lb_load_line *lines
    cdef readonly Py_ssize_t servers

    def __cinit__(self, Mapping mapping not None, Py_ssize_t servers):
        if servers < 1:
            raise ValueError(f"servers: found {servers}, expected at least 1")
        self.mapping = mapping
        self.lines = _load_lines(mapping, servers)
        self.servers = servers

    def reset(self, int64_t limit_ns):
        cdef Py_ssize_t i
        if limit_ns < 0:
            raise ValueError(f"limit_ns: found {limit_ns}, expected 0 or more")
        memset(self.lines, 0, self.servers * sizeof(lb_load_line))
        for i in range(self.servers):
            lb_load_set(&self.lines[i].limit_ns, limit_ns)

    def read(self, int64_t now_ns):
        cdef Py_ssize_t i
        cdef lb_load_line *line
        found = []
        for i in range(self.servers):
            line = self.lines + i
            found.append((lb_load_busy(line, now_ns), lb_load_get(&line.queries),
                          lb_load_get(&line.late), lb_load_get(&line.due)))
        return found
