"""Whose a thing is that a run has made."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.host.owner import Owner, domain, read_name
from lorabench.host.processes import start_time

OWNERS = st.builds(
    Owner,
    st.integers(1, 2**30),
    st.integers(0, 2**60),
    st.just("") | st.from_regex("[0-9a-f]{8}", fullmatch=True),
)
ROLES = st.text(st.characters(exclude_characters="\n/\0"), min_size=1)


@given(OWNERS, ROLES)
def test_a_name_says_whose_it_is_and_what_it_is_for(owner: Owner, role: str) -> None:
    assert read_name(owner.name(role)) == (owner, role)
    assert Owner.parse(owner.token) == owner


@given(st.text() | st.from_regex(r"lorabench-[0-9@-]*", fullmatch=True))
def test_any_other_name_is_nobodys(name: str) -> None:
    found = read_name(name)
    assert found is None or found[0].name(found[1]).removeprefix("lorabench-")[:1].isdigit()


@pytest.mark.parametrize("name", ["lorabench-12-serving", "pod-a", "lorabench-0-1-x", "-1-2-x"])
def test_names_that_nobody_can_be_told_from_are_left_alone(name: str) -> None:
    assert read_name(name) is None


def test_this_process_is_an_owner_that_runs() -> None:
    owner = Owner.this()
    assert (owner.pid, owner.start) == (os.getpid(), start_time(os.getpid()))
    assert not owner.gone
    assert replace(owner, start=owner.start + 1).gone


def test_an_owner_that_has_ended_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        owner = replace(Owner.this(), pid=child.pid, start=start_time(child.pid) or 0)
        child.wait()
    assert owner.gone


def test_of_runs_that_are_told_apart_nobody_else_can_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = replace(Owner.this(), start=1)
    assert ended.gone
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path))
    assert not ended.gone
    apart = replace(Owner.this(), start=1)
    assert apart.gone
    assert f"@{apart.domain}-" in apart.name("trainer")


PRINT = "from lorabench.host.owner import domain; print(domain())"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a namespace of pids")
def test_of_a_containers_processes_nobody_outside_can_say() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    inside = [
        subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", PRINT],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "\n" not in {word.strip() for word in inside}
    assert domain() not in {word.strip() for word in inside}
