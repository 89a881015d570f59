"""Which CPUs there are and which share a core, a cache or a package, from sysfs under any root.

The half of `lorabench.host.topology` that reads ``devices/system/cpu``; nothing is decided here.
Where kernels leave a file out, the reader of that file says what is taken instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.files import numbered, read_cpus, read_number, read_text
from lorabench.host.formats import CpuSet, format_cpu_list

# The PMUs that Intel's hybrid processors have, one a type of core, fastest first.
_HYBRID = (("performance", "cpu_core"), ("efficiency", "cpu_atom"), ("low-power", "cpu_lowpower"))


@dataclass(frozen=True)
class CoreType:
    """CPUs of one kind in a machine that has several.

    Attributes
    ----------
    name : str
        ``performance``, ``efficiency`` or ``low-power``.
    cpus : frozenset of int
        Those online.
    capacity : int or None
        The least of their capacities, 1024 being the fastest CPU's; None where the kernel names the
        kinds and rates none.
    """

    name: str
    cpus: CpuSet
    capacity: int | None = None


def read_online(folder: str) -> tuple[CpuSet, CpuSet]:
    """Return the CPUs that run and those that are there and do not."""
    present = numbered(folder, "cpu")
    if not present:
        raise InputError(f"{folder}: found no CPU, expected sysfs with folders cpu0, cpu1, …")
    online = read_cpus(folder, "online")
    if online is None:
        # Kernels before 2.6.26. There a CPU that does not run says so, or has no topology; if none
        # has any, the kernel tells nothing of it.
        online = frozenset(cpu for cpu in present if read_number(f"{folder}/cpu{cpu}/online") != 0)
        online = (
            frozenset(cpu for cpu in online if Path(f"{folder}/cpu{cpu}/topology").is_dir())
            or online
        )
    if missing := online - present:
        raise InputError(
            f"{folder}: found no folder of CPU {format_cpu_list(missing)}, which {folder}/online "
            "lists; expected one a CPU: the copy is not complete"
        )
    if not online:
        raise InputError(f"{folder}/online: found no CPU, expected at least one")
    return online, frozenset(present - online)


class SharingReader:
    """Reads which online CPUs share what. Each set is read once, at the first CPU that is in it."""

    def __init__(self, folder: str, online: CpuSet) -> None:
        self._folder = folder
        self._online = online
        self._order = sorted(online)

    def shared(self, *names: str) -> tuple[CpuSet, ...]:
        """Read sets from ``topology``, under the first of these names that the kernel has.

        Kernels before 5.3 have other names, and very old ones only masks. None has the file: no
        sets. Some CPUs have it and some do not: that is no machine.
        """
        return self._sets(
            lambda cpu: read_cpus(f"{self._folder}/cpu{cpu}/topology", *names),
            f"topology/{names[0]}",
        )

    def siblings(self) -> tuple[CpuSet, ...]:
        """Read what shares pipelines; where the kernel tells nothing of it, each CPU is alone."""
        found = self.shared("core_cpus_list", "thread_siblings_list", "thread_siblings")
        return found or tuple(frozenset({cpu}) for cpu in self._order)

    def cores(self, siblings: tuple[CpuSet, ...]) -> tuple[CpuSet, ...]:
        """Divide siblings into cores.

        On AMD's compute units they have core ids of their own: those are two cores. One pair tells,
        since a machine has such units throughout or not at all.
        """
        pair = next((group for group in siblings if len(group) > 1), frozenset())
        if len({self._core_id(cpu) for cpu in pair}) < 2:
            return siblings
        cores: list[CpuSet] = []
        for group in siblings:
            by_id: dict[int | None, set[int]] = {}
            for cpu in group:
                by_id.setdefault(self._core_id(cpu), set()).add(cpu)
            cores += map(frozenset, by_id.values())
        return tuple(sorted(cores, key=min))

    def caches(self, level: int) -> tuple[tuple[CpuSet, ...], tuple[int | None, ...]]:
        """Read the caches of a level that hold data, and their ids.

        CPUs of one machine may differ in what they have: Intel's low-power cores have no L3.
        """
        ids: dict[int, int | None] = {}
        without: list[int] = []
        last = -1

        def cache(cpu: int) -> CpuSet | None:
            nonlocal last
            folder = f"{self._folder}/cpu{cpu}/cache"
            # The index that the last CPU had it under, before all that there are.
            if read_number(f"{folder}/index{last}/level") != level:
                indexes = sorted(numbered(folder, "index"))
                if not indexes:
                    without.append(cpu)
                for last in indexes:
                    if self._holds_data(f"{folder}/index{last}", level):
                        break
                else:
                    return None
            index = f"{folder}/index{last}"
            # Not the list first: kernels of 2012 print another one for AMD's compute units.
            sharing = read_cpus(index, "shared_cpu_map", "shared_cpu_list")
            if sharing is None:
                raise InputError(
                    f"{index}: found a cache without shared_cpu_map and shared_cpu_list, expected "
                    "one of them: the copy is not complete"
                )
            ids[cpu] = read_number(f"{index}/id")
            return sharing

        sets = self._sets(cache, None)
        if sets and without:
            raise InputError(
                f"{self._folder}/cpu{without[0]}/cache: found no cache, expected some as "
                f"cpu{min(sets[0])} has them: the copy is not complete"
            )
        # Each was read at its first CPU.
        return sets, tuple(ids[min(group)] for group in sets)

    def _core_id(self, cpu: int) -> int | None:
        return read_number(f"{self._folder}/cpu{cpu}/topology/core_id")

    @staticmethod
    def _holds_data(index: str, level: int) -> bool:
        if read_number(f"{index}/level") != level:
            return False
        return (read_text(f"{index}/type") or "").strip() != "Instruction"

    def _sets(
        self, read: Callable[[int], CpuSet | None], must_have: str | None
    ) -> tuple[CpuSet, ...]:
        groups: list[CpuSet] = []
        covered: set[int] = set()
        without: list[int] = []
        for cpu in self._order:
            if cpu in covered:
                continue
            found = read(cpu)
            if found is None:
                without.append(cpu)
                continue
            # An offline CPU keeps its place in some kernels' sets.
            group = (found | {cpu}) & self._online
            if group & covered:
                raise InputError(
                    f"{self._folder}/cpu{cpu}/{must_have or 'cache'}: found CPUs "
                    f"{format_cpu_list(group & covered)}, which are in another CPU's set too; "
                    "expected sets that do not overlap"
                )
            covered |= group
            groups.append(group)
        if must_have and groups and without:
            raise InputError(
                f"{self._folder}/cpu{without[0]}/{must_have}: found no such file, expected one as "
                f"cpu{min(groups[0])} has it: the copy is not complete"
            )
        if partly := covered.intersection(without):
            raise InputError(
                f"{self._folder}/cpu{min(partly)}/{must_have or 'cache'}: found nothing of what "
                "another CPU shares with it, expected the same there: the copy is not complete"
            )
        return tuple(groups)


def read_core_types(base: str, online: CpuSet) -> tuple[CoreType, ...]:
    """Return the types of cores of a hybrid processor; none where all are alike."""
    found = [
        CoreType(name, cpus & online)
        for name, pmu in _HYBRID
        if (cpus := read_cpus(f"{base}/{pmu}", "cpus")) is not None and cpus & online
    ]
    if found:
        rest = online - frozenset().union(*(kind.cpus for kind in found))
        if rest:
            raise InputError(
                f"{base}: found CPUs {format_cpu_list(rest)} in none of "
                f"{', '.join(f'{pmu}/cpus' for _, pmu in _HYBRID)}, expected each in one: the copy "
                "is not complete"
            )
        return tuple(found) if len(found) > 1 else ()
    first = min(online)
    if read_number(f"{base}/system/cpu/cpu{first}/cpu_capacity") is None:
        return ()
    capacity: dict[int, int] = {}
    for cpu in online:
        path = f"{base}/system/cpu/cpu{cpu}/cpu_capacity"
        number = read_number(path)
        if number is None:
            raise InputError(
                f"{path}: found no such file, expected one as cpu{first} has it: the copy is not "
                "complete"
            )
        capacity[cpu] = number
    # Arm's have up to three types; those of more than half the fastest one's capacity count as one.
    limit = max(capacity.values()) / 2
    fast = frozenset(cpu for cpu in online if capacity[cpu] > limit)
    if fast == online:
        return ()
    return tuple(
        CoreType(name, cpus, min(capacity[cpu] for cpu in cpus))
        for name, cpus in (("performance", fast), ("efficiency", online - fast))
    )
