"""A result of ``freshness --protocol`` as text: averages over shards, and what was printed of them.

Printed figures stand beside ours only where the document has them: of the same rows, cut alike.
"""

from collections.abc import Iterator

from rich.console import Console

from lorabench.experiments.freshness.study_options import MONOLITH
from lorabench.report.terminal import ROUNDS_FOR_INTERVAL, plain_table, render_claims
from lorabench.results.nested import within
from lorabench.results.schema import Metric, Result

_PER_CENT = 100.0
_TITLES = {
    "monolith": "Monolith's Algorithm 1 (Liu et al. 2022): synchronise, evaluate, train",
    "next-window": "trained on windows up to T, evaluated on window T + 1",
}
_TRAINED = {
    "none": "none is trained once, before the first (batch training)",
    "delta": "delta is trained after each, too, and synchronised (online training)",
}


def is_protocol(result: Result) -> bool:
    """Whether a result of `freshness` is of ``--protocol``."""
    return within(result.config, "protocol", "name") in _TITLES


def render_protocol(result: Result, console: Console) -> None:
    """Print the average AUC of each strategy, and by how much it differs from that of batch."""
    told = result.config["protocol"]
    published = told.get("published", {})
    part = "shards" if told["name"] == MONOLITH else "windows"
    table = plain_table(f"{_TITLES[told['name']]}; averages over {told['windows']} {part}")
    headings = ("strategy", "AUC, %", *(("printed",) if published else ()), "NE", "- none, points")
    for heading in headings:
        table.add_column(
            heading, justify="left" if heading == "strategy" else "right", no_wrap=True
        )
    for area in result.select("auc"):
        name = area.condition
        cells = [_with_interval(area, ".2f")]
        if published:
            cells.append(_printed(published.get(name)))
        entropy = result.metric("normalized_entropy", name)
        cells.append(
            "-" if entropy is None or entropy.estimate is None else f"{entropy.estimate:.4f}"
        )
        difference = result.metric("auc_difference", strategy=name, against="none")
        cells.append("" if difference is None else _with_interval(difference, "+.2f"))
        table.add_row(name, *cells)
    console.print(table)
    for line in _about(result):
        console.print(line, highlight=False, markup=False)
    render_claims(result, console)


def _about(result: Result) -> Iterator[str]:
    """Say how much came before, what replicates there are, and what is otherwise than printed."""
    told, config = result.config["protocol"], result.config
    yield "; ".join(_TRAINED[name] for name in _TRAINED if result.metric("auc", name))
    if "published" in told:
        yield (
            "printed: table 2 of the paper, of a DeepFM whose dense part is trained online, too; "
            "what stands behind ± is printed so"
        )
    before = within(config, "model", "pretrain_rows") or 0
    share = told["pretrain"] * _PER_CENT
    yield f"{before:,} rows, {share:.1f} % of the stream, are trained on before the first"
    replicates = config.get("replicates", {})
    seeds, blocks = replicates.get("seeds", []), replicates.get("windows", [])
    if len(seeds) > 1:
        yield f"{len(seeds)} replicates, seeds {seeds[0]} to {seeds[-1]}"
    elif len(blocks) > 1:
        yield f"{len(blocks)} replicates: blocks of time of one stream"
    kind = within(config, "workload", "kind")
    if kind == "criteo-tsv":
        rate = within(config, "workload", "spec", "rows_per_s")
        yield f"the rows have no times of their own: they come in their order, {rate:g} a second"
    yield (
        "labels are there at once and parameters synchronised at no cost; only embeddings are "
        "trained online, the dense net stays as it was pre-trained"
    )


def _with_interval(metric: Metric, form: str) -> str:
    if metric.estimate is None:
        return "-"
    text = format(metric.estimate * _PER_CENT, form)
    known = sum(value is not None for value in metric.values)
    if metric.ci95 is None or known < ROUNDS_FOR_INTERVAL:
        return text
    low, high = (format(bound * _PER_CENT, form) for bound in metric.ci95)
    return f"{text} [{low}..{high}]"


def _printed(figures: list[float] | None) -> str:
    if figures is None:
        return ""
    return f"{figures[0] * _PER_CENT:.2f} ± {figures[1] * _PER_CENT:.3f}"
