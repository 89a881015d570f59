"""A sender and a receiver over loopback: real transfers, and ends that die or refuse."""

import os
import signal
from collections.abc import Iterator

import pytest

from lorabench.updates.transfer import TransferError, TransferPair
from lorabench.updates.trial import CONTENTS, Format


@pytest.fixture(scope="module")
def pair() -> Iterator[TransferPair]:
    with TransferPair(on_wire=False) as made:
        yield made


@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_sent_arrives(pair: TransferPair, content: str) -> None:
    form = Format(content, 16)
    for seed in range(2):
        found = pair.transfer(form, 100_000, seed, 60)
        assert found.size == form.size(form.rows(100_000))
        assert found.transfer_s > 0
        assert (found.encode_s > 0) == (found.decode_s > 0) == (content != "bytes")


def test_loopback_is_never_shaped(pair: TransferPair) -> None:
    with pytest.raises(AssertionError):
        pair.shape(1e6)


def test_an_end_that_is_killed_is_told_by_its_name(pair: TransferPair) -> None:
    """The last: each pair imports torch twice, and this one is spent."""
    os.kill(pair.pids[1], signal.SIGKILL)
    with pytest.raises(TransferError, match="receiver ended by SIGKILL before its time"):
        pair.transfer(Format("bytes", 1), 1_000, 0, 60)
