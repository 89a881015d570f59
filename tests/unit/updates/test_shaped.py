"""The wire between two namespaces: what of its rate payload gets, and that nothing outlives it."""

import os
import socket
from pathlib import Path

import pytest

from lorabench.errors import MachineError
from lorabench.updates import shaped
from lorabench.updates.transfer import TransferPair
from lorabench.updates.trial import Format


def test_payload_gets_what_headers_leave() -> None:
    assert shaped.payload_efficiency(1500) == 1448 / 1514
    assert shaped.payload_efficiency(9000) == 8948 / 9014


def test_the_bucket_holds_the_largest_packet_with_the_headers_of_its_segments() -> None:
    largest = 65_536
    segments = -(-largest // 1448)
    assert largest + segments * (1514 - 1448) < shaped.BURST_BYTES


def namespace(pid: int | str) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def namespaces() -> set[int]:
    """Return those that any process of this machine is in."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.add(namespace(entry.name))
            except OSError:  # it has ended
                continue
    return found


def test_a_wire_shows_nowhere_else_and_goes_with_its_ends() -> None:
    before = socket.if_nameindex()
    try:
        pair = TransferPair(on_wire=True)
    except MachineError as error:
        pytest.skip(f"{error}; be root, with pyroute2")
    with pair:
        pair.shape(1e9)
        assert pair.transfer(Format("bytes", 1), 100_000, 0, 60).size == 100_000
        inside = {namespace(pid) for pid in pair.pids}
        assert len(inside | {namespace(os.getpid())}) == 3
        assert socket.if_nameindex() == before
    assert not inside & namespaces()
    assert socket.if_nameindex() == before
