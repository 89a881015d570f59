# cython: boundscheck=False, wraparound=False, cdivision=True
"""A server beside its lookups: it sleeps until the next arrival, tells its load, is witnessed.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.string cimport memset

from lorabench._kernels.arrays cimport INT64, Array, array_of
from lorabench._kernels.headers.serve cimport (
    LB_LOAD_BYTES, lb_calculate, lb_load_begin, lb_load_busy, lb_load_end, lb_load_get,
    lb_load_line, lb_load_set, lb_set_time_slice, lb_set_timer_slack, lb_sleep_until,
    lb_witness_read, lb_witnessed,
)
from lorabench._kernels.memory cimport Mapping

import os
import threading


LOAD_BYTES = LB_LOAD_BYTES


def sleep_until(int64_t deadline_ns):
    with nogil:
        lb_sleep_until(deadline_ns)


def set_timer_slack(unsigned long slack_ns):
    if lb_set_timer_slack(slack_ns) != 0:
        raise OSError(errno, os.strerror(errno))


def set_time_slice(int64_t slice_ns):
    cdef int64_t found = lb_set_time_slice(slice_ns)
    if found < 0:
        raise OSError(errno, os.strerror(errno))
    return found


def calculate(int64_t cpu_ns):
    cdef double found
    with nogil:
        found = lb_calculate(cpu_ns)
    return found


cdef class Witness:
    cdef int schedstat
    cdef lb_witnessed before

    def __cinit__(self):
        self.schedstat = -1
        try:
            self.schedstat = os.open(
                f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC
            )
        except FileNotFoundError:
            pass
        self.before.delay_ns = 0
        self.read(&self.before)

    def __dealloc__(self):
        if self.schedstat >= 0:
            os.close(self.schedstat)

    cdef int read(self, lb_witnessed *found) except -1:
        if lb_witness_read(self.schedstat, found) != 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    def moved(self):
        cdef lb_witnessed now
        cdef lb_witnessed before = self.before
        now.delay_ns = 0
        self.read(&now)
        self.before = now
        return (now.switches - before.switches, now.faults - before.faults,
                now.delay_ns - before.delay_ns if self.schedstat >= 0 else -1)


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

    def begin(self, int64_t now_ns, arrivals, Py_ssize_t at):
        cdef Array due = array_of(arrivals, "arrivals", INT64, 1)
        cdef int64_t n = due.size()
        if not 0 <= at < n:
            raise ValueError(f"at: found {at}, expected 0 to {n - 1}")
        lb_load_begin(self.line, now_ns, <const int64_t *>due.view.buf + at, n - at)

    def end(self, int64_t now_ns, int64_t answered_ns, arrivals, Py_ssize_t at, Py_ssize_t end):
        cdef Array answered = array_of(arrivals, "arrivals", INT64, 1)
        cdef int64_t n = answered.size()
        if not 0 <= at < end <= n:
            raise ValueError(f"at, end: found {at} and {end}, expected 0 <= at < end <= {n}")
        lb_load_end(self.line, now_ns, answered_ns, <const int64_t *>answered.view.buf + at,
                    end - at)


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
