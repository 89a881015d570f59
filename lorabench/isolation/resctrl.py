"""Cache and bandwidth partitions: the kernel's resctrl file system, as data.

Intel RDT, AMD QoS and Arm MPAM all serve through it, so nothing here reads CPUID or writes an MSR.
The first half parses: what the machine can allocate and monitor (`read_info`), and who may use what
(`Schemata`, `read_group`), without changing anything, so that a recorded tree of another machine
reads as well as this one's. Which masks to write is decided elsewhere (`isolation.plan`).

The interface is documented in the kernel's ``Documentation/filesystems/resctrl.rst`` (until 6.16 in
``Documentation/arch/x86``); modelling it as data with recorded trees as tests is goresctrl's habit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from lorabench.errors import InputError
from lorabench.isolation.topology import CpuSet, parse_cpu_list

Mode = Literal["shareable", "exclusive", "pseudo-locksetup", "pseudo-locked"]
Unit = Literal["percent", "MB/s", "1/8 GB/s"]

# The value of a group that the mount option mba_MBps does not limit: all of 32 bits.
_NO_LIMIT = 0xFFFFFFFF
_CACHE = re.compile("(L[0-9]+)(CODE|DATA)?")
# Bandwidth of memory, and of slow (CXL) memory on AMD; these values are decimal, masks are not.
_BANDWIDTH = {"MB", "SMBA"}


@dataclass(frozen=True)
class Allocation:
    """What a schemata line gives in one domain.

    Attributes
    ----------
    domain : int
        Id of the cache or of the memory controller that is divided.
    value : int
        A capacity bit mask, or a bandwidth.
    """

    domain: int
    value: int
    # As it was printed, padding included: "0", "=  100".
    id_text: str = field(default="", repr=False, compare=False)
    value_text: str = field(default="", repr=False, compare=False)

    def text(self, base: int) -> str:
        """Print it as it was read."""
        value = self.value_text or _number(self.value, base)
        return f"{self.id_text or self.domain}={value}"

    def changed(self, value: int, base: int) -> Self:
        """Copy with another value, printed as wide as the old one, filled up with the same."""
        width = len(self.value_text)
        fill = " " if self.value_text.startswith(" ") or base == 10 else "0"
        return replace(self, value=value, value_text=_number(value, base).rjust(width, fill))


@dataclass(frozen=True)
class Line:
    """A line of a schemata file: one resource, all of its domains or some.

    Attributes
    ----------
    resource : str
        ``L3``, ``L2``, ``MB``; with code and data apart ``L3CODE``, ``L3DATA``.
    allocations : tuple of Allocation
        In the order of the file.
    opaque : str or None
        What follows the colon where this module cannot read it: a resource that it does not know,
        or a group that is being set up for pseudo-locking. Printed back, never changed.
    """

    resource: str
    allocations: tuple[Allocation, ...]
    opaque: str | None = None
    # The kernel right-aligns the names: "    L3".
    name_text: str = field(default="", repr=False, compare=False)

    @property
    def base(self) -> int:
        """Number base of the values."""
        return 10 if self.resource in _BANDWIDTH else 16

    def __str__(self) -> str:
        shown = self.opaque
        if shown is None:
            shown = ";".join(allocation.text(self.base) for allocation in self.allocations)
        return f"{self.name_text or self.resource}:{shown}"


@dataclass(frozen=True)
class Schemata:
    r"""What a group may use: the content of its file ``schemata``, or a part of it to be written.

    Parsing and printing gives back the same bytes. Two are equal if they say the same, however it
    is spaced.

    Examples
    --------
    >>> schemata = Schemata.parse("    L3:0=0fff;1=0fff\n    MB:0= 100;1= 100\n")
    >>> schemata.value("L3", 1) == 0xFFF
    True
    >>> print(schemata.replace("L3", 1, 0xF).replace("MB", 0, 50), end="")
        L3:0=0fff;1=000f
        MB:0=  50;1= 100
    >>> print(Schemata.of({"L3": {0: 0xF0}}), end="")
    L3:0=f0
    """

    lines: tuple[Line, ...] = ()
    ends_with_newline: bool = field(default=True, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a schemata file, or a part of one.

        Raises
        ------
        ValueError
            It is none; the message names the line, what was found and what was expected.
        """
        rows = text.split("\n")
        ends = rows[-1] == ""
        if ends:
            rows.pop()
        lines: list[Line] = []
        for number, row in enumerate(rows, 1):
            try:
                line = _parse_line(row)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            if any(line.resource == other.resource for other in lines):
                raise ValueError(f"line {number}: found {line.resource} again, expected it once")
            lines.append(line)
        return cls(tuple(lines), ends)

    @classmethod
    def of(cls, values: Mapping[str, Mapping[int, int]]) -> Self:
        """Form one from resource -> domain -> mask or bandwidth."""
        return cls(
            tuple(
                Line(resource, tuple(Allocation(*pair) for pair in domains.items()))
                for resource, domains in values.items()
            )
        )

    def __str__(self) -> str:
        text = "\n".join(map(str, self.lines))
        return text + "\n" if self.lines and self.ends_with_newline else text

    @property
    def resources(self) -> tuple[str, ...]:
        """Resources that have a line, in the order of the file."""
        return tuple(line.resource for line in self.lines)

    def domains(self, resource: str) -> dict[int, int]:
        """Look up all domains of a resource: domain -> value; empty where it has no line."""
        return {
            a.domain: a.value
            for line in self.lines
            if line.resource == resource
            for a in line.allocations
        }

    def values(self) -> dict[str, dict[int, int]]:
        """Form it as resource -> domain -> value, as `of` takes it."""
        return {line.resource: self.domains(line.resource) for line in self.lines}

    def value(self, resource: str, domain: int) -> int:
        """Look up one mask or bandwidth.

        Raises
        ------
        KeyError
            There is no such resource or domain.
        """
        return self.domains(resource)[domain]

    def replace(self, resource: str, domain: int, value: int) -> Self:
        """Copy with another value in one domain; all else stays as it was printed.

        Raises
        ------
        KeyError
            There is no such resource or domain.
        """
        self.value(resource, domain)
        lines = tuple(
            replace(
                line,
                allocations=tuple(
                    a.changed(value, line.base) if a.domain == domain else a
                    for a in line.allocations
                ),
            )
            if line.resource == resource
            else line
            for line in self.lines
        )
        return replace(self, lines=lines)

    def merged(self, partial: "Schemata") -> Self:
        """Copy with what a partial schemata names replaced: what the kernel makes of a write.

        Raises
        ------
        KeyError
            The partial one names a resource or domain that this one lacks.
        """
        merged = self
        for resource, domains in partial.values().items():
            for domain, value in domains.items():
                merged = merged.replace(resource, domain, value)
        return merged


def _number(value: int, base: int) -> str:
    return f"{value:x}" if base == 16 else str(value)


def _parse_line(row: str) -> Line:
    found = re.fullmatch(r"([ \t]*)([A-Za-z][A-Za-z0-9_]*):(.*)", row)
    if found is None:
        raise ValueError(f"found {row!r}, expected a resource and domains such as L3:0=fff;1=fff")
    padding, resource, rest = found.groups()
    known = resource in _BANDWIDTH or _CACHE.fullmatch(resource)
    if not known or rest.strip() == "uninitialized":
        return Line(resource, (), rest, padding + resource)
    base = 10 if resource in _BANDWIDTH else 16
    allocations: list[Allocation] = []
    for part in rest.split(";") if rest else ():
        digits = "[0-9]+" if base == 10 else "[0-9a-fA-F]+"
        pair = re.fullmatch(f"([ \t]*([0-9]+))=([ \t]*({digits})[ \t]*)", part)
        if pair is None:
            wanted = "0=100" if base == 10 else "0=fff"
            raise ValueError(f"found {part!r} for {resource}, expected a pair such as {wanted}")
        domain = int(pair[2])
        if any(domain == other.domain for other in allocations):
            raise ValueError(f"found domain {domain} of {resource} again, expected it once")
        allocations.append(Allocation(domain, int(pair[4], base), pair[1], pair[3]))
    return Line(resource, tuple(allocations), None, padding + resource)


def parse_size(text: str) -> dict[str, dict[int, int]]:
    """Read a file ``size``: resource -> domain -> bytes of cache, or the bandwidth again.

    Raises
    ------
    ValueError
        It is none.
    """
    sizes: dict[str, dict[int, int]] = {}
    for number, row in enumerate(text.splitlines(), 1):
        found = re.fullmatch("[ \t]*([A-Za-z][A-Za-z0-9_]*):((?:[0-9]+= *[0-9]+(?:;|$))*)", row)
        if found is None:
            raise ValueError(f"line {number}: found {row!r}, expected sizes such as L3:0=1048576")
        pairs = (pair.split("=") for pair in found[2].split(";") if pair)
        sizes[found[1]] = {int(domain): int(size) for domain, size in pairs}
    return sizes


@dataclass(frozen=True)
class CacheInfo:
    """A cache that can be divided by ways.

    Attributes
    ----------
    name : str
        As the schemata names it: ``L3``, or with code and data apart (CDP) ``L3CODE``, ``L3DATA``.
    num_closids : int
        Groups that this resource allows, the root group included.
    cbm_mask : int
        All bits that a mask may have.
    min_cbm_bits : int
        Fewest bits that a mask may have; 1 where the kernel does not say, 0 on AMD.
    shareable_bits : int
        Bits that other hardware (I/O) may fill too; 0 where the kernel does not say.
    sparse_masks : bool
        Whether the bits of a mask may lie apart; not, where the kernel does not say.
    domains : tuple of int
        Ids of the caches, as the root group's schemata lists them.
    """

    name: str
    num_closids: int
    cbm_mask: int
    min_cbm_bits: int = 1
    shareable_bits: int = 0
    sparse_masks: bool = False
    domains: tuple[int, ...] = ()

    @property
    def level(self) -> str:
        """The cache itself: ``L3`` for ``L3CODE``."""
        return self.name.removesuffix("CODE").removesuffix("DATA")

    @property
    def ways(self) -> int:
        """Number of bits of a mask; on most parts, one a way."""
        return self.cbm_mask.bit_count()

    def refusal(self, mask: int) -> str | None:
        """Say why the kernel would refuse a mask, by the kernel's own rules; None if it takes it.

        That another group holds its bits exclusively is for the kernel alone to say.
        """
        if mask & ~self.cbm_mask or (mask == 0 and self.min_cbm_bits > 0):
            return (
                f"mask {mask:x} of {self.name} is out of range; expected bits of {self.cbm_mask:x}"
            )
        low = mask & -mask
        # The lowest run of ones is what the kernel counts, on sparse masks too.
        run = mask & ~(mask + low)
        if mask != run and not self.sparse_masks:
            return f"mask {mask:x} of {self.name} has a gap; expected bits side by side"
        if run.bit_count() < self.min_cbm_bits:
            return (
                f"mask {mask:x} of {self.name} has {run.bit_count()} bits; expected at least "
                f"{self.min_cbm_bits} side by side"
            )
        return None


@dataclass(frozen=True)
class MemoryBandwidthInfo:
    """Memory bandwidth that can be throttled.

    Attributes
    ----------
    name : str
        ``MB``; ``SMBA`` for slow memory (AMD).
    num_closids : int
        Groups that this resource allows, the root group included.
    bandwidth_gran : int
        Step to which the kernel rounds up; 1 where it does not say.
    min_bandwidth : int
        Least value; where the kernel does not say 10 for percentages, else 0.
    maximum : int
        Value without a limit. 100 for percentages; otherwise the largest that the root group has,
        which is how AMD's differing ranges show (2048 on the first parts).
    unit : str
        Percent (Intel, Arm), MB/s (mount option mba_MBps) or 1/8 GB/s (AMD).
    delay_linear : bool
        Whether the delay rises linearly with the value; true where the kernel does not say.
    thread_throttle_mode : str
        ``max`` (the least of a core's threads holds for both), ``per-thread`` or ``undefined``.
    domains : tuple of int
        Ids of the domains, as the root group's schemata lists them.
    """

    name: str
    num_closids: int
    bandwidth_gran: int = 1
    min_bandwidth: int = 10
    maximum: int = 100
    unit: Unit = "percent"
    delay_linear: bool = True
    thread_throttle_mode: str = "undefined"
    domains: tuple[int, ...] = ()

    def rounded(self, value: int) -> int:
        """Form the value that the kernel takes for this one: within its range, a step at a time."""
        if self.unit == "MB/s":
            return max(0, min(value, self.maximum))
        step = max(1, self.bandwidth_gran)
        return min(max(-(-value // step) * step, self.min_bandwidth), self.maximum)

    def refusal(self, value: int) -> str | None:
        """Say why the kernel would refuse a value; None if it takes it (perhaps rounded up)."""
        low = 0 if self.unit == "MB/s" else self.min_bandwidth
        if low <= value <= self.maximum:
            return None
        return (
            f"bandwidth {value} of {self.name} is out of range; expected {low} to {self.maximum} "
            f"({self.unit})"
        )


@dataclass(frozen=True)
class MonitoringInfo:
    """What of the last-level cache is counted, a group.

    Attributes
    ----------
    name : str
        ``L3_MON``.
    num_rmids : int
        Groups that can be counted at a time.
    features : tuple of str
        Counters: ``llc_occupancy``, ``mbm_total_bytes``, ``mbm_local_bytes``.
    max_threshold_occupancy : int
        Bytes of cache that a freed id may still occupy when it is given out again; 0 where the
        kernel does not say.
    domains : tuple of int
        Ids of the caches that are counted.
    """

    name: str
    num_rmids: int
    features: tuple[str, ...]
    max_threshold_occupancy: int = 0
    domains: tuple[int, ...] = ()


@dataclass(frozen=True)
class Info:
    """What a machine can allocate and monitor.

    Attributes
    ----------
    caches : tuple of CacheInfo
        L3 first; empty where no cache can be divided.
    bandwidth : MemoryBandwidthInfo or None
        Memory bandwidth, where it can be throttled.
    slow_bandwidth : MemoryBandwidthInfo or None
        The same of slow memory (AMD).
    monitoring : MonitoringInfo or None
        Counters of the L3, where there are any.
    root : Schemata
        What the root group may use: all, as long as nobody has changed it.
    """

    caches: tuple[CacheInfo, ...]
    bandwidth: MemoryBandwidthInfo | None
    slow_bandwidth: MemoryBandwidthInfo | None
    monitoring: MonitoringInfo | None
    root: Schemata

    @property
    def num_closids(self) -> int:
        """Groups that can exist at a time, the root group included: the least of the resources."""
        counts = [cache.num_closids for cache in self.caches]
        counts += [mb.num_closids for mb in (self.bandwidth, self.slow_bandwidth) if mb]
        return min(counts, default=1)

    @property
    def cdp(self) -> bool:
        """Whether some cache is divided between code and data."""
        return any(cache.name != cache.level for cache in self.caches)

    def cache(self, level: str) -> tuple[CacheInfo, ...]:
        """List the resources of a cache: one, or code and data, or none."""
        return tuple(cache for cache in self.caches if cache.level == level)

    def refusals(self, schemata: Schemata) -> tuple[str, ...]:
        """Say what of a schemata the kernel would refuse, before it is written."""
        found = []
        takers: dict[str, CacheInfo | MemoryBandwidthInfo] = {c.name: c for c in self.caches}
        takers |= {mb.name: mb for mb in (self.bandwidth, self.slow_bandwidth) if mb}
        for resource, domains in schemata.values().items():
            taker = takers.get(resource)
            if taker is None:
                known = ", ".join(takers) or "none"
                found.append(f"found resource {resource}, expected one of this machine's: {known}")
                continue
            for domain, value in domains.items():
                if domain not in taker.domains:
                    ids = ", ".join(map(str, taker.domains))
                    found.append(f"found domain {domain} of {resource}, expected one of {ids}")
                elif refusal := taker.refusal(value):
                    found.append(f"domain {domain}: {refusal}")
        return tuple(found)


def read_info(root: Path, mba_mbps: bool | None = None) -> Info:
    """Read what a mounted resctrl offers. Files that kernels leave out get documented defaults.

    Parameters
    ----------
    root : Path
        Where resctrl is mounted, or a recorded tree.
    mba_mbps : bool or None
        Whether it was mounted with ``mba_MBps``; None to infer it from the files.

    Raises
    ------
    InputError
        A file that every kernel writes is missing, or one does not parse.
    """
    info = root / "info"
    if not info.is_dir():
        raise InputError(f"{root}: found no folder info, expected a mounted resctrl file system")
    schemata = Schemata()
    # A machine that can only monitor has none.
    text = _read(root / "schemata")
    if text is not None:
        try:
            schemata = Schemata.parse(text)
        except ValueError as error:
            raise InputError(f"{root / 'schemata'}: {error}") from None
    caches = []
    bandwidth: dict[str, MemoryBandwidthInfo] = {}
    monitoring = None
    for folder in sorted(info.iterdir()):
        if _CACHE.fullmatch(folder.name):
            caches.append(_read_cache(folder, schemata))
        elif folder.name in _BANDWIDTH:
            bandwidth[folder.name] = _read_bandwidth(folder, schemata, root, mba_mbps)
        elif folder.name == "L3_MON":
            monitoring = _read_monitoring(folder, root)
    caches.sort(key=lambda cache: (cache.level != "L3", cache.name))
    return Info(
        tuple(caches), bandwidth.get("MB"), bandwidth.get("SMBA"), monitoring, root=schemata
    )


def _read_cache(folder: Path, schemata: Schemata) -> CacheInfo:
    return CacheInfo(
        name=folder.name,
        num_closids=_integer(folder / "num_closids"),
        cbm_mask=_integer(folder / "cbm_mask", base=16),
        min_cbm_bits=_integer(folder / "min_cbm_bits", default=1),
        shareable_bits=_integer(folder / "shareable_bits", default=0, base=16),
        sparse_masks=_integer(folder / "sparse_masks", default=0) != 0,
        domains=tuple(schemata.domains(folder.name)),
    )


def _read_bandwidth(
    folder: Path, schemata: Schemata, root: Path, mba_mbps: bool | None
) -> MemoryBandwidthInfo:
    given = schemata.domains(folder.name)
    linear = _integer(folder / "delay_linear", default=1) != 0
    largest = max(given.values(), default=100)
    if mba_mbps is None:
        # The file came with Linux 6.14; before, only a group without a limit shows it.
        mba_mbps = (root / "mba_MBps_event").exists() or largest == _NO_LIMIT
    unit: Unit = "percent" if linear else "1/8 GB/s"
    if mba_mbps and folder.name == "MB":
        unit = "MB/s"
    return MemoryBandwidthInfo(
        name=folder.name,
        num_closids=_integer(folder / "num_closids"),
        bandwidth_gran=_integer(folder / "bandwidth_gran", default=1),
        min_bandwidth=_integer(folder / "min_bandwidth", default=10 if unit == "percent" else 0),
        maximum={"percent": 100, "MB/s": _NO_LIMIT, "1/8 GB/s": largest}[unit],
        unit=unit,
        delay_linear=linear,
        thread_throttle_mode=(_read(folder / "thread_throttle_mode") or "undefined").strip(),
        domains=tuple(given),
    )


def _read_monitoring(folder: Path, root: Path) -> MonitoringInfo:
    features = (_read(folder / "mon_features") or "").split()
    return MonitoringInfo(
        name=folder.name,
        num_rmids=_integer(folder / "num_rmids"),
        # AMD lists the files by which events are configured among the events.
        features=tuple(f for f in features if not f.endswith("_config")),
        max_threshold_occupancy=_integer(folder / "max_threshold_occupancy", default=0),
        domains=tuple(monitored_domains(root)),
    )


def monitored_domains(group: Path) -> dict[int, Path]:
    """List the folders of counters of a group by domain: ``mon_data/mon_L3_00`` is 0.

    Under sub-NUMA clustering these sum up the clusters', which lie in folders below.
    """
    folders = {
        int(found[1]): folder
        for folder in (group / "mon_data").glob("mon_L3_*")
        if (found := re.fullmatch("mon_L3_([0-9]+)", folder.name))
    }
    return dict(sorted(folders.items()))


@dataclass(frozen=True)
class GroupState:
    """A group as it is: what its files say.

    Attributes
    ----------
    name : str
        Its folder's name; empty for the root group.
    mode : str
        ``shareable``, ``exclusive``, ``pseudo-locksetup`` or ``pseudo-locked``; shareable where
        the kernel has no modes.
    tasks : frozenset of int
        Ids of its threads.
    cpus : frozenset of int
        CPUs that are its own for tasks of the root group.
    schemata : Schemata
        What it may use.
    size : dict
        Resource -> domain -> bytes of cache; empty where the kernel does not say.
    """

    name: str
    mode: str
    tasks: frozenset[int]
    cpus: CpuSet
    schemata: Schemata
    size: dict[str, dict[int, int]]


def read_group(folder: Path, root: Path) -> GroupState:
    """Read a group's files.

    Parameters
    ----------
    folder : Path
        The group's folder; the root itself for the root group.
    root : Path
        Where resctrl is mounted.

    Raises
    ------
    InputError
        One does not parse, or there is no group.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: found no such group")
    try:
        tasks = frozenset(map(int, (_read(folder / "tasks") or "").split()))
    except ValueError as error:
        raise InputError(f"{folder / 'tasks'}: expected thread ids ({error})") from None
    try:
        cpus = parse_cpu_list(_read(folder / "cpus_list") or "")
    except ValueError as error:
        raise InputError(f"{folder / 'cpus_list'}: {error}") from None
    try:
        schemata = Schemata.parse(_read(folder / "schemata") or "")
    except ValueError as error:
        raise InputError(f"{folder / 'schemata'}: {error}") from None
    try:
        size = parse_size(_read(folder / "size") or "")
    except ValueError as error:
        raise InputError(f"{folder / 'size'}: {error}") from None
    return GroupState(
        name="" if folder == root else folder.name,
        mode=(_read(folder / "mode") or "shareable").strip(),
        tasks=tasks,
        cpus=cpus,
        schemata=schemata,
        size=size,
    )


def groups(root: Path) -> tuple[str, ...]:
    """List the control groups beside the root group, everybody's, by name."""
    return tuple(
        sorted(
            folder.name
            for folder in root.iterdir()
            if folder.name not in {"info", "mon_data", "mon_groups"} and folder.is_dir()
        )
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _integer(path: Path, default: int | None = None, base: int = 10) -> int:
    text = _read(path)
    if text is None:
        if default is None:
            raise InputError(f"{path}: found no such file, expected one; is this a resctrl tree?")
        return default
    digits = "[0-9]+" if base == 10 else "[0-9a-fA-F]+"
    if not re.fullmatch(f"(?:{digits})", text.strip()):
        raise InputError(f"{path}: found {text.strip()!r}, expected a number in base {base}")
    return int(text, base)
