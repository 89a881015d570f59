"""Which CPUs there are and which share a core, a cache or a package, from sysfs under any root.

The half of `lorabench.host.topology` that reads ``devices/system/cpu``; nothing is decided here.
Where kernels leave a file out, the reader of that file says what is taken instead. A level is read
from all of its CPUs, since one that is described in two ways is not known at all: such a level is
dropped (`lorabench.host.dropped`), and the others are kept.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lorabench.errors import InputError
from lorabench.host.dropped import Salvage, several
from lorabench.host.files import SetReader, numbered, read_cpus, read_number, read_text
from lorabench.host.formats import CpuSet, format_cpu_list

# The PMUs that Intel's hybrid processors have, one a type of core, fastest first.
_HYBRID = (("performance", "cpu_core"), ("efficiency", "cpu_atom"), ("low-power", "cpu_lowpower"))
# Hardware threads that a core has at most: those of Power.
_MOST_THREADS = 8
_SIBLINGS = ("core_cpus_list", "thread_siblings_list", "core_cpus", "thread_siblings")
_BY_NUMBER = "CPUs of one core_id and physical_package_id count as a core"
_ALIKE = "all cores count as alike"


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


def read_online(folder: str, salvage: Salvage) -> tuple[CpuSet, CpuSet]:
    """Return the CPUs that run and those that are there and do not.

    Raises
    ------
    InputError
        There is no CPU, or none runs.
    """
    present = numbered(folder, "cpu")
    if not present:
        raise InputError(f"{folder}: found no CPU, expected sysfs with folders cpu0, cpu1, …")
    each = "each CPU's own file online is asked"
    online = salvage.attempt(lambda: read_cpus(folder, "online"), "CPUs online", each)
    if online is None:
        # Kernels before 2.6.26. There a CPU that does not run says so, or has no topology; if none
        # has any, the kernel tells nothing of it.
        online = frozenset(present - _stopped(folder, present, salvage))
        online = frozenset(
            {cpu for cpu in online if Path(f"{folder}/cpu{cpu}/topology").is_dir()} or online
        )
    if missing := online - present:
        salvage.drop(
            f"CPU{'' if len(missing) == 1 else 's'} {format_cpu_list(missing)}",
            f"{folder}: found no folder of CPU {format_cpu_list(missing)}, which {folder}/online "
            "lists; expected one a CPU",
            "the other CPUs count as all that run",
        )
        online -= missing
    if not online:
        raise InputError(f"{folder}/online: found no CPU, expected at least one")
    return online, frozenset(present - online)


def _stopped(folder: str, present: set[int], salvage: Salvage) -> set[int]:
    """Ask each CPU's own file whether it runs; some kernels leave it empty."""
    stopped, bad = set[int](), list[str]()
    for cpu in sorted(present):
        try:
            if read_number(f"{folder}/cpu{cpu}/online") == 0:
                stopped.add(cpu)
        except InputError as error:
            bad.append(str(error))
    if bad:
        what = "whether a CPU runs" if len(bad) == 1 else "whether some CPUs run"
        salvage.drop(what, several(bad[0], len(bad)), "those count as running")
    return stopped


@dataclass
class _Level:
    """What the files of one level say: each CPU's set, and where it does not say."""

    what: str
    # What is taken where the level is dropped.
    instead: str
    # CPU -> its set and the file that has it.
    own: dict[int, tuple[CpuSet, str]] = field(default_factory=dict)
    # What is wrong with files that do not parse; where a CPU has none of the level.
    bad: list[str] = field(default_factory=list)
    without: dict[int, str] = field(default_factory=dict)

    def groups(self) -> tuple[CpuSet, ...]:
        """Return the sets, by their first CPU.

        Raises
        ------
        InputError
            Two overlap and are not the same.
        """
        named: dict[int, tuple[CpuSet, str]] = {}
        found: dict[CpuSet, None] = {}
        for group, path in self.own.values():
            if group in found:
                continue
            found[group] = None
            for cpu in group:
                other, where = named.setdefault(cpu, (group, path))
                if other is not group:
                    raise InputError(
                        f"{path}: found CPUs {format_cpu_list(group)}, of which CPU "
                        f"{format_cpu_list(group & other)} is in the set of {where} too "
                        f"({format_cpu_list(other)}); expected the same set, or none in common"
                    )
        return tuple(sorted(found, key=min))


class SharingReader:
    """Reads which online CPUs share what; a level that contradicts itself has no sets.

    Parameters
    ----------
    folder : str
        ``devices/system/cpu``.
    online : frozenset of int
        The CPUs to ask.
    salvage : Salvage
        Is told what has to be left out.
    """

    def __init__(self, folder: str, online: CpuSet, salvage: Salvage) -> None:
        self._folder = folder
        self._online = online
        self._order = sorted(online)
        self._salvage = salvage
        self._read = SetReader()
        # Sets as they were read -> those of them that are online.
        self._running: dict[CpuSet, CpuSet] = {}

    def shared(self, what: str, instead: str, *names: str) -> tuple[CpuSet, ...]:
        """Read sets from ``topology``, under the first of these names that the kernel has.

        Kernels before 5.3 have other names, and very old ones only masks. None has the file: no
        sets. Some CPUs have it and nobody names the others: that level is not known.
        """
        level = _Level(what, instead)
        for cpu in self._order:
            folder = f"{self._folder}/cpu{cpu}/topology"
            self._ask(level, cpu, folder, *names)
            if cpu not in level.own:
                level.without[cpu] = f"{folder}/{names[0]}"
        return self._settle(level)

    def siblings(self) -> tuple[CpuSet, ...]:
        """Read what shares pipelines; where the kernel tells nothing of it, each CPU is alone.

        Where its sets contradict each other, CPUs with one core's number in one package are taken
        to be that core, if there are such numbers.
        """
        found = self.shared("cores", _BY_NUMBER, *_SIBLINGS)
        if found:
            return found
        # Where a level is dropped, that was the last thing to be said.
        told = self._salvage.dropped[-1:]
        if told and told[0].instead == _BY_NUMBER:
            if by_number := self._by_number():
                return by_number
            self._salvage.amend("each CPU counts as a core of its own, even if some share one")
        return tuple(frozenset({cpu}) for cpu in self._order)

    def cores(self, siblings: tuple[CpuSet, ...]) -> tuple[CpuSet, ...]:
        """Divide siblings into cores.

        On AMD's compute units they have core ids of their own: those are two cores. A machine has
        such units throughout or not at all.
        """
        pairs = [group for group in siblings if len(group) > 1]
        if not pairs or not self._numbers_differ(pairs[0]):
            return siblings
        if alike := [group for group in pairs if not self._numbers_differ(group)]:
            path = f"{self._folder}/cpu{min(pairs[0])}/topology/core_id"
            self._salvage.drop(
                "core ids",
                f"{path}: found another one than CPUs {format_cpu_list(pairs[0])} have beside it, "
                f"where those of CPUs {format_cpu_list(alike[0])} are alike; expected all to be so",
                "CPUs that are listed as one core's count as one",
            )
            return siblings
        cores: list[CpuSet] = []
        for group in siblings:
            by_id: dict[int | None, set[int]] = {}
            for cpu in group:
                by_id.setdefault(self._number(cpu, "core_id"), set()).add(cpu)
            cores += map(frozenset, by_id.values())
        return tuple(sorted(cores, key=min))

    def caches(self, level: int, instead: str) -> tuple[tuple[CpuSet, ...], tuple[int | None, ...]]:
        """Read the caches of a level that hold data, and their ids.

        CPUs of one machine may differ in what they have: Intel's low-power cores have no L3.
        """
        found = _Level(f"L{level} caches", instead)
        indexes: dict[int, str] = {}
        # Those that have caches, and none of this level.
        lower: set[int] = set()
        last = -1
        for cpu in self._order:
            folder = f"{self._folder}/cpu{cpu}/cache"
            last, bad = self._index(folder, level, last)
            found.bad += bad
            if last < 0:
                found.without[cpu] = folder
                if not bad and numbered(folder, "index"):
                    lower.add(cpu)
                continue
            indexes[cpu] = f"{folder}/index{last}"
            # Not the list first: kernels of 2012 print another one for AMD's compute units.
            self._ask(found, cpu, indexes[cpu], "shared_cpu_map", "shared_cpu_list")
            if cpu not in found.own:
                found.without[cpu] = f"{indexes[cpu]}/shared_cpu_map"
        sets = self._settle(found, lower)
        return sets, self._ids(sets, indexes, found.what)

    def _ask(self, level: _Level, cpu: int, folder: str, *names: str) -> None:
        """Note what a CPU's own file says."""
        try:
            said = self._read(folder, *names)
        except InputError as error:
            level.bad.append(str(error))
            return
        if said is not None:
            level.bad += said.bad
            # An offline CPU keeps its place in some kernels' sets.
            cpus = self._running.get(said.cpus)
            if cpus is None:
                cpus = self._running[said.cpus] = said.cpus & self._online
            level.own[cpu] = cpus if cpu in cpus else cpus | {cpu}, said.path

    def _settle(self, level: _Level, may_lack: Iterable[int] = ()) -> tuple[CpuSet, ...]:
        """Return the sets of a level; none where it contradicts itself or is not complete."""
        try:
            groups = level.groups()
        except InputError as error:
            self._salvage.drop(level.what, str(error), level.instead)
            return ()
        covered = frozenset().union(*groups)
        lacking = self._online - covered - frozenset(may_lack)
        if groups and lacking:
            where = level.without[min(lacking)]
            why = f"{where}: found no such file, expected one as CPU {min(covered)} has it"
            self._salvage.drop(level.what, level.bad[0] if level.bad else why, level.instead)
            return ()
        named = covered.intersection(level.without)
        if level.bad or named:
            where = level.without[min(named)] if named else ""
            why = f"{where}: found no such file, which other CPUs' files name"
            self._salvage.drop(
                f"some files of the {level.what}",
                several(level.bad[0], len(level.bad)) if level.bad else several(why, len(named)),
                f"what the others say of the {level.what} is taken"
                if groups
                else f"{level.what} are not known: {level.instead}",
            )
        return groups

    def _by_number(self) -> tuple[CpuSet, ...]:
        """Group CPUs by the numbers of their core and package; none where that makes no cores."""
        found: dict[tuple[int, int], set[int]] = {}
        for cpu in self._order:
            core = self._number(cpu, "core_id")
            package = self._number(cpu, "physical_package_id")
            if core is None or package is None or core < 0:
                return ()
            found.setdefault((package, core), set()).add(cpu)
        if len(found) < 2 or any(len(group) > _MOST_THREADS for group in found.values()):
            return ()
        return tuple(sorted(map(frozenset, found.values()), key=min))

    def _numbers_differ(self, group: CpuSet) -> bool:
        return len({self._number(cpu, "core_id") for cpu in group}) > 1

    def _number(self, cpu: int, name: str) -> int | None:
        try:
            return read_number(f"{self._folder}/cpu{cpu}/topology/{name}")
        except InputError:
            return None

    def _ids(
        self, sets: tuple[CpuSet, ...], indexes: dict[int, str], what: str
    ) -> tuple[int | None, ...]:
        """Read the ids of caches, by which resctrl knows them: each by the first of its CPUs."""
        nothing = f"these {what} have no ids, and resctrl cannot divide them"

        def read(group: CpuSet) -> int | None:
            index = next(indexes[cpu] for cpu in sorted(group) if cpu in indexes)
            return self._salvage.attempt(
                lambda: read_number(f"{index}/id"), f"an id of the {what}", nothing
            )

        found = [read(group) for group in sets]
        known = [number for number in found if number is not None]
        if twice := {number for number in known if known.count(number) > 1}:
            self._salvage.drop(
                f"ids of the {what}",
                f"{self._folder}: found id {min(twice)} for {known.count(min(twice))} {what}, "
                "expected each once",
                nothing,
            )
            return (None,) * len(sets)
        return tuple(found)

    @staticmethod
    def _index(folder: str, level: int, last: int) -> tuple[int, list[str]]:
        """Find the index of a CPU's cache of data; below 0 without one; and files that are bad."""
        bad: list[str] = []

        def holds(number: int) -> bool:
            index = f"{folder}/index{number}"
            try:
                if read_number(f"{index}/level") != level:
                    return False
                return (read_text(f"{index}/type") or "").strip() != "Instruction"
            except InputError as error:
                bad.append(str(error))
                return False

        # Where the last CPU had it, before all that there are.
        with suppress(InputError):
            if last >= 0 and read_number(f"{folder}/index{last}/level") == level:
                return last, []
        return next(filter(holds, sorted(numbered(folder, "index"))), -1), bad


def read_core_types(base: str, online: CpuSet, salvage: Salvage) -> tuple[CoreType, ...]:
    """Return the types of cores of a hybrid processor; none where all are alike."""
    return salvage.attempt(lambda: _core_types(base, online), "types of cores", _ALIKE) or ()


def _core_types(base: str, online: CpuSet) -> tuple[CoreType, ...]:
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
                f"{', '.join(f'{pmu}/cpus' for _, pmu in _HYBRID)}, expected each in one"
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
            raise InputError(f"{path}: found no such file, expected one as cpu{first} has it")
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
