"""A plan in words: where everything would run, with what, and why."""

from collections.abc import Iterator

from lorabench.host.topology import format_cpu_list
from lorabench.isolation.plan import Plan


def plan_lines(plan: Plan) -> Iterator[str]:
    """Return a plan in words: cores, memory, caches and bandwidth, reasons."""
    yield f"servers on CPUs {format_cpu_list(plan.serving_cpus)} ({len(plan.serving_cpus)})"
    yield f"trainer on CPUs {format_cpu_list(plan.trainer_cpus)} ({len(plan.trainer_cpus)})"
    if plan.memory is not None:
        yield f"tables: {plan.memory.tables}"
        yield f"adapter: {plan.memory.adapter}"
        servers_of: dict[str, list[int]] = {}
        for server, policy in enumerate(plan.memory.replay):
            servers_of.setdefault(str(policy), []).append(server)
        for ring, servers in servers_of.items():
            rings = "replay ring of server" if len(servers) == 1 else "replay rings of servers"
            yield f"{rings} {format_cpu_list(servers)}: {ring}"
    if plan.rdt is not None:
        for who, schemata in (("servers", plan.rdt.serving), ("trainer", plan.rdt.trainer)):
            lines = "  ".join(line.strip() for line in str(schemata).splitlines())
            yield f"resctrl group of the {who}: {lines or 'none is needed'}"
    yield "because"
    yield from (f"  {reason}" for reason in plan.reasons)
