"""Try CPU quotas of cgroup v2 for real: a program for a machine that has these (the guest).

As root it bounds a group, lets something in a group below it spin, and asks who was stopped how
often, from outside and from within a namespace that hides the groups' names. It ends with 0 if all
was as it should be, else with a traceback.
"""

import subprocess
import sys
import time
from pathlib import Path

from lorabench.bench.progress import ProgressObserver
from lorabench.experiments.headroom.observe import Observation
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.host.cgroups import locate
from lorabench.host.files import Files
from lorabench.host.quota import ThrottleWatch, cpu_limits
from lorabench.isolation.machine import inspect_machine
from lorabench.isolation.plan import Request

ROOT = Path("/sys/fs/cgroup")
POD, BOX = ROOT / "pod", ROOT / "pod/box"
_JOIN = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'

_NAMED = """
from lorabench.host.files import Files
from lorabench.host.quota import cpu_limits, hides_groups
assert hides_groups(Files())
assert [limit.cpus for limit in cpu_limits(Files())] == [0.5], cpu_limits(Files())
"""


def joined(*command: str) -> list[str]:
    return ["sh", "-c", _JOIN, "join", str(BOX), *command]


def stopped(pid: int) -> None:
    """The group above, which has the quota, tells of it; the plan and the observation follow."""
    (limit,) = cpu_limits(Files(), str(pid))
    assert (limit.cpus, limit.path) == (0.5, f"{POD}/cpu.max"), limit
    watch = ThrottleWatch(Files(), [str(pid)])
    observation = Observation(HeadroomOptions(cgroup="pod/box", duration_s=3.0), interval_s=0.5)
    observation.measure(ProgressObserver(None, None))
    spent = watch.found
    assert 0 < spent.stopped <= spent.periods, spent
    assert spent.stopped_s > 0, spent
    found = observation.findings()
    assert found is not None
    values = {name: column[0] for (name, _), column in found.table.rows.items()}
    assert values["throttled_periods"] > 0, values
    assert values["cpu_quota"] == 0.5, values
    # Of the node's four CPUs it is an eighth.
    assert values["cpu_busy"] > 0.5, values
    assert values["cpu_cores"] < 1.0, values


def main() -> None:
    for folder in (POD, BOX):
        folder.mkdir()
    (POD / "cpu.max").write_text("50000 100000")
    busy = subprocess.Popen(joined(sys.executable, "-c", "while True: pass"))
    try:
        while str(busy.pid) not in (BOX / "cgroup.procs").read_text().split():
            time.sleep(0.01)
        stopped(busy.pid)
    finally:
        busy.kill()
        busy.wait()
    subprocess.run(joined("unshare", "-C", sys.executable, "-c", _NAMED), check=True)
    subprocess.run(joined(sys.executable, __file__, "planned"), check=True)
    for folder in (BOX, POD):
        folder.rmdir()


def planned() -> None:
    """Of the guest's four cores a quota of half of one leaves a trainer nothing."""
    machine = inspect_machine(Request())
    assert machine.limit is not None
    assert (len(machine.plan.serving_cpus), len(machine.plan.trainer_cpus)) == (1, 1), machine.plan
    assert machine.plan.trainer_share == 0.05, machine.plan


if __name__ == "__main__" and sys.argv[1:] == ["planned"]:
    planned()
elif __name__ == "__main__":
    if not any(at.version == 2 for at in locate(Files())):
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", ROOT], check=True)
    (ROOT / "cgroup.subtree_control").write_text("+cpu")
    main()
    (ROOT / "cgroup.subtree_control").write_text("-cpu")
    print("all as it should be")  # noqa: T201
