"""The installed command, as a user would run it."""

import os
import subprocess

import pytest
from command import COMMAND, Run


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose model cache is this session's own."""
    return os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "COLUMNS": "100"}


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
