"""Whether documents can be compared: what was run, and on what, where it differs.

A change is put down to a version only where nothing else changed with it. What was asked for
(configuration), the machine, its kernel, the pages that tables lay on and the instruction set of
the hot path have to be the same on both sides. What documents themselves cannot tell, such as a
neighbour on a shared host, they cannot tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorabench.results.nested import flat, within
from lorabench.results.schema import Result

# What is another draw or another place and not another run.
_NOT_THE_RUN = {"experiment.seed", "seed", "model.origin", "result.id", "result.raw_sha256"}

# Rates that servers are offered are calibrated: they differ a little whenever they are.
_SAME_LOAD = 0.1
NOTED_LOAD = 0.02


@dataclass(frozen=True)
class Difference:
    """Something that is not the same on both sides.

    Parameters
    ----------
    of : str
        What kind of thing: "configuration", "machine", "kernel", "pages", "instruction set" or
        "load".
    what : str
        Which.
    base, head : str
        What each side has.
    """

    of: str
    what: str
    base: str
    head: str

    def __str__(self) -> str:
        return f"{self.of}: {self.what}: {self.base} and {self.head}"


def differences(base: Sequence[Result], head: Sequence[Result]) -> list[Difference]:
    """Return in what runs differ that should be alike, each difference once.

    Parameters
    ----------
    base, head : sequence of Result
        Repeated runs of each side; those of a side are held against each other too.
    """
    first, *others = (*base, *head)
    found = (one for other in others for one in _between(first, other))
    return list({(one.of, one.what): one for one in found}.values())


def _between(base: Result, head: Result) -> Iterator[Difference]:
    if base.command != head.command:
        yield Difference("configuration", "command", base.command, head.command)
        return
    yield from _configuration(base, head)
    for of, read in _MACHINE.items():
        yield from _unlike(of, read(base.environment), read(head.environment))
    yield from _load(base, head)


def _configuration(base: Result, head: Result) -> Iterator[Difference]:
    if base.config_hash == head.config_hash:
        return
    sides = [flat(one.config) for one in (base, head)]
    other_version = base.lorabench != head.lorabench
    for what in dict.fromkeys((*sides[0], *sides[1])):
        if what in _NOT_THE_RUN or (other_version and not all(what in side for side in sides)):
            # An option that the older version did not have is what the newer one does by default.
            continue
        yield from _unlike("configuration", *({what: side.get(what, "nothing")} for side in sides))


def only_in_one(base: Result, head: Result) -> list[str]:
    """Return what one side's configuration has and the other's has not, as two versions may."""
    before, after = flat(base.config), flat(head.config)
    return [
        f"{what} = {_short(value)} only in {name}"
        for name, side, other in (("base", before, after), ("head", after, before))
        for what, value in side.items()
        if what not in other and what not in _NOT_THE_RUN
    ]


def _unlike(of: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[Difference]:
    for what in dict.fromkeys((*base, *head)):
        values = base.get(what), head.get(what)
        if values[0] != values[1]:
            yield Difference(of, what, *map(_short, values))


def _load(base: Result, head: Result) -> Iterator[Difference]:
    rates = offered_qps(base), offered_qps(head)
    if None not in rates and apart(*rates) > _SAME_LOAD:  # type: ignore[arg-type]
        told = (f"{rate:,.5g} queries/s" for rate in rates)
        yield Difference("load", "offered", *told)


def offered_qps(result: Result) -> float | None:
    """Return the rate that servers were offered; None where none were."""
    metric = next(result.select("offered_qps"), None)
    return None if metric is None else metric.estimate


def apart(one: float, other: float) -> float:
    """Return by what share of the larger two rates differ."""
    return abs(one - other) / max(abs(one), abs(other), 1e-300)


def machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a machine from others, as far as documents tell of it."""
    nodes = within(environment, "topology", "nodes")
    cores = within(environment, "topology", "cores")
    return {
        "processor": within(environment, "cpu", "brand_raw"),
        # Of virtual machines the brand says little and the flags much.
        "processor flags": within(environment, "cpu", "flags"),
        "cores": cores,
        "NUMA nodes": len(nodes) if isinstance(nodes, list) else None,
    }


def _pages(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return how huge the pages of each table memory were, in tenths of it."""
    pages: Any = within(environment, "pages")
    if not isinstance(pages, Mapping):
        return {}
    memories: dict[str, Any] = {"tables": pages} if "workers" in pages else {**pages}
    return {f"{name} on huge pages": _huge(memory) for name, memory in memories.items()}


def _huge(memory: Any) -> str | None:
    workers = within(memory, "workers") if isinstance(memory, Mapping) else None
    shares = [
        share
        for worker in (workers if isinstance(workers, list) else [])
        if isinstance(worker, Mapping)
        and isinstance(share := worker.get("huge_fraction"), (int, float))
    ]
    return f"{round(min(shares), 1):.0%}" if shares else None


_MACHINE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "machine": machine,
    "kernel": lambda environment: {"release": within(environment, "kernel")},
    "pages": _pages,
    "instruction set": lambda environment: {
        "of the hot path": within(environment, "instruction_set")
    },
}


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values ({', '.join(map(str, value[:3]))}, ...)"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
