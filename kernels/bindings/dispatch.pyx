"""Which build of the kernels is in use.

Only this module is linked with the kernels. The others call them through `in_use`, which exists
once for the process: a choice holds for all of them from their next call on.
"""

from lorabench._kernels.headers.dispatch cimport lb_kernels, lb_kernels_here


# All that this machine can run, the fastest first.
cdef const lb_kernels *_available[3]
cdef int _count = lb_kernels_here(_available)
in_use = _available[0]


def instruction_sets():
    return tuple([_available[i].name.decode() for i in range(_count)])


def instruction_set():
    return in_use.name.decode()


def use_instruction_set(str name):
    global in_use
    for i in range(_count):
        if _available[i].name.decode() == name:
            in_use = _available[i]
            return
    raise ValueError(
        f"instruction set: found '{name}', expected one of {', '.join(instruction_sets())}"
    )
