"""How servers and trainer share caches and memory bandwidth: masks and limits, with reasons.

The part of the plan that decides about RDT (Intel's CAT and MBA, AMD's QoS, Arm's MPAM through
resctrl); pure. Cores come first (`lorabench.isolation.cores`): a cache that only one side uses
needs no mask and gets none. What resctrl allows is data here (`lorabench.host.resctrl.Info`),
and nothing is planned that it would refuse.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lorabench.host.resctrl import CacheInfo, Info, MemoryBandwidthInfo, Schemata
from lorabench.host.topology import CpuSet, Topology, format_cpu_list

# The trainer's part of a cache that it shares with servers. It streams rows through that it will
# not soon see again, so that more would help it little.
_TRAINER_WAYS = 1 / 4

# The trainer's bandwidth: half of what its cores could take where the unit is a share of that.
_TRAINER_SHARE = 1 / 2
# Where it is absolute, about the same: one core of today's servers reads some 12 GB/s of random
# cache lines with all its line-fill buffers busy.
_TRAINER_GB_A_CORE = 6


@dataclass(frozen=True)
class RdtPlan:
    """What each side's resctrl group may use.

    Only domains that are divided are named; in the others a group keeps what the kernel gives to a
    new one, which is everything. A side whose schemata is empty needs no group.

    Attributes
    ----------
    serving, trainer : Schemata
        To be written to the groups.
    """

    serving: Schemata
    trainer: Schemata


def partition(
    topology: Topology, serving: Collection[int], trainer: Collection[int], info: Info
) -> tuple[RdtPlan | None, tuple[str, ...]]:
    """Divide the caches that servers and trainer share, and slow the trainer's memory traffic.

    Parameters
    ----------
    topology : Topology
        The machine.
    serving, trainer : collection of int
        Logical CPUs of each side.
    info : Info
        What resctrl offers.

    Returns
    -------
    plan : RdtPlan or None
        None where there is nothing to set.
    reasons : tuple of str
        A sentence for each choice, or why there is none.
    """
    if info.num_closids < 2:
        return None, ("nothing is divided: resctrl has no group to give away here",)
    ours: dict[str, dict[int, int]] = {}
    theirs: dict[str, dict[int, int]] = {}
    reasons = _divide_shared(topology, (serving, trainer), info, ours, theirs)
    if not info.caches:
        reasons.append("no cache is divided: resctrl offers none here")
    if info.bandwidth is not None:
        reasons += _limit(topology, trainer, info.bandwidth, theirs)
    if info.num_closids == 2 and ours:
        ours = {}
        reasons.append(
            "resctrl has one group to give away, and the trainer gets it: servers stay in the root "
            "group and may use all ways"
        )
    reasons += [f"{one.what} left out: {one.instead}" for one in info.dropped]
    if not ours and not theirs:
        return None, tuple(reasons)
    reasons += _clustered(topology, ours, theirs)
    reasons += _uncounted(info, bool(ours) + bool(theirs))
    return RdtPlan(Schemata.of(ours), Schemata.of(theirs)), tuple(reasons)


def _divide_shared(
    topology: Topology,
    sides: tuple[Collection[int], Collection[int]],
    info: Info,
    ours: dict[str, dict[int, int]],
    theirs: dict[str, dict[int, int]],
) -> list[str]:
    """Divide the caches on which both sides run."""
    serving, trainer = sides
    reasons: list[str] = []
    for level, sets, ids in (
        ("L3", topology.l3, topology.l3_ids),
        ("L2", topology.l2, topology.l2_ids),
    ):
        resources = info.cache(level)
        shared = [
            number
            for number, group in enumerate(sets)
            if not group.isdisjoint(serving) and not group.isdisjoint(trainer)
        ]
        if not resources or not shared:
            if resources and level == "L3":
                reasons.append("no L3 mask is needed: servers and trainer share no L3 domain")
            continue
        for number in shared:
            domain = _domain(sets, ids, number, resources[0].domains)
            if domain is None:
                reasons.append(_unknown(level, ids[number], resources[0].domains))
                continue
            reasons.append(_divide(resources, domain, ours, theirs))
    return reasons


def _clustered(
    topology: Topology, ours: dict[str, dict[int, int]], theirs: dict[str, dict[int, int]]
) -> list[str]:
    """Return where sub-NUMA clustering makes several nodes of a domain that is divided."""
    divided = {
        domain
        for side in (ours, theirs)
        for name, domains in side.items()
        if not name.startswith("L2")
        for domain in domains
    }
    reasons = []
    for group, number in zip(topology.l3, topology.l3_ids, strict=True):
        nodes = [node.id for node in topology.nodes if node.cpus and node.cpus < group]
        if number in divided and len(nodes) > 1:
            reasons.append(
                f"nodes {format_cpu_list(nodes)} share L3 {number} (sub-NUMA clusters): what is "
                "set there holds for all of them"
            )
    return reasons


def _uncounted(info: Info, groups: int) -> list[str]:
    """Return whether so many groups' traffic finds too few counters."""
    found = info.monitoring
    if found is None or not found.traffic or found.countable(groups):
        return []
    return [
        "the groups' memory traffic is not counted everywhere: counters are assigned one by one "
        "here, and some domain has too few free (resctrl's available_mbm_cntrs)"
    ]


def _domain(
    sets: Sequence[CpuSet],
    ids: Sequence[int | None],
    number: int,
    domains: Collection[int],
) -> int | None:
    """Return the resctrl domain of a cache: by its id, or the only one where sysfs gives none."""
    found = ids[number]
    if found is None and len(sets) == len(domains) == 1:
        return next(iter(domains))
    return found if found in domains else None


def _unknown(level: str, found: int | None, domains: Collection[int]) -> str:
    known = ", ".join(map(str, domains)) or "none"
    if found is None:
        return f"an {level} is not divided: sysfs gives it no id (resctrl's domains: {known})"
    return f"{level} {found} is not divided: resctrl has no such domain ({known})"


def _divide(
    resources: Sequence[CacheInfo],
    domain: int,
    ours: dict[str, dict[int, int]],
    theirs: dict[str, dict[int, int]],
) -> str:
    """Split a cache in two; with CDP its code and its data alike."""
    splits = [split_ways(cache) for cache in resources]
    first = resources[0]
    if any(split is None for split in splits):
        return (
            f"{first.level} {domain} is not divided: {first.ways} ways are too few for two groups "
            f"of at least {max(1, first.min_cbm_bits)}"
        )
    for cache, split in zip(resources, splits, strict=True):
        assert split is not None
        ours.setdefault(cache.name, {})[domain], theirs.setdefault(cache.name, {})[domain] = split
    serving, trainer = ours[first.name][domain], theirs[first.name][domain]
    reason = (
        f"{first.level} {domain} is shared: of its {first.ways} ways the trainer gets "
        f"{trainer.bit_count()} (mask {trainer:x}) and servers the other {serving.bit_count()} "
        f"({serving:x}), so that its stream of rows evicts none of theirs"
    )
    if len(resources) > 1:
        reason += "; code and data alike"
    if trainer & first.shareable_bits:
        reason += "; the trainer's are those that I/O devices fill too"
    return reason


def split_ways(cache: CacheInfo) -> tuple[int, int] | None:
    """Split a cache's ways between servers and trainer.

    Both masks are one run of bits, of at least ``min_cbm_bits``, and have no bit in common. The
    trainer gets a quarter, at the end that has ways which I/O devices fill too
    (``shareable_bits``), and all of those as long as they are no more than half: what devices evict
    are then its lines and not the servers'.

    Parameters
    ----------
    cache : CacheInfo
        What may be written.

    Returns
    -------
    (int, int) or None
        Masks of servers and trainer; None where the ways are too few for two groups.
    """
    low, ways = _longest_run(cache.cbm_mask)
    least = max(1, cache.min_cbm_bits)
    if ways < 2 * least:
        return None
    run = _ones(ways) << low
    shareable = cache.shareable_bits & run
    if shareable == run:
        # All may be filled by devices: no end is better.
        shareable = 0
    at_low, at_high = (
        _filled(shareable >> low, ways),
        _filled(_reversed(shareable >> low, ways), ways),
    )
    # With no such ways, the low end.
    from_low = at_low > at_high or not shareable
    count = max(least, int(ways * _TRAINER_WAYS), at_low if from_low else at_high)
    count = min(count, ways - least)
    trainer = _ones(count) << (low if from_low else low + ways - count)
    return run & ~trainer, trainer


def _filled(bits: int, ways: int) -> int:
    """Count the ways from the low end up to the last shareable one of the low half."""
    return (bits & _ones(ways // 2)).bit_length()


def _longest_run(mask: int) -> tuple[int, int]:
    """Return the longest run of ones: its lowest bit and its length."""
    best = (0, 0)
    position = 0
    while mask >> position:
        if mask >> position & 1:
            rest = mask >> position
            length = (~rest & (rest + 1)).bit_length() - 1
            if length > best[1]:
                best = (position, length)
            position += length
        else:
            position += 1
    return best


def _reversed(bits: int, ways: int) -> int:
    return sum(1 << (ways - 1 - bit) for bit in range(ways) if bits >> bit & 1)


def _ones(count: int) -> int:
    return (1 << count) - 1


def _limit(
    topology: Topology,
    trainer: Collection[int],
    memory: MemoryBandwidthInfo,
    theirs: dict[str, dict[int, int]],
) -> list[str]:
    """Limit the trainer's traffic where it leaves a cache for memory; servers keep what they have.

    It reads tables that lie where the servers are, so its own caches do not matter here.
    """
    reasons: list[str] = []
    limited: dict[str, list[int]] = {}
    for number, group in enumerate(topology.l3):
        cores = sum(cpu in group for cpu in trainer)
        if not cores:
            continue
        domain = _domain(topology.l3, topology.l3_ids, number, memory.domains)
        if domain is None:
            reasons.append(
                _unknown("memory bandwidth of L3", topology.l3_ids[number], memory.domains)
            )
            continue
        if memory.unit == "percent":
            value = memory.rounded(int(memory.maximum * _TRAINER_SHARE))
            shown = f"{value} %, half of what its cores could take"
        else:
            rate = cores * _TRAINER_GB_A_CORE
            value = memory.rounded(rate * (8 if memory.unit == "1/8 GB/s" else 1000))
            shown = f"{value} ({memory.unit}), {_TRAINER_GB_A_CORE} GB/s for each of {cores} cores"
        if value >= memory.maximum:
            reasons.append(
                f"memory bandwidth is not limited in domain {domain}: {shown} is no limit there"
            )
            continue
        theirs.setdefault(memory.name, {})[domain] = value
        limited.setdefault(shown, []).append(domain)
    return reasons + [
        f"the trainer's memory traffic from L3 {format_cpu_list(domains)} is limited to {shown}: "
        "it reads the servers' tables, and a full memory bus delays everybody"
        for shown, domains in limited.items()
    ]
