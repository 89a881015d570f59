"""Streams and signals as the command finds them."""

import io
import signal
import sys
from collections.abc import Iterator

import pytest

from lorabench.bench.streams import interrupt_on_signals, prepare


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_as_ctrl_c_does_and_is_named(number: signal.Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    interrupt_on_signals()
    with pytest.raises(KeyboardInterrupt, match=f"by {number.name}"):
        signal.raise_signal(number)


def test_under_nohup_a_terminal_that_closes_is_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt_on_signals()
    signal.raise_signal(signal.SIGHUP)


def test_streams_of_somebody_else_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = io.StringIO()
    monkeypatch.setattr("sys.stdout", theirs)
    monkeypatch.setattr("sys.stderr", theirs)
    prepare()
    sys.stdout.write("said\n")
    assert theirs.getvalue() == "said\n"
