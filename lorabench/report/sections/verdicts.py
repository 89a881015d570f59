"""The first two sections: what became of the claims, and what was asked on which machine."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lorabench.report.content import Section, Table, Verdict
from lorabench.report.numbers import Scale, interval, scale_of
from lorabench.report.sections.machine import neighbours
from lorabench.report.sections.reader import Reader
from lorabench.results.claims import ROWS
from lorabench.results.nested import flat
from lorabench.results.schema import Claim, Result
from lorabench.results.units import number

_PER_CENT = Scale(0.01, "%")
# What claims are about, where that is neither a ratio nor a count.
_SCALES = {
    "memory.budget": _PER_CENT,
    "headroom.idle": _PER_CENT,
    "bench.false_verdicts": _PER_CENT,
    "bench.gate_false_alarms": _PER_CENT,
    "bench.gate_sight": _PER_CENT,
    "latency.impact": Scale(1e-3, "ms"),
    "freshness.quality": Scale(0.01, "points of AUC"),
    "sync.delta10": Scale(60.0, "min"),
    "zipf.sample": Scale(1e-9, "ns"),
}
_PLAIN = Scale(1.0, "")
_PAGES = {
    "hugetlb": "hugetlb: huge pages that the system had set aside",
    "thp": "thp: huge pages that the kernel gives by itself",
    "collapse": "collapse: pages of 4 kB made into huge ones at the start (MADV_COLLAPSE)",
    "4k": "4k: no huge pages",
}
_MOST_FACTS = 60
_CLOSE = 0.001
_LONGEST = 200


def verdict_of(claim: Claim) -> Verdict:
    """Return a claim as it is shown."""
    scale = _SCALES.get(claim.id, _PLAIN)
    figure, limit = scale.write(claim.measured), scale.write(claim.target)
    if claim.measured is not None and 0 < abs(claim.measured - claim.target) < _CLOSE * abs(
        claim.target
    ):
        # A budget that is all but used up: three digits would not tell, nine nobody reads.
        figure = f"just {'under' if claim.measured < claim.target else 'over'} {limit}"
    figure = f"{figure} {scale.unit}".strip()
    if claim.ci95 is not None:
        figure = f"{figure} {interval(claim.ci95, scale)}"
    return Verdict(
        claim=claim.id,
        verdict=claim.verdict,
        statement=claim.statement,
        figure="not measured" if claim.measured is None else figure,
        limit=f"{limit} {scale.unit}".strip(),
        basis=_basis(claim),
        reasons=tuple(f"{text[:1].upper()}{text[1:]}." for text in (claim.reason, *claim.why)),
    )


def _basis(claim: Claim) -> str:
    """Say what a claim was measured on."""
    if claim.id == "headroom.idle":  # of a host, which serves no rows of ours
        return "an observed host"
    return ROWS.get(claim.basis, claim.basis)


def verdicts(result: Result) -> Iterator[Section]:
    """Return what became of the claims."""
    words = []
    if result.partial:
        words.append("The run was interrupted: this is what was finished.")
    looks = result.sequential.looks if result.sequential else []
    if len(looks) > 1:
        words.append(
            f"Verdicts rest on intervals that hold for all {len(looks)} looks at the run together; "
            "they are wider than the 95 % that are shown."
        )
    shown = tuple(map(verdict_of, result.claims[:_MOST_FACTS]))
    if len(result.claims) > len(shown):
        words.append(f"The first {len(shown)} of {len(result.claims):,} claims are shown.")
    if shown or words:
        yield Section("Claims", words=tuple(words), verdicts=shown)


def met(result: Result) -> str:
    """Return what became of the claims in a few words; none where there are none."""
    claims = result.claims
    if not claims:
        return ""
    count = sum(claim.verdict == "met" for claim in claims)
    missed = sum(claim.verdict == "missed" for claim in claims)
    told = f"{count} of {len(claims)} claim{'s' if len(claims) != 1 else ''} met"
    return f"{told}, {missed} missed" if missed else told


def where(reader: Reader) -> Iterator[str]:
    """Return what was measured, and of which machine, as far as is known."""
    rows = reader.config("workload", "spec", "name")
    if isinstance(rows, str) and rows:
        yield f"{_text(rows)} rows"
    brand, cores = reader.environment("cpu", "brand_raw"), reader.environment("topology", "cores")
    if brand:
        yield f"{_text(brand)}{f', {len(cores)} cores' if isinstance(cores, list) else ''}"


def asked(reader: Reader) -> Iterator[Section]:
    """Return what was asked, on which machine, and what that could not give."""
    result = reader.result
    facts = [*_run(reader), *_machine(reader)]
    notes = dict.fromkeys(
        [*result.notes, *(note for block in result.rounds for note in block.notes)]
    )
    wraps = max((block.wraps for block in result.rounds), default=0)
    words = [f"{note[:1].upper()}{note[1:]}." for note in list(notes)[:20]]
    if wraps:
        words.append(
            "The rows ended and began anew: the trainer met rows that it had learned before, which "
            "flatters the AUC of its conditions."
        )
    missing = [(one.what, one.why, one.enable) for one in result.unavailable]
    tables = []
    if missing:
        head = ("what", "why", "to have it")
        tables.append(Table.of("Not available", head, missing, words=3))
    beside = neighbours(reader)
    yield Section(
        "What was asked, and of which machine",
        words=tuple(words),
        facts=tuple(facts),
        figures=(beside,) if beside else (),
        tables=tuple(tables),
        folded=(_configuration(result.config),),
    )


def _run(reader: Reader) -> Iterator[tuple[str, str]]:
    result = reader.result
    yield "Result", f"{result.id}, {result.created:%Y-%m-%d %H:%M} UTC"
    commit = f", commit {result.lorabench.git}" if result.lorabench.git else ""
    yield "Measured by", f"lorabench {result.lorabench.version}{commit}"
    workload = reader.config("workload", "spec")
    if isinstance(workload, dict) and workload.get("name"):
        kind = _text(reader.config("workload", "kind") or "")
        described = _text(workload.get("description") or "")
        yield "Rows", f"{_text(workload['name'])} ({kind}): {described}"
    blocks = sum("solo" in block.order for block in result.rounds)
    if blocks:
        sets = len({block.processes for block in result.rounds if "solo" in block.order})
        yield (
            "Blocks",
            (
                f"{blocks}, on {sets} set{'s' if sets != 1 else ''} of fresh processes; in a block "
                "conditions are measured in turn, and compared with one another"
            ),
        )
    if result.sequential:
        ended = {
            "known": "the verdicts were known",
            "blocks": "all blocks were measured",
            "time": "the time was up",
            "interrupted": "it was interrupted",
        }
        yield "Ended when", ended[result.sequential.ended]
    for name, words, unit in (
        ("capacity_qps", "Capacity", "queries/s"),
        ("offered_qps", "Offered load", "queries/s"),
    ):
        found = reader.metrics(name)
        if found and found[0].estimate is not None:
            yield words, f"{number(found[0].estimate)} {unit}"
    yield "Configuration", result.config_hash[:16]


def _machine(reader: Reader) -> Iterator[tuple[str, str]]:
    brand = reader.environment("cpu", "brand_raw")
    cores = reader.environment("topology", "cores")
    if brand:
        count = f", {len(cores)} cores" if isinstance(cores, list) else ""
        yield "Processor", f"{_text(brand)}{count}"
    nodes = reader.environment("topology", "nodes")
    if isinstance(nodes, list) and nodes:
        sizes = [one.get("memory_bytes") for one in nodes if isinstance(one, dict)]
        known = [float(size) for size in sizes if isinstance(size, (int, float))]
        scale = scale_of("B", known)
        memory = f"{scale.write(math.fsum(known))} {scale.unit}" if known else "unknown memory"
        yield "Memory", f"{memory} on {len(nodes)} NUMA node{'s' if len(nodes) != 1 else ''}"
    for name, path in (
        ("Kernel", ("kernel",)),
        ("Hypervisor", ("noise", "hypervisor")),
        ("Frequency governor", ("noise", "governor")),
        ("Table pages", ("pages", "method")),
        ("Python", ("pyperf", "python_version")),
    ):
        value = reader.environment(*path)
        if value is not None:
            shown = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else None
            told = _PAGES.get(value) if name == "Table pages" and isinstance(value, str) else None
            yield name, shown or told or _text(value)


def _configuration(config: dict[str, Any]) -> Table:
    """Lay out the whole configuration, a row a value."""
    rows = [(_text(name), _text(value)) for name, value in flat(config).items()]
    return Table.of("The whole configuration", ("name", "value"), rows, words=2)


def _text(value: Any) -> str:
    """Write any value of a free-form part, of bounded length."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple)):
        listed: Sequence[Any] = value[:_MOST_FACTS]
        plain = all(not isinstance(one, (list, dict)) for one in listed)
        text = ", ".join(map(_text, listed)) if plain else f"{len(value)} lists or objects"
    elif isinstance(value, dict):
        text = f"{len(value)} values"
    elif isinstance(value, bool) or value is None:
        text = {True: "yes", False: "no", None: "-"}[value]
    elif isinstance(value, float):
        text = number(value) if math.isfinite(value) else "-"
    else:
        text = f"{value}" if abs(value) < 10**18 else "a number of more than 18 digits"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
