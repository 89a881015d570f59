"""Fixtures that every test can ask for, and what keeps one run of the tests from another."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lorabench.workload.criteo import criteo_lines
from lorabench.workload.generator import generate_blocks
from lorabench.workload.spec import load_spec

# No test asserts a time, hypothesis' own deadline included.
settings.register_profile("lorabench", deadline=None)
settings.load_profile("lorabench")

# Small models gain nothing from a second thread, and a busy machine makes it wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A lock and a journal of this process's own, in memory (a run waits for no disk): neither a run
# elsewhere on this machine nor another worker of these tests is in the way.
_memory = Path("/dev/shm")
_runs = tempfile.mkdtemp(prefix="lorabench-tests-", dir=_memory if _memory.is_dir() else None)
atexit.register(shutil.rmtree, _runs, ignore_errors=True)
os.environ["LORABENCH_RUN_DIR"] = _runs

# A background job, as CI may be, is started with SIGINT ignored and hands that down.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_cpus() -> Iterator[None]:
    """Give back the CPUs that a test has pinned its process to: the next one runs in it, too."""
    cpus = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cpus)


@pytest.fixture(scope="session")
def criteo_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1,999 raw rows in the form of Criteo's."""
    path = tmp_path_factory.mktemp("criteo") / "train.tsv"
    with path.open("wb") as file:
        for block in generate_blocks(load_spec("criteo-kaggle"), 0, rows=1999):
            file.write(criteo_lines(block))
    return path


@pytest.fixture
def with_fbgemm() -> None:
    """FBGEMM, which is optional; only tests that ask for it wait for it to load."""
    from lorabench.model import fbgemm

    if (why := fbgemm.unavailable()) is not None:
        pytest.skip(f"fbgemm: {why}")
