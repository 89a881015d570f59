"""What a machine can allocate and monitor, and which groups there are: resctrl's files, read.

Reads; changes nothing. A recorded tree of another machine reads as well as this one's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lorabench.errors import InputError
from lorabench.host.dropped import Dropped, Salvage
from lorabench.host.files import read_number, read_text
from lorabench.host.formats import chosen
from lorabench.host.resctrl.schemata import BANDWIDTH, CACHE, Schemata

Unit = Literal["percent", "MB/s", "1/8 GB/s"]

# The value of a group that the mount option mba_MBps does not limit: all of 32 bits.
_NO_LIMIT = 0xFFFFFFFF


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
        """Return why the kernel would refuse a mask, by its own rules; None if it takes it.

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
    domains : tuple of int
        Ids of the domains, as the root group's schemata lists them.
    """

    name: str
    num_closids: int
    bandwidth_gran: int = 1
    min_bandwidth: int = 10
    maximum: int = 100
    unit: Unit = "percent"
    domains: tuple[int, ...] = ()

    def rounded(self, value: int) -> int:
        """Return the value that the kernel takes for this one: within its range, in its steps."""
        if self.unit == "MB/s":
            return max(0, min(value, self.maximum))
        step = max(1, self.bandwidth_gran)
        return min(max(-(-value // step) * step, self.min_bandwidth), self.maximum)

    def refusal(self, value: int) -> str | None:
        """Return why the kernel would refuse a value; None if it takes it (perhaps rounded up)."""
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
    num_rmids : int
        Groups that can be counted at a time.
    features : tuple of str
        Counters: ``llc_occupancy``, ``mbm_total_bytes``, ``mbm_local_bytes``.
    assigned : bool
        Whether a counter of traffic counts for a group only once it is assigned to it (AMD's
        ``mbm_event`` mode), and not for all groups.
    free_counters : dict of int to int
        Domain -> counters of traffic that nobody has, where they are assigned.
    """

    num_rmids: int
    features: tuple[str, ...]
    assigned: bool = False
    free_counters: Mapping[int, int] = field(default_factory=dict)

    @property
    def traffic(self) -> tuple[str, ...]:
        """Those of the features that count bytes moved."""
        return tuple(feature for feature in self.features if feature.startswith("mbm_"))

    def countable(self, groups: int) -> bool:
        """Whether the traffic of so many new groups can be counted in every domain."""
        if not self.traffic:
            return False
        needed = groups * len(self.traffic)
        return not self.assigned or min(self.free_counters.values(), default=0) >= needed


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
    dropped : tuple of Dropped
        Resources whose files cannot be believed.
    """

    caches: tuple[CacheInfo, ...]
    bandwidth: MemoryBandwidthInfo | None
    slow_bandwidth: MemoryBandwidthInfo | None
    monitoring: MonitoringInfo | None
    root: Schemata
    dropped: tuple[Dropped, ...] = ()

    @property
    def num_closids(self) -> int:
        """Groups that can exist at a time, the root group included: the least of the resources."""
        counts = [cache.num_closids for cache in self.caches]
        counts += [mb.num_closids for mb in (self.bandwidth, self.slow_bandwidth) if mb]
        return min(counts, default=1)

    def cache(self, level: str) -> tuple[CacheInfo, ...]:
        """List the resources of a cache: one, or code and data, or none."""
        return tuple(cache for cache in self.caches if cache.level == level)

    def refusals(self, schemata: Schemata) -> tuple[str, ...]:
        """Return what of a schemata the kernel would refuse, before it is written."""
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
        It is no resctrl, or its ``schemata`` does not parse.
    """
    info = root / "info"
    if not _is_folder(info):
        raise InputError(f"{root}: found no folder info, expected a mounted resctrl file system")
    schemata = Schemata()
    # A machine that can only monitor has none.
    text = read_text(root / "schemata")
    if text is not None:
        try:
            schemata = Schemata.parse(text)
        except ValueError as error:
            raise InputError(f"{root / 'schemata'}: {error}") from None
    caches = []
    bandwidth: dict[str, MemoryBandwidthInfo] = {}
    monitoring = None
    salvage = Salvage()
    for folder in _entries(info):
        try:
            if CACHE.fullmatch(folder.name):
                caches.append(_read_cache(folder, schemata))
            elif folder.name in BANDWIDTH:
                bandwidth[folder.name] = _read_bandwidth(folder, schemata, root, mba_mbps)
            elif folder.name == "L3_MON":
                monitoring = _read_monitoring(folder)
        except InputError as error:
            salvage.drop(f"resctrl's {folder.name}", str(error), "nothing is planned with it")
    caches.sort(key=lambda cache: (cache.level != "L3", cache.name))
    mb, slow = bandwidth.get("MB"), bandwidth.get("SMBA")
    return Info(tuple(caches), mb, slow, monitoring, schemata, salvage.dropped)


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
        domains=tuple(given),
    )


def _read_monitoring(folder: Path) -> MonitoringInfo:
    features = (read_text(folder / "mon_features") or "").split()
    mode = chosen(read_text(folder / "mbm_assign_mode") or "")
    return MonitoringInfo(
        _integer(folder / "num_rmids"),
        # AMD lists the files by which events are configured among the events.
        tuple(f for f in features if not f.endswith("_config")),
        # Kernels before 6.18 have no such file, and patches before that called it otherwise.
        mode not in ("", "default"),
        _by_domain(folder / "available_mbm_cntrs"),
    )


def _by_domain(path: Path) -> dict[int, int]:
    """Read a number a domain: ``0=30;1=30``; none where there is no file."""
    text = (read_text(path) or "").strip()
    found = {}
    for part in text.split(";") if text else ():
        pair = re.fullmatch("([0-9]{1,9})=([0-9]{1,9})", part.strip())
        if pair is None:
            raise InputError(f"{path}: found {part!r:.40}, expected a pair such as 0=30")
        found[int(pair[1])] = int(pair[2])
    return found


def monitored_domains(group: Path) -> dict[int, Path]:
    """List the folders of counters of a group by domain: ``mon_data/mon_L3_00`` is 0.

    Under sub-NUMA clustering these sum up the clusters' (`clustered_nodes`).
    """
    return _numbered(group / "mon_data", "mon_L3_")


def clustered_nodes(domain: Path) -> dict[int, Path]:
    """List the folders below a domain's by node: ``mon_L3_00/mon_sub_L3_01`` is 1.

    There are some where sub-NUMA clustering makes several nodes of what shares a cache.
    """
    return _numbered(domain, "mon_sub_L3_")


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    found = {
        int(number[1]): below
        for below in folder.glob(f"{stem}*")
        if (number := re.fullmatch(f"{stem}([0-9]{{1,9}})", below.name))
    }
    return dict(sorted(found.items()))


def groups(root: Path) -> tuple[str, ...]:
    """List the control groups beside the root group, everybody's, by name.

    Raises
    ------
    InputError
        The root cannot be read.
    """
    return tuple(
        folder.name
        for folder in _entries(root)
        if folder.name not in {"info", "mon_data", "mon_groups"} and _is_folder(folder)
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _integer(path: Path, default: int | None = None, base: int = 10) -> int:
    number = read_number(path, base)
    if number is not None:
        return number
    if default is None:
        raise InputError(f"{path}: found no such file, expected one; is this a resctrl tree?")
    return default
