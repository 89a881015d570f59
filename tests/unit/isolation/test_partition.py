from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resctrl_offers import amd_mb, epyc, intel_mb, l3, offers, xeon

from lorabench.host.resctrl import CacheInfo, Info, MemoryBandwidthInfo, Schemata
from lorabench.host.topology import Topology
from lorabench.isolation.partition import RdtPlan, partition, split_ways


def machine(*l3_domains: range, ids: tuple[int | None, ...] = (), l2: int = 1) -> Topology:
    """Lay out one-thread cores in L3 domains, and so many to an L2."""
    cpus = frozenset().union(*l3_domains)
    caches = tuple(frozenset(range(first, first + l2)) for first in range(0, len(cpus), l2))
    return Topology(
        online=cpus,
        allowed=cpus,
        cores=tuple(frozenset({cpu}) for cpu in sorted(cpus)),
        l3=tuple(map(frozenset, l3_domains)),
        packages=(cpus,),
        nodes=(),
        l2=caches,
        l3_ids=ids or tuple(range(len(l3_domains))),
        l2_ids=tuple(range(len(caches))),
    )


ONE = machine(range(8))
SERVERS, TRAINER = range(6), (6, 7)


def divided(info: Info, topology: Topology = ONE) -> RdtPlan:
    found, _ = partition(topology, SERVERS, TRAINER, info)
    assert found is not None
    assert info.refusals(found.serving) == info.refusals(found.trainer) == ()
    return found


@st.composite
def caches(draw: st.DrawFn) -> CacheInfo:
    ways = draw(st.integers(1, 32))
    low = draw(st.integers(0, 3))
    run = (1 << ways) - 1 << low
    return CacheInfo(
        "L3",
        16,
        # Bits may be missing in the middle, though no hardware is known that lacks some.
        run & ~draw(st.just(0) | st.integers(0, run)) or 1,
        draw(st.integers(0, 4)),
        draw(st.just(0) | st.integers(0, run)),
        sparse_masks=draw(st.booleans()),
    )


@given(caches())
def test_masks_are_legal_and_apart(cache: CacheInfo):
    split = split_ways(cache)
    runs = max(map(len, f"{cache.cbm_mask:b}".split("0")))
    if split is None:
        # No two groups of the least size fit side by side.
        assert runs < 2 * max(1, cache.min_cbm_bits)
        return
    serving, trainer = split
    strict = replace(cache, sparse_masks=False)
    assert strict.refusal(serving) is None
    assert strict.refusal(trainer) is None
    assert serving & trainer == 0
    assert (serving | trainer).bit_count() == runs
    assert trainer.bit_count() <= serving.bit_count() or trainer.bit_count() == cache.min_cbm_bits


@pytest.mark.parametrize(
    ("cache", "serving", "trainer"),
    [
        pytest.param(l3([0], ways=12), 0xFF8, 0x007, id="a quarter, from the low end"),
        pytest.param(l3([0], ways=11, shareable=0x600), 0x1FF, 0x600, id="devices' ways on top"),
        pytest.param(l3([0], ways=20, shareable=0xC0001), 0x07FFF, 0xF8000, id="on both ends"),
        pytest.param(l3([0], ways=8, shareable=0x7), 0xF8, 0x07, id="devices' more than a quarter"),
        pytest.param(l3([0], ways=8, shareable=0xFF), 0xFC, 0x03, id="devices' everywhere"),
        pytest.param(l3([0], ways=4, least=2), 0xC, 0x3, id="as few as may be"),
        pytest.param(l3([0], ways=2), 0x2, 0x1, id="one each"),
    ],
)
def test_the_trainer_gets_a_quarter_and_what_devices_fill(
    cache: CacheInfo, serving: int, trainer: int
):
    assert split_ways(cache) == (serving, trainer)


def test_a_shared_cache_is_divided_and_only_there():
    plan = divided(xeon(2), machine(range(8), range(8, 16)))
    assert str(plan.serving) == "L3:0=1ff\n"
    assert str(plan.trainer) == "L3:0=600\nMB:0=50\n"


def test_a_cache_that_the_trainer_has_to_itself_needs_no_mask():
    topology = machine(range(4), range(4, 8))
    plan, reasons = partition(topology, range(4), (6, 7), xeon())
    assert plan == RdtPlan(Schemata(), Schemata.of({"MB": {1: 50}}))
    assert "no L3 mask is needed: servers and trainer share no L3 domain" in reasons


def test_code_and_data_are_divided_alike():
    code, data = replace(l3([0]), name="L3CODE"), replace(l3([0]), name="L3DATA")
    plan = divided(offers(code, data))
    assert str(plan.serving) == "L3CODE:0=7fc\nL3DATA:0=7fc\n"
    assert str(plan.trainer) == "L3CODE:0=3\nL3DATA:0=3\n"


def test_a_machine_that_divides_l2_alone_is_divided_there():
    # As on Intel's small cores: four to an L2, no L3.
    l2 = CacheInfo("L2", 8, 0xFFFF, domains=(0, 1))
    topology = machine(range(8), ids=(None,), l2=4)
    plan = divided(offers(l2), topology)
    # CPUs 4 and 5 serve from the trainer's cache; the other cache is the servers' own.
    assert str(plan.serving) == "L2:1=fff0\n"
    assert str(plan.trainer) == "L2:1=f\n"


def test_a_machine_that_limits_bandwidth_alone_is_limited():
    plan, reasons = partition(ONE, SERVERS, TRAINER, offers(bandwidth=intel_mb([0])))
    assert plan == RdtPlan(Schemata(), Schemata.of({"MB": {0: 50}}))
    assert "no cache is divided: resctrl offers none here" in reasons


@pytest.mark.parametrize(
    ("memory", "value"),
    [
        pytest.param(replace(intel_mb([0]), bandwidth_gran=20, min_bandwidth=20), 60, id="steps"),
        pytest.param(replace(intel_mb([0]), min_bandwidth=70), 70, id="the least"),
        pytest.param(amd_mb([0]), 2 * 6 * 8, id="eighths of a GB/s"),
        pytest.param(
            MemoryBandwidthInfo("MB", 8, 10, 10, 0xFFFFFFFF, "MB/s", domains=(0,)), 12000, id="MB/s"
        ),
    ],
)
def test_the_limit_is_one_that_the_kernel_takes(memory: MemoryBandwidthInfo, value: int):
    info = offers(bandwidth=memory)
    plan, _ = partition(ONE, SERVERS, TRAINER, info)
    assert plan is not None
    assert plan.trainer.domains("MB")[0] == value == memory.rounded(value)
    assert info.refusals(plan.trainer) == ()


def test_a_limit_above_what_there_is_is_none():
    memory = replace(amd_mb([0]), maximum=64)
    plan, (*_, reason) = partition(ONE, SERVERS, TRAINER, offers(bandwidth=memory))
    assert plan is None
    assert "is no limit there" in reason


def test_domains_with_one_limit_are_told_in_one_sentence():
    topology = machine(range(4), range(4, 6), range(6, 8))
    plan, reasons = partition(topology, range(4), range(4, 8), epyc(3))
    assert plan is not None
    assert str(plan.trainer) == "MB:1=96;2=96\n"
    assert sum("memory traffic from L3 1-2 is limited" in reason for reason in reasons) == 1


def test_the_only_domain_needs_no_id():
    topology = machine(range(8), ids=(None,))
    assert str(divided(offers(l3([5])), topology).trainer) == "L3:5=3\n"


def test_a_domain_that_cannot_be_told_is_left_alone_with_the_reason():
    topology = machine(range(8), range(8, 16), ids=(None, None))
    plan, reasons = partition(topology, SERVERS, TRAINER, offers(l3([0, 1])))
    assert plan is None
    assert any("sysfs gives it no id (resctrl's domains: 0, 1)" in reason for reason in reasons)
    plan, reasons = partition(machine(range(8), ids=(7,)), SERVERS, TRAINER, offers(l3([0, 1])))
    assert plan is None
    assert any("L3 7 is not divided: resctrl has no such domain (0, 1)" in r for r in reasons)


def test_too_few_ways_are_left_alone_with_the_reason():
    plan, reasons = partition(ONE, SERVERS, TRAINER, offers(l3([0], ways=3, least=2)))
    assert plan is None
    assert any("3 ways are too few for two groups of at least 2" in reason for reason in reasons)


def test_the_only_group_is_the_trainer_s():
    info = offers(replace(l3([0]), num_closids=2))
    plan, reasons = partition(ONE, SERVERS, TRAINER, info)
    assert plan == RdtPlan(Schemata(), Schemata.of({"L3": {0: 0x3}}))
    assert any("one group to give away, and the trainer gets it" in reason for reason in reasons)


def test_without_a_group_to_give_away_nothing_is_divided():
    plan, (reason,) = partition(ONE, SERVERS, TRAINER, offers(replace(l3([0]), num_closids=1)))
    assert plan is None
    assert "no group to give away" in reason
