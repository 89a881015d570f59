"""The installed command, as a user would run it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest
from command import COMMAND, Run, forked


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """Let SIGHUP end what a test starts, though tests themselves may run under nohup(1)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose model cache is this session's own, shared by its workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "100"}


@pytest.fixture(scope="session")
def lorabench(environment: dict[str, str]) -> Run:
    """Run the command to its end and give what it printed."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env=environment,
            **options,
        )

    return run


@pytest.fixture
def refuse(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command in a fork of this process: for the many that end before they measure."""
    import torch  # noqa: F401 - once, for all that is forked

    import lorabench.experiments.colocate.run  # noqa: F401

    return partial(forked, folder=tmp_path_factory.mktemp("said"), environment=environment)
