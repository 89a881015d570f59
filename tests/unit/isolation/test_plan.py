import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError, MachineError
from lorabench.isolation.plan import Plan, Request, plan
from lorabench.isolation.topology import Node, Topology


def machine(*domains: int, threads: int = 1, allowed: frozenset[int] | None = None) -> Topology:
    """Lay out cores of `threads` adjacent CPUs in L3 domains of so many cores each."""
    cores, l3 = [], []
    for count in domains:
        first = len(cores)
        cores += [
            frozenset(range(core * threads, (core + 1) * threads))
            for core in range(first, first + count)
        ]
        l3.append(frozenset().union(*cores[first:]))
    cpus = frozenset().union(*cores)
    usable = cpus if allowed is None else allowed
    return Topology(
        cpus, usable, tuple(cores), tuple(l3), (cpus,), (Node(0, cpus, 1 << 30, (10,)),)
    )


@st.composite
def machines(draw: st.DrawFn) -> Topology:
    domains = draw(st.lists(st.integers(1, 8), min_size=1, max_size=8))
    threads = draw(st.integers(1, 2))
    cpus = range(sum(domains) * threads)
    allowed = draw(st.frozensets(st.sampled_from(cpus), min_size=1))
    return machine(*domains, threads=threads, allowed=allowed)


def usable_cores(topology: Topology) -> int:
    return sum(bool(core & topology.allowed) for core in topology.cores)


@given(machines(), st.none() | st.integers(1, 16))
def test_servers_and_trainer_never_share_a_core(topology: Topology, servers: int | None):
    total = usable_cores(topology)
    if total < 2 or (servers or 0) >= total:
        with pytest.raises(MachineError):
            plan(topology, Request(servers))
        return
    made = plan(topology, Request(servers))
    chosen = (*made.serving_cpus, *made.trainer_cpus)
    assert set(chosen) <= topology.allowed
    # One CPU of each core at most, over servers and trainer together; the core's first usable one.
    for core in topology.cores:
        used = [cpu for cpu in chosen if cpu in core]
        assert used in ([], [min(core & topology.allowed, default=None)])
    assert made.serving_cpus
    assert 1 <= len(made.trainer_cpus) <= max(1, total // 4)
    if servers is not None:
        assert len(made.serving_cpus) == servers


@given(machines())
def test_the_trainer_has_its_l3_domain_to_itself_where_there_are_two(topology: Topology):
    domains = [domain for domain in topology.l3 if domain & topology.allowed]
    if usable_cores(topology) < 2:
        return
    made = plan(topology)
    of_trainer = [domain for domain in domains if domain & set(made.trainer_cpus)]
    shared = [domain for domain in of_trainer if domain & set(made.serving_cpus)]
    assert shared == ([] if len(domains) > 1 else domains)


def test_two_cores_are_one_server_and_the_trainer():
    assert plan(machine(2)) == Plan(
        (0,),
        (1,),
        (
            "the trainer gets 1 of 2 physical cores: a quarter would be less than the one that it "
            "needs",
            "there is one L3 domain: servers and trainer share it",
            "1 server, each on a physical core of its own",
        ),
    )


def test_a_desktop_with_smt_gives_the_trainer_a_quarter_of_its_cores():
    made = plan(machine(8, threads=2))
    assert made.serving_cpus == (0, 2, 4, 6, 8, 10)
    assert made.trainer_cpus == (12, 14)
    assert any("SMT siblings" in reason for reason in made.reasons)


def test_many_domains_give_the_trainer_whole_ones():
    made = plan(machine(*[8] * 8))
    assert made.trainer_cpus == tuple(range(48, 64))
    assert made.serving_cpus == tuple(range(48))


def test_two_domains_leave_cores_idle_rather_than_share_a_cache_and_say_so():
    made = plan(machine(8, 8))
    assert made.serving_cpus == tuple(range(8))
    assert made.trainer_cpus == (12, 13, 14, 15)
    assert any("4 cores beside it stay idle" in reason for reason in made.reasons)


def test_as_many_servers_as_asked_for_come_before_a_cache_of_its_own():
    made = plan(machine(8, 8), Request(servers=12))
    assert made.serving_cpus == tuple(range(12))
    assert made.trainer_cpus == (12, 13, 14, 15)
    assert any("12 servers do not fit outside" in reason for reason in made.reasons)


def test_a_small_domain_is_the_trainers():
    made = plan(machine(1, 4))
    assert made.trainer_cpus == (0,)
    assert made.serving_cpus == (1, 2, 3, 4)


def test_fewer_servers_than_cores_leave_the_rest_idle():
    assert plan(machine(8), Request(servers=2)).serving_cpus == (0, 1)


def test_many_servers_leave_the_trainer_what_is_left():
    made = plan(machine(8), Request(servers=7))
    assert made.trainer_cpus == (7,)
    assert any("all that 7 servers leave" in reason for reason in made.reasons)


def test_cpus_that_are_not_allowed_are_not_used():
    made = plan(machine(4, threads=2, allowed=frozenset({1, 4, 5, 7})))
    assert made.serving_cpus == (1, 4)
    assert made.trainer_cpus == (7,)


def test_two_threads_of_one_core_are_too_few():
    with pytest.raises(
        MachineError, match=r"found 1 usable physical core .* at least 2"
    ) as refusal:
        plan(machine(1, threads=2))
    assert refusal.value.exit_code == 3


def test_as_many_servers_as_cores_are_refused():
    with pytest.raises(MachineError, match=r"found 4 usable .* at least 5 for 4 servers"):
        plan(machine(4), Request(servers=4))


def test_no_server_is_refused():
    with pytest.raises(InputError, match="--servers: found 0, expected at least 1"):
        plan(machine(4), Request(servers=0))
