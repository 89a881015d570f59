"""Streams that somebody put in the place of the interpreter's own are written to as these are."""

import gc
import io
import sys

import pytest

from lorabench.bench import streams


def test_a_stream_that_was_put_in_place_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding="utf-8"))
    streams.prepare()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        stream.write("said ")
        stream.flush()
    assert written.getvalue() == b"said said "
