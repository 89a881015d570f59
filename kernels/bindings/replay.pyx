# cython: boundscheck=False, wraparound=False, cdivision=True
"""The ring in which one server leaves served samples to one trainer.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from lorabench._kernels.arrays cimport FLOAT32, INT32, INT64, Array, array_of
from lorabench._kernels.headers.shared cimport (
    lb_ring, lb_ring_append, lb_ring_base_bytes, lb_ring_due, lb_ring_key, lb_ring_record_bytes,
    lb_ring_rows, lb_ring_skip, lb_ring_state, lb_ring_take,
)
from lorabench._kernels.headers.serve cimport lb_offer, lb_offer_cost, lb_offered
from lorabench._kernels.memory cimport Mapping


cdef class ReplayRing:
    cdef Mapping mapping
    cdef lb_ring ring
    cdef lb_offered offered
    cdef lb_offer_cost cost
    cdef int64_t queries
    cdef tuple held

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

    cdef Array check_base(self, base, int64_t n, bint writable):
        cdef Array vectors
        if base is None:
            if self.ring.base:
                raise ValueError(f"base: found none, expected {self.ring.base} floats a record")
            return None
        vectors = array_of(base, "base", FLOAT32, 3, writable=writable)
        if vectors.size() != n or vectors.size(1) * vectors.size(2) != self.ring.base:
            raise ValueError(
                f"base: found shape {vectors.shape}, "
                f"expected [{n}, K, D] of {self.ring.base} floats a record"
            )
        return vectors

    @property
    def offered_ns(self):
        return self.cost.spent_ns

    def offer_from(self, dense, sparse, first_row, rows, answered_ns):
        cdef Array features = array_of(dense, "dense", FLOAT32, 2)
        cdef Array ids = array_of(sparse, "sparse", INT32, 2)
        cdef Array first = array_of(first_row, "first_row", INT64, 1)
        cdef Array count = array_of(rows, "rows", INT32, 1)
        cdef Array answered = array_of(answered_ns, "answered_ns", INT64, 1)
        cdef int64_t i, n, at
        if (ids.size(1) != self.ring.sparse or features.size(1) != self.ring.dense
                or features.size() != ids.size()):
            raise ValueError(
                f"dense, sparse: found shapes {features.shape} and {ids.shape}, "
                f"expected [N, {self.ring.dense}] and [N, {self.ring.sparse}]"
            )
        if not first.size() == count.size() == answered.size():
            raise ValueError(
                f"first_row, rows, answered_ns: found {first.size()}, {count.size()} and "
                f"{answered.size()}, expected as many of each"
            )
        for i in range(first.size()):
            at, n = (<const int64_t *>first.view.buf)[i], (<const int32_t *>count.view.buf)[i]
            if not (0 <= at and 0 <= n and at + n <= features.size()):
                raise ValueError(
                    f"first_row, rows: found {n} from {at} on, expected some of "
                    f"{features.size()} rows"
                )
        self.held = (features, ids, first, count, answered)
        self.queries = first.size()
        self.offered = lb_offered(
            <const float *>features.view.buf, <const int32_t *>ids.view.buf,
            <const int64_t *>first.view.buf, <const int32_t *>count.view.buf,
            <const int64_t *>answered.view.buf)
        self.cost = lb_offer_cost(0, 0.0)

    def offer(self, int64_t at, int64_t end, int64_t until_ns):
        if not (0 <= at <= end <= self.queries):
            raise ValueError(
                f"at, end: found {at} and {end}, expected 0 <= at <= end <= {self.queries}"
            )
        if self.ring.base:
            raise ValueError(f"base: found none, expected {self.ring.base} floats a record")
        self.check_layout()
        with nogil:
            at = lb_offer(&self.ring, &self.offered, at, end, until_ns, &self.cost)
        return at

    def append(self, int64_t first, int64_t served_ns, dense, sparse, *, int64_t version=0,
               base=None):
        cdef Array features = array_of(dense, "dense", FLOAT32, 2)
        cdef Array rows = array_of(sparse, "sparse", INT32, 2)
        cdef int64_t n = rows.size()
        cdef Array vectors
        cdef const float *vector = NULL
        cdef int kept
        if (rows.size(1) != self.ring.sparse or features.size(1) != self.ring.dense
                or features.size() != n):
            raise ValueError(
                f"dense, sparse: found shapes {features.shape} and {rows.shape}, "
                f"expected [n, {self.ring.dense}] and [n, {self.ring.sparse}]"
            )
        vectors = self.check_base(base, n, False)
        self.check_layout()
        if n == 0:
            return True
        if vectors is not None:
            vector = <const float *>vectors.view.buf
        with nogil:
            kept = lb_ring_append(&self.ring, first, n, served_ns, version,
                                  <const float *>features.view.buf,
                                  <const int32_t *>rows.view.buf, vector)
        return kept != 0

    def take(self, int64_t before_ns, keys, dense, sparse, *, versions=None, base=None):
        cdef Array key = array_of(keys, "keys", INT64, 2, writable=True)
        cdef Array features = array_of(dense, "dense", FLOAT32, 2, writable=True)
        cdef Array ids = array_of(sparse, "sparse", INT32, 2, writable=True)
        cdef Array vectors, version
        cdef int64_t most = key.size(), n
        cdef lb_ring_rows rows
        if (key.size(1) != 2 or features.shape != (most, self.ring.dense)
                or ids.shape != (most, self.ring.sparse)):
            raise ValueError(
                f"keys, dense, sparse: found shapes {key.shape}, {features.shape} and "
                f"{ids.shape}, expected [n, 2], [n, {self.ring.dense}] and [n, {self.ring.sparse}]"
            )
        rows = lb_ring_rows(<float *>features.view.buf, <int32_t *>ids.view.buf, NULL, NULL)
        vectors = self.check_base(base, most, True)
        if self.ring.base:
            if versions is None:
                raise ValueError(f"versions: found none, expected {most}")
            version = array_of(versions, "versions", INT64, 1, writable=True)
            if version.size() != most:
                raise ValueError(f"versions: found {version.size()}, expected {most}")
            rows.version = <int64_t *>version.view.buf
            rows.base = <float *>vectors.view.buf
        self.check_layout()
        if most == 0:
            return 0
        with nogil:
            n = lb_ring_take(&self.ring, before_ns, most, <lb_ring_key *>key.view.buf, &rows)
        return n

    def due(self, int64_t before_ns):
        return lb_ring_due(&self.ring, before_ns)

    def skip(self, int64_t n):
        if not 0 <= n <= <int64_t>(self.ring.state.head - self.ring.state.tail):
            raise ValueError(f"n: found {n}, expected 0 to what the ring holds")
        lb_ring_skip(&self.ring, n)
