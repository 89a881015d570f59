"""Fixtures of the machine's tests."""

import functools
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded_tree(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Unpack a machine that was recorded by hwloc's authors, by the name of its archive."""

    @functools.cache
    def unpack(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        with tarfile.open(data_dir / "topologies" / f"{name}.tar.bz2") as archive:
            # Most of a recording is about devices and memory blocks.
            archive.extractall(
                folder, [m for m in archive if "/memory" not in m.name and "/class" not in m.name]
            )
        (root,) = folder.iterdir()
        return root

    return unpack
