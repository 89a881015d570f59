"""Shared mappings, and the NUMA nodes that memory comes from."""

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

HUGE_PAGE_BYTES: int
MAX_NODES: int

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
