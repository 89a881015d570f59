"""Fixtures that every test can ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No test asserts a time, hypothesis' own deadline included.
settings.register_profile("lorabench", deadline=None)
settings.load_profile("lorabench")

# Small models gain nothing from a second thread, and a busy machine makes it wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of recorded data: Criteo rows, topologies, resctrl trees."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("LORABENCH_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no recorded data: {folder} does not exist (set LORABENCH_DATA)")
    return folder
