"""Write down what doctor says of the odd machines, and the plan for each.

For the command line, after a change that means to: ``python tests/support/odd_snapshots.py``, and
then read what git shows.
"""

import json
import tempfile
from pathlib import Path

import odd_machines

from lorabench.bench.progress import ProgressObserver
from lorabench.experiments.colocate.plan import plan_lines
from lorabench.experiments.doctor.options import DoctorOptions
from lorabench.experiments.doctor.run import Doctor
from lorabench.isolation.machine import inspect_machine
from lorabench.isolation.plan import Request

SNAPSHOTS = Path(__file__).parents[1] / "unit/experiments/doctor/snapshots"
# What these machines are about.
_ROWS = (
    *("topology", "cores", "l3 domains", "numa", "resctrl", "cat l3", "mba", "cache monitor"),
    *("mbm", "cgroup cpuset", "cgroup weight"),
)


def snapshot(name: str, folder: Path) -> str:
    """Return it as JSON: the rows in question, the conditions, what was dropped, and the plan."""
    root = odd_machines.MACHINES[name]().write(folder)
    doctor = Doctor(DoctorOptions(sysroot=root))
    doctor.measure(ProgressObserver(None, None))
    found = doctor.findings()
    assert found is not None
    assert found.machine is not None

    def told(key: str) -> dict[str, str]:
        rows = {row["name"]: row for row in found.environment[key]}
        names = _ROWS if key == "capabilities" else rows
        return {n: f"{rows[n]['state']}: {rows[n]['detail']}" for n in names}

    plan = list(plan_lines(inspect_machine(Request(), sysroot=root).plan))
    document = {
        "dropped": found.machine["topology"]["dropped"],
        "capabilities": told("capabilities"),
        "conditions": told("conditions"),
        "plan": plan,
    }
    return json.dumps(document, indent=1).replace(str(root), "") + "\n"


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for name in odd_machines.MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            (SNAPSHOTS / f"{name}.json").write_text(snapshot(name, Path(folder)))
