"""The kernels, compiled: a module a domain, documented by the stub beside this file.

Their sources are in ``kernels/``: C headers that compute, and ``kernels/bindings/``, which checks
arguments, releases the GIL and dispatches (`arrays` has nothing for Python).

Arrays must be C-contiguous, aligned and of the stated dtype. A wrong shape, dtype or layout, an
output that cannot be written and offsets that decrease raise `ValueError`, a row outside its table
`IndexError`, both naming argument and position and before anything is written. All kernels release
the GIL. Why they are written as they are: ``docs/kernels.md``.
"""
