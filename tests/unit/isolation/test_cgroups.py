import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from children import QUIET, RESTLESS, process, traces

from lorabench.errors import MachineError
from lorabench.host.cgroups import Location, locate
from lorabench.host.files import Files
from lorabench.host.missing import Missing
from lorabench.host.owner import Owner
from lorabench.host.topology import parse_cpu_list
from lorabench.isolation.cgroups import Group, Limits, grouped, shares
from lorabench.isolation.places import Offer, find_place, survey

ALLOWED = frozenset(os.sched_getaffinity(0))
ONE = frozenset({max(ALLOWED)})


@pytest.fixture
def offer() -> Offer:
    found = survey()
    for place in (found.cpuset, found.cpu):
        if isinstance(place, Missing):
            pytest.skip(f"{place.what}: {place.why}; {place.enable}")
    return found


def read(group: Group, name: str) -> str:
    (path,) = [at / name for at in group.folders if (at / name).exists()]
    return path.read_text().strip()


def inside(pid: int) -> set[Path]:
    return {Path(at.folder) for at in locate(Files(), str(pid))}


def left(offer: Offer) -> set[Path]:
    places = [place for place in (offer.cpuset, offer.cpu) if not isinstance(place, Missing)]
    return traces(place.folder for place in places)


@pytest.mark.skipif(len(ALLOWED) < 2, reason="one CPU is allowed: taskset -c 0-1 make unit")
def test_every_thread_of_a_process_is_confined_and_goes_back(offer: Offer) -> None:
    with process(RESTLESS) as child:
        before = inside(child.pid)
        with grouped({"trainer": Limits(cpus=ONE, idle=True)}, offer) as made:
            group = made["trainer"]
            group.add(child.pid)
            for _ in range(20):
                group.verify(child.pid)
                threads = [int(t.name) for t in Path(f"/proc/{child.pid}/task").iterdir()]
                assert len(threads) >= 7
                assert inside(child.pid) >= set(group.folders)
            assert frozenset(os.sched_getaffinity(child.pid)) == ONE
            assert parse_cpu_list(read(group, "cpuset.cpus")) == ONE
            assert parse_cpu_list(read(group, "cpuset.mems"))
            assert read(group, "cpu.idle") == "1"
            assert all(folder.is_dir() for folder in group.folders)
        assert inside(child.pid) == before
        assert left(offer) == set()


def test_a_group_has_its_weight(offer: Offer) -> None:
    with process(QUIET) as child, grouped({"serving": Limits(weight=1000)}, offer) as made:
        made["serving"].add(child.pid)
        (folder,) = made["serving"].folders
        version = 1 if (folder / "cpu.shares").exists() else 2
        assert read(made["serving"], "cpu.weight" if version == 2 else "cpu.shares") == (
            "1000" if version == 2 else "10240"
        )


def test_two_groups_stand_side_by_side_and_bear_their_owner(offer: Offer) -> None:
    with grouped(dict.fromkeys(("serving", "trainer"), Limits(cpus=ALLOWED)), offer) as made:
        folders = [made[role].folders[0] for role in ("serving", "trainer")]
        owner = Owner.this()
        assert [folder.name for folder in folders] == [
            f"lorabench-{owner.token}-serving",
            f"lorabench-{owner.token}-trainer",
        ]
        assert len({folder.parent for folder in folders}) == 1


def test_a_process_that_somebody_moves_away_is_found_and_left_there(offer: Offer) -> None:
    with process(QUIET) as child, grouped({"trainer": Limits(cpus=ALLOWED)}, offer) as made:
        group = made["trainer"]
        group.add(child.pid)
        (folder,) = group.folders
        (folder.parent / "cgroup.procs").write_text(str(child.pid))
        with pytest.raises(MachineError, match=rf"found threads \[{child.pid}\] outside of cgroup"):
            group.verify(child.pid)


def test_a_process_that_ended_is_said_to_have(offer: Offer) -> None:
    with grouped({"trainer": Limits(cpus=ALLOWED)}, offer) as made, process(QUIET) as child:
        child.kill()
        child.wait()
        with pytest.raises(ProcessLookupError, match=str(child.pid)):
            made["trainer"].add(child.pid)


def test_what_is_started_within_goes_back_too(offer: Offer) -> None:
    """Forked in the group, so that nobody here ever heard of it."""
    code = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True)"
    with process(f"print(flush=True); input(); {code}; input()") as child:
        before = inside(child.pid)
        with grouped({"trainer": Limits(cpus=ALLOWED)}, offer) as made:
            made["trainer"].add(child.pid)
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            grandchild = int(child.stdout.readline())
            assert inside(grandchild) >= set(made["trainer"].folders)
        try:
            assert inside(grandchild) == before
        finally:
            os.kill(grandchild, 9)


def test_cpus_that_the_machine_lacks_are_refused_and_nothing_stays(offer: Offer) -> None:
    limits = Limits(cpus=frozenset({max(ALLOWED) + 500}))
    refused = pytest.raises(MachineError, match=r"cgroup .*expected ")
    with refused, grouped({"trainer": limits}, offer):
        raise AssertionError
    assert left(offer) == set()


def test_what_is_not_on_offer_is_refused_with_the_reason() -> None:
    missing = Missing("cgroup cpuset", "it is not writable", "run as root")
    refused = pytest.raises(MachineError, match="cgroup cpuset: it is not writable; run as root")
    with refused, grouped({"trainer": Limits(cpus=ALLOWED)}, Offer(missing, missing)):
        raise AssertionError


def test_limits_without_meaning_are_refused() -> None:
    for limits in ({"weight": 0}, {"weight": 10_001}, {"weight": 5, "idle": True}):
        with pytest.raises(ValueError, match="expected 1 to 10000, and none if idle"):
            Limits(**limits)
    assert Limits().controllers == ()
    assert [shares(weight) for weight in (1, 100, 10_000)] == [10, 1024, 102_400]


ORDINARY = """
import os
from lorabench.isolation.places import survey
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
found = survey()
print(found.cpuset.why, found.cpu.why, sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user: make unit as root")
def test_an_ordinary_user_is_told_why_not() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ORDINARY], capture_output=True, text=True, check=True
    )
    for line in ran.stdout.splitlines():
        assert "not writable" in line


# v2, as far as folders can show it; a real one is in the guest (tests/guest).


def v2(folder: Path, root: Path, controllers: str, enabled: str = "", inside: str = "") -> Location:
    """Lay out a v2 group, by the files that are looked at."""
    for at in (root, folder):
        at.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "cgroup.controllers": controllers,
            "cgroup.subtree_control": enabled if at == root else "",
            "cgroup.procs": inside if at == folder else "",
            "cgroup.type": "domain",
        }.items():
            (at / name).write_text(f"{text}\n")
    return Location(2, str(root.parent), str(folder), True, frozenset(controllers.split()))


def test_a_group_that_holds_this_run_alone_is_left_for_a_child(tmp_path: Path) -> None:
    at = v2(tmp_path / "slice/scope", tmp_path / "slice", "cpu cpuset", "cpu", str(os.getpid()))
    place = find_place("cpuset", [at])
    assert not isinstance(place, Missing)
    assert (place.folder, place.origin, place.evacuate) == (Path(at.folder), Path(at.folder), True)


def test_beside_strangers_groups_are_made_next_to_theirs(tmp_path: Path) -> None:
    at = v2(tmp_path / "slice/scope", tmp_path / "slice", "cpu cpuset", "cpu", f"1\n{os.getpid()}")
    place = find_place("cpuset", [at])
    assert not isinstance(place, Missing)
    assert (place.folder, place.origin, place.evacuate) == (
        Path(at.folder).parent,
        Path(at.folder),
        False,
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda slice, scope: (slice / "cgroup.controllers").write_text("cpu memory\n"),
            r"scope holds other processes \(1\): .*; .*slice is offered cpu memory, not cpuset",
        ),
        (
            lambda slice, scope: (slice / "cgroup.procs").write_text("7\n"),
            r"slice holds other processes \(7\): a v2 group with processes cannot",
        ),
        (
            lambda slice, scope: (slice / "cgroup.type").write_text("domain threaded\n"),
            r"slice is of type domain threaded, not domain",
        ),
    ],
    ids=["not delegated", "internal processes", "threaded"],
)
def test_every_obstacle_is_named(tmp_path: Path, spoil, message: str) -> None:
    at = v2(tmp_path / "slice/scope", tmp_path / "slice", "cpu cpuset", "cpu", f"1\n{os.getpid()}")
    spoil(tmp_path / "slice", Path(at.folder))
    found = find_place("cpuset", [at])
    assert isinstance(found, Missing)
    assert re.search(message, found.why)
    assert "Delegate=yes" in found.enable


def test_no_cgroup_file_system_at_all_is_said() -> None:
    found = find_place("cpu", [])
    assert isinstance(found, Missing)
    assert "no cgroup file system is mounted" in found.why
