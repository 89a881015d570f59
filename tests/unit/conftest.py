"""Fixtures of the unit tests: machines as trees that are written, and a double of resctrl."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import resctrl_double as double
from sysfs_trees import Machine

from lorabench.host.topology import Topology, read_topology


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


@pytest.fixture
def mount_resctrl(tmp_path: Path) -> Iterator[Callable[[double.Machine], Path]]:
    """Mount a double of resctrl for a test; it is gone with the test, however that ends."""
    lacks = double.missing()
    if lacks is not None:
        pytest.skip(f"resctrl's double cannot be mounted: {lacks}")
    with contextlib.ExitStack() as mounts:

        def mount(machine: double.Machine, folder: Path = tmp_path / "sys/fs/resctrl") -> Path:
            try:
                return mounts.enter_context(double.mounted(machine, folder))
            except RuntimeError as error:
                # A container may have /dev/fuse and still not be let mount.
                refusal = "mount failed: Operation not permitted"
                if refusal not in str(error):
                    raise
                pytest.skip(
                    f"resctrl's double cannot be mounted: {refusal}: outside a container, make unit"
                )

        yield mount


@pytest.fixture
def resctrl(mount_resctrl: Callable[[double.Machine], Path]) -> Path:
    """An ordinary machine's: L3 of 12 ways and MB, in two domains, and monitoring."""
    return mount_resctrl(double.Machine())
