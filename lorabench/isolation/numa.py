"""NUMA placement: verified after the fact, and the memory that a process allocates for itself.

Where shared memory is to lie is said when it is made (`lorabench.memory.MemoryPolicy`); here the
kernel is asked where it does lie, twice: ``move_pages`` looks at every page, and
``/proc/PID/numa_maps`` adds up what is mapped. (Linux documents both, and the policies, in
``Documentation/admin-guide/mm/numa_memory_policy.rst`` and numa(7).) Nothing is moved: without
privilege, pages that several processes map stay where they are.

Linux keeps the policy of private memory per thread, and nobody can set another thread's: it is set
in a process's first thread before a library starts more, which inherit it.
"""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorabench._kernels.memory import (
    HUGE_PAGE_BYTES,
    allowed_nodes,
    memory_policy,
    set_memory_policy,
)
from lorabench.errors import InputError, MachineError
from lorabench.host.missing import Missing
from lorabench.host.processes import read_threads
from lorabench.host.topology import format_cpu_list
from lorabench.memory import MemoryPolicy, Region, numa_refusal, set_policy

_ALLOW = "allow mbind in the container's seccomp profile (CAP_SYS_NICE lifts Docker's filter)"


@dataclass(frozen=True)
class MappedMemory:
    """A line of numa_maps.

    Attributes
    ----------
    start : int
        Address at which the mapping begins.
    policy : str
        As the kernel writes it, for example ``bind:1`` or ``default``.
    file : str
        What is mapped; ``[heap]``, ``[stack]``, or empty for other private memory.
    node_bytes : Mapping of int to int
        Node -> bytes of the pages that the process has there.
    """

    start: int
    policy: str
    file: str
    node_bytes: Mapping[int, int]


# Two policies have a blank in their name.
_LINE = re.compile(
    r"(?P<start>[0-9a-f]+) (?P<policy>(?:prefer \(many\)|weighted interleave|[a-z]+)[=:]?\S*)"
    r"(?P<fields>(?: \S+)*) ?"
)
_ADDRESS = re.compile(r"[0-9a-f]+(?= )")
_NODE = re.compile("N([0-9]{1,9})=([0-9]{1,18})")
_PAGE = re.compile("kernelpagesize_kB=([0-9]{1,9})")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def parse_numa_maps(text: str, parts: range | None = None) -> tuple[MappedMemory, ...]:
    """Read the text of a ``numa_maps`` file.

    Parameters
    ----------
    text : str
        The text.
    parts : range, optional
        Only the mappings that begin at one of these addresses: advice can split a mapping.

    Raises
    ------
    InputError
        A line is none of such a file.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        address = _ADDRESS.match(line)
        if address and parts is not None and int(address[0], 16) not in parts:
            continue
        mapped = _LINE.fullmatch(line)
        if mapped is None:
            raise InputError(
                f"numa_maps, line {number}: found {line[:80]!r}, expected an address, a policy and "
                "fields such as N0=12"
            )
        file, page_bytes, pages = "", 4096, {}
        for field in mapped["fields"].split():
            name, _, value = field.partition("=")
            if field in {"heap", "stack"}:
                file = f"[{field}]"
            elif name == "file":
                file = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), value)
            elif page := _PAGE.fullmatch(field):
                page_bytes = 1024 * int(page[1])
            elif node := _NODE.fullmatch(field):
                pages[int(node[1])] = int(node[2])
        found.append(
            MappedMemory(
                int(mapped["start"], 16),
                mapped["policy"],
                file,
                {node: count * page_bytes for node, count in pages.items()},
            )
        )
    return tuple(found)


def mapped_bytes(maps: tuple[MappedMemory, ...]) -> dict[int, int]:
    """Sum what these mappings have where: node -> bytes."""
    total: dict[int, int] = {}
    for part in maps:
        for node, size in part.node_bytes.items():
            total[node] = total.get(node, 0) + size
    return total


def misplaced(found: Mapping[int, int], policy: MemoryPolicy) -> str | None:
    """Return what is wrong with where memory lies; None where it follows its policy.

    Bound memory lies on its nodes alone. Of interleaved memory each node has nine tenths of an even
    share, less the huge page by which the last round may fall short.

    Parameters
    ----------
    found : Mapping of int to int
        Node -> bytes.
    policy : MemoryPolicy
        What it should follow.
    """
    total = sum(found.values())
    if not total:
        return "found none of it in memory"
    least = 0.0
    if policy.mode == "interleave":
        least = 0.9 * total / len(policy.nodes) - HUGE_PAGE_BYTES
    strays = found.keys() - set(policy.nodes)
    if not any(found[node] for node in strays) and all(
        found.get(node, 0) >= least for node in policy.nodes
    ):
        return None
    return "found " + " and ".join(
        f"{size / 2**20:.2f} MiB on node {node}" for node, size in sorted(found.items()) if size
    )


def numa_maps(region: Region) -> tuple[MappedMemory, ...] | None:
    """Read this process's numa_maps: what it has of a region; None where the kernel has none."""
    try:
        text = Path("/proc/self/numa_maps").read_text(errors="replace")
    except (FileNotFoundError, PermissionError):
        return None
    start = region.mapping.start
    return parse_numa_maps(text, range(start, start + region.mapping.length))


def verify_placement(region: Region, policy: MemoryPolicy) -> None:
    """Make sure that a region lies where its policy says, by ``move_pages`` and by ``numa_maps``.

    What this process has not touched is not seen; ``region.mapping.populate()`` touches all.

    Raises
    ------
    MachineError
        It does not, or the kernel does not say; the message lists what lies where.
    """
    answers = {"move_pages": region.node_bytes()}
    maps = numa_maps(region)
    if maps is not None:
        answers["numa_maps"] = mapped_bytes(maps)
    for source, found in answers.items():
        wrong = misplaced(found, policy)
        if wrong:
            raise MachineError(
                f"memory '{region.name}': {wrong} (by {source}), expected it to {policy}"
            )


def bind_process(nodes: tuple[int, ...]) -> None:
    """Have the private memory of this process come from these nodes or not at all.

    Call it before a library starts threads: it holds for the calling thread and for those that it
    starts later, and for memory that is touched from now on.

    Parameters
    ----------
    nodes : tuple of int
        NUMA nodes.

    Raises
    ------
    MachineError
        The kernel refuses.
    """
    set_policy("private memory", MemoryPolicy("bind", nodes), set_memory_policy, memory_policy)


def thread_policies(pid: int) -> dict[int, str]:
    """Read the policy of each thread's private memory: thread id -> as numa_maps writes it.

    Raises
    ------
    ProcessLookupError
        The process has ended.
    MachineError
        The kernel does not say.
    """
    return read_threads(pid, _thread_policy)


def verify_process(pid: int, nodes: tuple[int, ...]) -> None:
    """Make sure that the private memory of every thread of a process comes from these nodes.

    Raises
    ------
    MachineError
        Some may come from elsewhere, and the message lists the threads; or the kernel does not say.
    ProcessLookupError
        The process has ended.
    """
    wanted = f"bind:{format_cpu_list(nodes)}"
    strays = {thread: found for thread, found in thread_policies(pid).items() if found != wanted}
    if strays:
        raise MachineError(
            f"process {pid}: found threads whose memory does not {MemoryPolicy('bind', nodes)}: "
            f"{strays}; they were started before it was bound"
        )


def placement_unavailable() -> Missing | None:
    """Return why memory cannot be placed on this kernel; None where it can.

    It is tried, on a page of this process's own.
    """
    why = None
    try:
        policy = MemoryPolicy("bind", allowed_nodes()[:1])
        region = Region.create("probe", 1, policy)
        try:
            region.mapping.populate()
            verify_placement(region, policy)
        finally:
            region.close()
    except OSError as error:
        why = str(numa_refusal("memory cannot be placed", error))
    except MachineError as error:
        why = str(error)
    return None if why is None else Missing("placement of memory", why, _ALLOW)


def _thread_policy(thread: int) -> str:
    # Where a mapping has no policy, a thread's own folder shows that of the thread; the first
    # thread's stack is a mapping that every process has, and it has none.
    path = Path(f"/proc/{thread}/numa_maps")
    try:
        maps = parse_numa_maps(path.read_text(errors="replace"))
    except FileNotFoundError:
        if path.parent.exists():
            raise MachineError(f"{path}: found none, expected a kernel with NUMA") from None
        raise ProcessLookupError(errno.ESRCH, f"there is no thread {thread}") from None
    except PermissionError:
        raise MachineError(f"{path}: cannot be read, expected a process of the same user") from None
    for part in maps:
        if part.file == "[stack]":
            return part.policy
    # A thread that is about to end has no memory any more.
    raise ProcessLookupError(errno.ESRCH, f"thread {thread} has no memory")
