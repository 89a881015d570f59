"""A plan in words."""

from lorabench.experiments.colocate.plan import plan_lines
from lorabench.host.resctrl import Schemata
from lorabench.isolation.plan import MemoryPlan, Plan, RdtPlan
from lorabench.memory import MemoryPolicy

PLAN = Plan(
    (0, 1, 4),
    (8, 9),
    ("because it is so",),
    MemoryPlan(
        MemoryPolicy("interleave", (0, 1)),
        MemoryPolicy("bind", (0,)),
        (MemoryPolicy("bind", (0,)), MemoryPolicy("bind", (0,)), MemoryPolicy("bind", (1,))),
    ),
    RdtPlan(Schemata(), Schemata.of({"L3": {0: 0xF}, "MB": {0: 50}})),
)


def test_a_plan_is_told_with_all_its_parts() -> None:
    assert list(plan_lines(PLAN)) == [
        "servers on CPUs 0-1,4 (3)",
        "trainer on CPUs 8-9 (2)",
        "tables: interleave over nodes 0, 1",
        "adapter: bind to node 0",
        "replay rings of servers 0-1: bind to node 0",
        "replay ring of server 2: bind to node 1",
        "resctrl group of the servers: none is needed",
        "resctrl group of the trainer: L3:0=f  MB:0=50",
        "because",
        "  because it is so",
    ]
