"""Rows on memory: where it can be placed, and on which pages."""

from lorabench.host.checks.check import Finding, Host, row
from lorabench.host.files import UnreadableError
from lorabench.host.formats import chosen, format_bytes

_AREA = "memory"
_THP = "/sys/kernel/mm/transparent_hugepage"
_HUGE = "/sys/kernel/mm/hugepages"
# The first Linux with MADV_COLLAPSE, for shared memory as well.
_COLLAPSE = (6, 1)


@row(_AREA, "numa", "have /sys mounted, with the folders cpu0, cpu1, …")
def numa(host: Host) -> Finding:
    """Return whether there is a nearer and a farther memory, and whether it can be chosen."""
    nodes = [node for node in host.machine().nodes if node.memory_bytes or node.cpus]
    with_memory = [node for node in nodes if node.memory_bytes]
    bare = sum(not node.cpus for node in nodes)
    evidence = "/sys/devices/system/node: " + (
        ", ".join(f"node{node.id} {format_bytes(node.memory_bytes)}" for node in nodes[:4])
        + (", …" if len(nodes) > 4 else "")
    )
    lost = [one.what for one in host.machine().dropped if one.what.startswith("node")]
    if len(with_memory) < 2:
        left_out = f" ({', '.join(lost)} left out)" if lost else ""
        return Finding(
            "unavailable",
            f"{len(with_memory) or len(nodes)} node{left_out}: there is no nearer memory to bind "
            "to",
            evidence,
            "see topology, above"
            if lost
            else "run on several sockets, or with sub-NUMA clustering",
        )
    detail = f"{len(nodes)} nodes"
    if bare:
        detail += f", {bare} without a CPU"
    if host.tried is not None:
        if (refused := host.tried.get("placement")) is not None:
            return Finding("restricted", f"{detail}, but {refused.why}", evidence, refused.enable)
        detail += ", memory can be bound"
    return Finding("available", detail, evidence)


@row(_AREA, "thp", "use a kernel built with CONFIG_TRANSPARENT_HUGEPAGE")
def thp(host: Host) -> Finding:
    """Return whether anonymous memory may get transparent huge pages."""
    path, setting = _setting(host, "enabled")
    evidence = f"{path}: {setting}"
    if setting == "never":
        return Finding("restricted", "never given", evidence, f"echo madvise > {path}, as root")
    detail = "given to all memory" if setting == "always" else "given where asked for"
    return Finding("available", detail, evidence)


@row(_AREA, "shmem thp", "use a kernel built with CONFIG_TRANSPARENT_HUGEPAGE, 4.8 or newer")
def shmem_thp(host: Host) -> Finding:
    """Return whether memfds, in which the tables lie, may get them on first touch."""
    path, setting = _setting(host, "shmem_enabled")
    evidence = f"{path}: {setting}"
    if setting in ("never", "deny"):
        rescue = _collapses(host)
        return Finding(
            "restricted",
            f"not on first touch{'; MADV_COLLAPSE gives them afterwards' if rescue else ''}",
            evidence,
            f"echo advise > {path}, as root",
        )
    return Finding("available", "memfds get huge pages on first touch", evidence)


@row(_AREA, "hugetlb", "use a kernel built with CONFIG_HUGETLBFS")
def hugetlb(host: Host) -> Finding:
    """Return whether huge pages are reserved and free."""
    sizes = {
        int(name.removeprefix("hugepages-").removesuffix("kB")): f"{_HUGE}/{name}"
        for name in host.files.names(_HUGE)
        if name.removeprefix("hugepages-").removesuffix("kB").isdecimal()
    }
    if not sizes:
        raise UnreadableError(_HUGE, "it lists no page size")
    # Those that MFD_HUGETLB is asked for.
    kib = 2048 if 2048 in sizes else min(sizes)
    path = f"{sizes[kib]}/free_hugepages"
    free = host.files.number(path)
    over = host.files.get(f"{sizes[kib]}/nr_overcommit_hugepages") or "0"
    spare = over.isdecimal() and int(over) > 0
    known = ", ".join(format_bytes(size << 10) for size in sorted(sizes))
    detail = f"{free:,} pages of {format_bytes(kib << 10)} free (sizes: {known})"
    evidence = f"{path}: {free}"
    if free <= 0 and not spare:
        return Finding(
            "restricted",
            detail,
            evidence,
            "sysctl vm.nr_hugepages=N as root, N x 2 MiB for the tables",
        )
    if host.probes is not None and not host.probes.hugetlb.worked:
        return Finding(
            "restricted",
            f"{detail}, but MFD_HUGETLB is refused: {host.probes.hugetlb.said}",
            evidence,
            "raise the limit of the hugetlb cgroup, or free reserved pages",
        )
    return Finding("available", detail + (", more on demand" if spare else ""), evidence)


@row(_AREA, "collapse", "use Linux 6.1 or newer")
def collapse(host: Host) -> Finding:
    """Return whether filled memory can be moved onto huge pages without any privilege."""
    evidence = f"/proc/sys/kernel/osrelease: {host.release or 'not recorded'}"
    if host.probes is not None:
        if host.probes.collapse.worked:
            return Finding("available", host.probes.collapse.said, f"MADV_COLLAPSE; {evidence}")
        old = host.kernel is not None and host.kernel < _COLLAPSE
        return Finding(
            "unavailable" if old else "restricted",
            f"MADV_COLLAPSE of a memfd is refused: {host.probes.collapse.said}",
            evidence,
            "use Linux 6.1 or newer" if old else "free memory: a whole huge page must be found",
        )
    if host.kernel is None:
        raise UnreadableError("/proc/sys/kernel/osrelease", "the kernel's release is not recorded")
    if host.kernel < _COLLAPSE:
        return Finding(
            "unavailable", "MADV_COLLAPSE came with Linux 6.1", evidence, "use Linux 6.1 or newer"
        )
    return Finding("available", "the kernel has MADV_COLLAPSE", evidence)


@row(_AREA, "table pages", "run it on the machine itself: only an attempt shows it")
def table_pages(host: Host) -> Finding:
    """Return which pages tables get in the end."""
    if host.probes is None:
        raise UnreadableError("memfd", "a recorded tree cannot show it")
    found = host.probes.tables
    names = {"hugetlb": "MFD_HUGETLB", "thp": "shmem THP", "collapse": "MADV_COLLAPSE"}
    if found.worked:
        way = names.get(found.said, found.said)
        return Finding(
            "available", f"2 MiB, by {way}", f"memfd, read back from smaps: {found.said}"
        )
    return Finding(
        "restricted",
        "4 KiB: random row reads miss the TLB",
        f"memfd, read back from smaps: {found.said}",
        "enable hugetlb, shmem thp or collapse, above",
    )


ROWS = (numa, thp, shmem_thp, hugetlb, collapse, table_pages)


def _setting(host: Host, name: str) -> tuple[str, str]:
    path = f"{_THP}/{name}"
    text = host.files.read(path)
    setting = chosen(text)
    if not setting:
        raise UnreadableError(
            path, f"found {text:.40}, expected a choice such as always [madvise] never"
        )
    return path, setting


def _collapses(host: Host) -> bool:
    if host.probes is not None:
        return host.probes.collapse.worked
    return host.kernel is not None and host.kernel >= _COLLAPSE
