# cython: boundscheck=False, wraparound=False, cdivision=True
"""What generated workloads are drawn by: Zipf ranks, the rows that hold them, the planted model.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t

from lorabench._kernels.arrays cimport FLOAT32, FLOAT64, INT32, INT64, UINT32, Array, array_of
from lorabench._kernels.dispatch cimport in_use
from lorabench._kernels.headers.dispatch cimport lb_kernels
from lorabench._kernels.headers.generate cimport (
    LB_PLANT_DIMS, lb_bitgen, lb_clocks, lb_logits, lb_plant, lb_population, lb_zipf, lb_zipf_law,
)


cdef lb_bitgen *_bitgen(bit_generator) except NULL:
    try:
        return <lb_bitgen *>PyCapsule_GetPointer(bit_generator.capsule, b"BitGenerator")
    except (AttributeError, ValueError):
        raise TypeError(
            f"bit_generator: found {type(bit_generator).__name__}, "
            "expected a numpy.random.BitGenerator"
        ) from None


def zipf(bit_generator, int64_t n, double exponent, out):
    cdef Array array = array_of(out, "out", INT64, 1, writable=True)
    cdef const lb_kernels *kernels = in_use
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


def place_ranks(bit_generator, ranks, swaps, newcomers, rows, *, int64_t ids, int64_t multiplier,
                int64_t offset, uint32_t key, double missing, int64_t hot):
    cdef Array taken = array_of(ranks, "ranks", INT64, 1)
    cdef Array swapped = array_of(swaps, "swaps", FLOAT64, 1)
    cdef Array came = array_of(newcomers, "newcomers", FLOAT64, 1)
    cdef Array out = array_of(rows, "rows", INT32, 1, writable=True)
    cdef const lb_kernels *kernels = in_use
    cdef lb_bitgen *random = _bitgen(bit_generator)
    cdef lb_clocks clocks
    cdef lb_population population
    cdef int64_t n = taken.size(), i, ticks = swapped.size()
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
            f"swaps, newcomers: found {ticks} and {came.size()} readings for {n} ranks, "
            "expected as many of each, and a whole number of ranks for each"
        )
    for i in range(ticks):
        # Also refuses NaN; far beyond what a century at any speed gives.
        if not (0 <= (<const double *>swapped.view.buf)[i] <= 1e15
                and 0 <= (<const double *>came.view.buf)[i] <= 1e15):
            raise ValueError("swaps, newcomers: found a reading outside 0..1e15")
    for i in range(n):
        if not 1 <= rank[i] <= ids:
            raise ValueError(f"ranks: found {rank[i]}, expected 1..{ids}")
    clocks = lb_clocks(max(1, n // ticks), <const double *>swapped.view.buf,
                       <const double *>came.view.buf)
    population = lb_population(ids, multiplier, offset, key,
                               <uint32_t>min(missing * 2.0 ** 32, 2.0 ** 32 - 1), hot)
    with bit_generator.lock, nogil:
        kernels.place(&population, random, &clocks, rank, n, <int32_t *>out.view.buf)


def plant_sums(rows, hotness, keys, knots, near, far, sums, *, int64_t start, double own,
               double day):
    cdef Array columns = array_of(rows, "rows", INT32, 2)
    cdef Array hot = array_of(hotness, "hotness", INT32, 1)
    cdef Array key = array_of(keys, "keys", UINT32, 3)
    cdef Array knot = array_of(knots, "knots", UINT32, 1)
    cdef Array cosine = array_of(near, "near", FLOAT32, 1)
    cdef Array sine = array_of(far, "far", FLOAT32, 1)
    cdef Array out = array_of(sums, "sums", FLOAT32, 2, writable=True)
    cdef const lb_kernels *kernels = in_use
    cdef int64_t n = out.size(1), stride = columns.size(1), dims = knot.size(), f, wide = 0
    cdef float *preference = <float *>out.view.buf
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
    logits = lb_logits(preference, preference + n, preference + 2 * n)
    with nogil:
        kernels.plant_sums(&plant, first + start, stride, n, &logits)
