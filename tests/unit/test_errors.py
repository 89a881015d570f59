"""What is the user's to act on, and what is a bug."""

import errno
import os
from pathlib import Path

import psutil
import pytest
import torch

from lorabench.errors import InputError, LorabenchError, MachineError, StreamError, told


def raised(act) -> BaseException:
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - as the command line does
        return error
    raise AssertionError("it did not fail")


def test_our_own_errors_are_as_they_are() -> None:
    error = InputError("x: found y, expected z")
    assert told(error) is error


def test_a_file_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    known = told(raised((tmp_path / "none").read_bytes))
    assert str(known) == f"{tmp_path / 'none'}: No such file or directory"
    assert known is not None
    assert known.exit_code == 2
    full = told(raised(lambda: Path("/dev/full").write_bytes(b"x" * 100_000)))
    assert isinstance(full, MachineError)
    assert "No space left on device; make room" in str(full)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.EIO, errno.EROFS])
def test_what_the_machine_lacks_is_said_with_a_way_out(code: int) -> None:
    known = told(OSError(code, os.strerror(code)))
    assert isinstance(known, MachineError)
    assert os.strerror(code) in str(known)
    assert "; " in str(known)


def test_a_wrong_call_is_a_bug() -> None:
    assert told(raised(lambda: os.write(10_000, b"x"))) is None
    assert told(OSError(errno.EINVAL, "Invalid argument")) is None
    assert told(BrokenPipeError(errno.EPIPE, "Broken pipe")) is None
    for bug in (ValueError("x"), RuntimeError("it broke"), KeyError("x"), AssertionError()):
        assert told(bug) is None


def test_memory_that_ran_out_is_no_bug_whoever_asked_for_it() -> None:
    size = 1 << 60
    for act in (lambda: bytearray(size), lambda: torch.empty(size, dtype=torch.int8)):
        known = told(raised(act))
        assert isinstance(known, MachineError)
        assert str(known).startswith("out of memory (")
        assert "\n" not in str(known)
        assert "\x1b" not in str(known)


def test_a_file_that_torch_cannot_write_is_no_bug(tmp_path: Path) -> None:
    known = told(raised(lambda: torch.save(torch.zeros(1 << 16), "/dev/full")))
    assert isinstance(known, LorabenchError), known
    assert "\n" not in str(known)


def test_a_process_that_has_ended_is_no_bug() -> None:
    known = told(raised(lambda: psutil.Process(2**22 + 1)))
    assert isinstance(known, MachineError)
    assert "expected a process that runs" in str(known)


def test_a_reader_that_has_gone_is_told_from_a_full_disk() -> None:
    assert StreamError(BrokenPipeError(errno.EPIPE, "Broken pipe")).unread
    full = StreamError(OSError(errno.ENOSPC, "No space left on device"))
    assert not full.unread
    assert "stdout: cannot be written (No space left on device)" in str(full)


def test_a_name_that_a_library_cannot_take_is_no_bug() -> None:
    name = os.fsdecode(b"f\xfcr.arrow")
    known = told(raised(name.encode))
    assert isinstance(known, InputError)
    assert "expected one that is (rename it, or set LC_ALL=C.UTF-8)" in str(known)
    assert told(raised(lambda: "für".encode("ascii"))) is None
    assert told(raised((name * 10_000).encode)) is None
