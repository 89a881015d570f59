"""How long it takes to read and plan a machine of 1,024 CPUs.

For the command line, since no test asserts a time: ``.venv/bin/python tests/stress/large_plan.py``

Writes the tree of eight sockets of 64 cores with SMT into a temporary folder, then reads it and
plans for it again and again, resctrl included, and prints wall and CPU time. The target is 0.1 s.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import resctrl_offers
import sysfs_trees

from lorabench.host.topology import read_topology
from lorabench.isolation.plan import plan

REPEATS = 20
T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> T:
    wall, cpu = [], []
    for _ in range(REPEATS):
        start, used = time.perf_counter(), time.process_time()
        found = work()
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - used))
    sys.stdout.write(
        f"{name}: median {statistics.median(wall):.1f} ms (CPU {statistics.median(cpu):.1f} ms), "
        f"worst of {REPEATS} {max(wall):.1f} ms\n"
    )
    return found


def main() -> None:
    rdt = resctrl_offers.epyc(ccds=64)
    with tempfile.TemporaryDirectory() as folder:
        root = sysfs_trees.large().write(Path(folder))
        topology = timed("read", lambda: read_topology(root))
        timed("plan", lambda: plan(topology, rdt=rdt))
        made = timed("both", lambda: plan(read_topology(root), rdt=rdt))
    sys.stdout.write(
        f"{len(topology.online)} CPUs: {len(made.serving_cpus)} servers, {len(made.trainer_cpus)} "
        "cores to train; the target for both is 100 ms\n"
    )


if __name__ == "__main__":
    main()
