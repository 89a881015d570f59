"""A run's side of turns: what it says while it waits, what it does when it is told something."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from counting import COUNTING, LAST, CountingOptions
from documents import document

from lorabench.bench.command import Output
from lorabench.bench.rounds import Shape, Turn, run_blocks
from lorabench.bench.runner import run
from lorabench.bench.turns import VARIABLE, Planned, SharedTurns, Turns, TurnsError, open_turns
from lorabench.isolation.cleanup import run_lock
from lorabench.results.case import Case
from lorabench.results.schema import Metric, Round


def measured() -> tuple[list[Metric], list[Round]]:
    made = document({("latency_p99", "solo"): [0.5]}, saturated={"solo": 1})
    return made.metrics, made.rounds


class Giver:
    """Who gives the turns, in this process: what it says is there before it is waited for."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.link, self.theirs = socket.socketpair()
        self.link.settimeout(60)
        self.say(*messages)

    def say(self, *messages: dict[str, Any]) -> None:
        self.link.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in messages))

    def turns(self) -> SharedTurns:
        return SharedTurns(self.theirs, measured)

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.link.recv(1 << 20).splitlines()]


GO = {"go": True, "report": False}


def test_a_run_of_its_own_never_waits() -> None:
    turns = open_turns(measured)
    assert turns.next("block 1", 0.0)
    assert (turns.sides, turns.to_open, turns.kept, turns.giver) == (1, 1, None, None)


def test_both_sides_know_what_they_are() -> None:
    base = Giver({"side": "base", "kept": None}).turns()
    head = Giver({"side": "head", "kept": {"qps": 5}}).turns()
    assert (base.to_open, base.kept, base.sides) == (2, None, 2)
    assert (head.to_open, head.kept, head.sides) == (1, {"qps": 5}, 2)
    assert base.giver == os.getpid()


def test_a_wait_says_what_comes_once_what_is_planned_and_when_asked_what_is_measured() -> None:
    giver = Giver({"side": "base"}, {"go": True, "report": True}, GO, GO)
    turns = giver.turns()
    turns.plan(Planned({"qps": 5}, looks=(6,), level=0.02))
    assert turns.next("block 1", 0.0)
    assert turns.next("block 2", 0.5)
    assert turns.next("block 3", 0.75)
    first, second, third = giver.heard()
    assert (first["wait"], first["planned"]["kept"]) == ("block 1", {"qps": 5})
    assert "metrics" not in first
    metrics, rounds = measured()
    assert [Metric.model_validate(one) for one in second["metrics"]] == metrics
    assert [Round.model_validate(one) for one in second["rounds"]] == rounds
    assert third == {"wait": "block 3", "done": 0.75}


@pytest.mark.parametrize(("said", "kept"), [("time", "time"), ("tired", "interrupted")])
def test_being_stopped_says_why(said: str, kept: str) -> None:
    giver = Giver({"side": "base"}, {"go": False, "ended": said})
    turns = giver.turns()
    assert not turns.next("block 1", 0.0)
    assert turns.ended == kept


def test_stages_are_told_but_not_each() -> None:
    giver = Giver({"side": "base"})
    turns = giver.turns()
    for share in range(100):
        turns.stage("pre-training", share / 100)
    turns.stage("measuring solo", 0.0)
    told = [one["stage"] for one in giver.heard()]
    assert told[0] == "pre-training"
    assert told[-1] == "measuring solo"
    assert len(told) < 50


def test_nobody_at_the_other_end_ends_the_run() -> None:
    giver = Giver({"side": "base"})
    turns = giver.turns()
    giver.link.close()
    with pytest.raises(TurnsError, match="has ended before this run"):
        turns.next("block 1", 0.0)


@pytest.mark.parametrize("line", [b"go\n", b"[]\n", b'{"walk": 1}\n', b"\xff\n", b""])
def test_what_is_no_message_ends_the_run(line: bytes) -> None:
    giver = Giver()
    giver.link.sendall(line)
    giver.link.shutdown(socket.SHUT_WR)
    with pytest.raises(TurnsError):
        giver.turns()


@pytest.mark.parametrize("told", ["", "socket", "-1", "999"])
def test_the_environment_has_to_name_a_socket(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, told)
    with pytest.raises(TurnsError, match="expected a socket's descriptor"):
        open_turns(measured)
    assert VARIABLE not in os.environ


def test_a_command_takes_turns_within_the_lock_of_who_gives_them(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAST.clear()
    monkeypatch.setenv("LORABENCH_RUN_DIR", str(tmp_path))
    giver = Giver({"side": "base"})
    monkeypatch.setenv(VARIABLE, str(giver.theirs.detach()))
    with run_lock(print):
        run(COUNTING, CountingOptions(), Output(str(tmp_path / "out.json"), quiet=True))
    assert LAST[-1].turns.sides == 2
    assert LAST[-1].locked
    assert VARIABLE not in os.environ


class Scripted(Turns):
    """Says yes so often, and remembers what it was asked."""

    def __init__(self, often: int) -> None:
        self.left = often
        self.asked: list[str] = []

    def next(self, step: str, done: float) -> bool:
        self.asked.append(step)
        self.left -= 1
        return self.left >= 0


class Unwatched:
    def stage(self, text: str, done: float) -> None: ...

    def case(self, number: int, total: int, text: str) -> None: ...


@pytest.mark.parametrize(
    ("often", "events"),
    [
        (0, []),
        (1, ["open 0", "block 0", "close 0"]),
        (2, ["open 0", "block 0", "block 1", "close 0"]),
        (9, ["open 0", "block 0", "block 1", "close 0", "open 1", "block 2", "close 1"]),
    ],
)
def test_a_block_has_a_turn_and_a_round_opens_in_that_of_its_first(
    often: int, events: list[str]
) -> None:
    found: list[str] = []
    turns = Scripted(often)

    @contextmanager
    def open_round(number: int) -> Iterator[Any]:
        found.append(f"open {number}")
        yield lambda *_: None
        found.append(f"close {number}")

    run_blocks(
        [Case("solo")],
        Shape((2, 1), 1),
        seed=0,
        open_round=open_round,
        record=lambda block, *_: found.append(f"block {block}"),
        decided=lambda _: False,
        observer=Unwatched(),
        turns=turns,
    )
    assert found == events
    assert turns.asked == [f"block {n}, turn 1" for n in (1, 2, 3)][: often + 1]


@pytest.mark.parametrize(("often", "blocks"), [(1, []), (2, [0]), (3, [0]), (4, [0, 1])])
def test_every_turn_of_a_block_is_a_step_and_half_a_block_is_none(
    often: int, blocks: list[int]
) -> None:
    turns, found = Scripted(often), []
    slices: list[Turn] = []

    @contextmanager
    def open_round(number: int) -> Iterator[Any]:
        yield lambda _, turn: slices.append(turn)

    run_blocks(
        [Case("solo"), Case("pinned")],
        Shape((2,), 2),
        seed=0,
        open_round=open_round,
        record=lambda block, *_: found.append(block),
        decided=lambda _: False,
        observer=Unwatched(),
        turns=turns,
    )
    assert found == blocks
    assert len(slices) == 2 * often
    asked = [f"block {block}, turn {turn}" for block in (1, 2) for turn in (1, 2)]
    assert turns.asked == asked[: often + 1]
