"""Progress as it is seen: a bar on a terminal, lines now and then elsewhere, nothing if quiet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lorabench.bench.progress import ProgressObserver, progress, time_left


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Run:
    """An observer whose clock stands still until it is told, and what it has written."""

    def __init__(self, observer: ProgressObserver, file: StringIO) -> None:
        self.observer = observer
        self.file = file
        self.now_s = 1000.0

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()

    def stage(self, text: str, done: float, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.observer.stage(text, done)

    def case(self, number: int, total: int, text: str, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.observer.case(number, total, text)


@contextmanager
def observed(
    file: StringIO | None = None, *, quiet: bool = False, verbose: bool = False, **console: Any
) -> Iterator[Run]:
    file = StringIO() if file is None else file
    drawn = progress(
        Console(file=file, **console), quiet=quiet, verbose=verbose, clock=lambda: run.now_s
    )
    with drawn as observer:
        run = Run(observer, file)
        yield run


def test_every_stage_and_round_gets_a_line_and_what_is_left_once_there_is_a_pace() -> None:
    with observed() as run:
        run.stage("loading the pre-trained model", 1.0)
        run.stage("measuring capacity", 0.0)
        run.stage("measuring capacity", 1.0, after_s=3)
        for number in range(1, 9):
            run.case(number, 8, f"round {number} of 8", after_s=0 if number == 1 else 24)
        assert run.lines == [
            "lorabench: loading the pre-trained model",
            "lorabench: measuring capacity",
            "lorabench: round 1 of 8",
            "lorabench: round 2 of 8, about 3 min left",
            "lorabench: round 3 of 8, about 2 min left",
            "lorabench: round 4 of 8, about 2 min left",
            "lorabench: round 5 of 8, about 2 min left",
            "lorabench: round 6 of 8, about 1 min left",
            "lorabench: round 7 of 8, about 50 s left",
            "lorabench: round 8 of 8, about 20 s left",
        ]


def test_many_steps_are_told_now_and_then_only() -> None:
    with observed() as run:
        for number in range(1, 101):
            run.case(number, 100, f"step {number}", after_s=1)
        said = [line.split(",")[0] for line in run.lines]
        assert said == [f"lorabench: step {number}" for number in range(1, 101, 5)]
        assert run.lines[1] == "lorabench: step 6, about 2 min left"
        assert run.lines[-1] == "lorabench: step 96, less than 10 s left"


def test_a_stage_is_told_as_it_begins_and_again_while_it_lasts() -> None:
    with observed() as run:
        run.stage("replaying lora", 0.0)
        for number in range(1, 41):
            run.stage("replaying lora", number / 40, after_s=0.5)
        run.stage("replaying ideal", 0.0)
        run.stage("replaying ideal", 1.0, after_s=60)
        assert run.lines == [
            "lorabench: replaying lora",
            "lorabench: replaying lora, about 20 s left",
            "lorabench: replaying lora, about 10 s left",
            "lorabench: replaying lora, less than 10 s left",
            "lorabench: replaying ideal",
        ]


def test_a_case_behind_a_stage_is_told_at_once_and_keeps_its_pace() -> None:
    with observed() as run:
        for number in range(1, 4):
            run.stage("probing", 0.0, after_s=30)
            run.case(number, 10, f"block {number} of at most 10", after_s=1)
        assert run.lines[1::2] == [
            "lorabench: block 1 of at most 10",
            "lorabench: block 2 of at most 10, about 5 min left",
            "lorabench: block 3 of at most 10, about 4 min left",
        ]


def test_what_begins_again_has_no_pace_yet() -> None:
    with observed() as run:
        run.case(1, 2, "one")
        run.case(2, 2, "two", after_s=10)
        run.case(1, 2, "one", after_s=10)
        run.stage("filling", 0.5, after_s=10)
        run.stage("filling", 0.0, after_s=10)
        assert run.lines[2:] == ["lorabench: one", "lorabench: filling", "lorabench: filling"]


def test_a_stage_that_lasts_a_day_does_not_fill_the_log() -> None:
    with observed() as run:
        day = 24 * 3600
        for second in range(day):
            run.stage("observing this host", second / day, after_s=1)
        assert 1000 < len(run.lines) < 2000
        assert "lorabench: observing this host, about 12.0 h left" in run.lines


events = st.one_of(
    st.tuples(st.just("stage"), st.sampled_from("ab"), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.tuples(st.just("case"), st.integers(1, 5), st.just(5)),
)


@given(st.lists(st.tuples(events, st.floats(0, 20))))
def test_lines_are_of_something_else_or_well_apart(told) -> None:
    with observed() as run:
        last, at_s = None, 0.0
        for (kind, first, second), after_s in told:
            before = len(run.lines)
            if kind == "stage":
                run.stage(first, second, after_s=after_s)
            else:
                run.case(first, second, "a case", after_s=after_s)
            assert len(run.lines) - before in (0, 1)
            if len(run.lines) > before:
                subject = run.lines[-1].split(",")[0]
                assert subject != last or run.now_s - at_s >= 5.0
                last, at_s = subject, run.now_s


def test_quiet_says_nothing_and_verbose_says_every_step() -> None:
    for file in (StringIO(), Terminal()):
        for verbose in (False, True):
            with observed(file, quiet=True, verbose=verbose) as run:
                run.stage("probing", 0.0)
                run.case(1, 2, "one")
            assert file.getvalue() == ""
    with observed(verbose=True) as run:
        run.stage("probing [sic]", 0.0)
        run.stage("probing [sic]", 0.5)
        run.stage("probing [sic]", 1.0)
        run.case(1, 2, "one")
        run.case(2, 2, "two")
        assert run.lines == ["probing [sic] …", "probing [sic]: done", "1/2 one", "2/2 two"]


@pytest.mark.parametrize("forced", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_lines_are_whole_and_plain_wherever_they_go(forced) -> None:
    text = "round 1 of 2: " + "pinned+throttle [bold]" * 9
    for file, environment in ((StringIO(), forced), (Terminal(), {"TERM": "dumb"})):
        with observed(file, _environ=environment, width=40) as run:
            run.case(1, 2, text)
            assert file.getvalue() == f"lorabench: {text}\n"


def test_a_terminal_has_a_bar_and_nobody_else_draws_it() -> None:
    file, threads = Terminal(), threading.active_count()
    with observed(file, _environ={"TERM": "xterm"}) as run:
        run.stage("measuring capacity", 0.5)
        run.case(1, 2, "round 1 of 2", after_s=10)
        run.case(2, 2, "round 2 of 2", after_s=10)
        assert threading.active_count() == threads
    assert "round 2 of 2 " in file.getvalue()
    assert "━" in file.getvalue()
    assert "lorabench:" not in file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "less than 10 s left"),
        (9.9, "less than 10 s left"),
        (10.0, "about 10 s left"),
        (54.0, "about 50 s left"),
        (55.0, "about 1 min left"),
        (170.0, "about 3 min left"),
        (5300.0, "about 88 min left"),
        (5400.0, "about 1.5 h left"),
    ],
)
def test_time_left_is_said_no_more_precisely_than_it_is_known(seconds, said) -> None:
    assert time_left(seconds) == said
