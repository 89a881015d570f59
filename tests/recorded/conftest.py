"""Fixtures of the tests on recorded data, which skip without; all else is tested on written."""

import functools
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import recorded


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of recorded data: Criteo rows, topologies, resctrl trees."""
    return recorded.FOLDER


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


@pytest.fixture(scope="session")
def recorded_resctrl(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Unpack a resctrl tree that was recorded on a real machine, by its name."""

    def unpack(name: str) -> Path:
        folder = tmp_path_factory.mktemp("resctrl")
        with tarfile.open(data_dir / "resctrl" / f"{name}.tar.bz2") as archive:
            archive.extractall(folder)
        return folder / f"resctrl.{name}"

    return unpack
