"""Fixtures of the machine's tests."""

import functools
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sysfs_trees import Machine

from lorabench.isolation.topology import Topology, read_topology


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
def topology_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Machine], Topology]:
    """Write a machine and read it back; one that was read before is not written again."""
    known: dict[str, Topology] = {}

    def read(machine: Machine) -> Topology:
        key = f"{machine}"
        if key not in known:
            known[key] = read_topology(machine.write(tmp_path_factory.mktemp("machine")))
        return known[key]

    return read
