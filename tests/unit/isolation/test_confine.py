"""Control groups around real processes: in them while it lasts, as before when it is over."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from children import RESTLESS, process

from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.isolation.affinity import pin_threads, thread_affinities
from lorabench.isolation.confine import Workers, in_cgroups
from lorabench.isolation.places import Offer, survey

ALLOWED = sorted(os.sched_getaffinity(0))


@pytest.fixture
def offer() -> Offer:
    found = survey()
    for place in (found.cpuset, found.cpu):
        if isinstance(place, Missing):
            pytest.skip(f"{place.what}: {place.why}; {place.enable}")
    return found


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Two servers and a trainer that start threads without end."""
    with ExitStack() as stack:
        pids = [stack.enter_context(process(RESTLESS)).pid for _ in range(3)]
        cpu = frozenset({ALLOWED[0]})
        for pid in pids[:2]:
            pin_threads(pid, cpu)
        yield Workers(dict.fromkeys(pids[:2], cpu), pids[2], frozenset(ALLOWED[-1:]))


def groups_of(pid: int) -> set[Path]:
    return {Path(at.folder) for at in locate(Files(), str(pid))}


def test_cgroups_hold_the_workers_and_leave_them_as_they_were(
    offer: Offer, workers: Workers
) -> None:
    pids = [*workers.servers, workers.trainer]
    before = {pid: groups_of(pid) for pid in pids}
    with in_cgroups(workers, offer):
        made = {pid: groups_of(pid) - before[pid] for pid in pids}
        serving = {path for pid in workers.servers for path in made[pid]}
        assert serving
        assert made[workers.trainer]
        assert serving.isdisjoint(made[workers.trainer])
        for pid, cpus in [*workers.servers.items(), (workers.trainer, workers.trainer_cpus)]:
            assert set(thread_affinities(pid).values()) == {cpus}
    assert {pid: groups_of(pid) for pid in pids} == before
    assert not any(path.exists() for path in serving | made[workers.trainer])
    for pid, cpus in workers.servers.items():
        assert set(thread_affinities(pid).values()) == {cpus}


def test_a_trainer_in_a_group_of_its_own_gives_way_as_a_group_where_cpus_are_shared(
    offer: Offer, workers: Workers
) -> None:
    for shared in (False, True):
        cpus = next(iter(workers.servers.values())) if shared else frozenset(ALLOWED[-1:])
        placed = Workers(workers.servers, workers.trainer, cpus)
        if placed.shared is not shared:
            pytest.skip("one CPU is allowed: taskset -c 0-1 make unit")
        with in_cgroups(placed, offer):
            files = [path / "cpu.idle" for path in groups_of(workers.trainer)]
            idle = [path.read_text().strip() for path in files if path.exists()]
            ours = [path for path in groups_of(workers.trainer) if "lorabench-" in path.name]
            assert ours
            assert ("1" in idle) is shared


def test_an_error_in_between_leaves_no_group_behind(offer: Offer, workers: Workers) -> None:
    before = groups_of(workers.trainer)
    made: set[Path] = set()

    def run() -> None:
        with in_cgroups(workers, offer):
            made.update(groups_of(workers.trainer) - before)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        run()
    assert groups_of(workers.trainer) == before
    assert made
    assert not any(path.exists() for path in made)
