"""A result of ``freshness --check-link`` as text: what transfers took, and what the model has."""

from rich.console import Console

from lorabench.report.terminal import figure, plain_table, render_claims
from lorabench.results.nested import within
from lorabench.results.schema import Metric, Result

_COLUMNS = ("transfer_s", "transfer_model_s", "transfer_encode_s", "transfer_decode_s")


def is_check(result: Result) -> bool:
    """Whether a result of `freshness` is of ``--check-link``."""
    return within(result.config, "experiment", "check_link") is True


def render_check(result: Result, console: Console) -> None:
    """Print a line a kind of transfer, then the verdict."""
    table = plain_table(
        "transfers between two processes, and the model of the link: medians, ms",
        collapse_padding=True,
    )
    table.add_column("what", no_wrap=True)
    for heading in ("took", "model", "ratio", "encode", "decode"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric in result.select("transfer_s"):
        name = metric.condition
        measured, model, encode, decode = (_ms(result.metric(column, name)) for column in _COLUMNS)
        ratio = _ratio(result.metric("transfer_model_ratio", name))
        table.add_row(name, measured, model, ratio, encode, decode)
    console.print(table)
    for line in within(result.config, "link", "about") or ():
        console.print(f"{line}.", highlight=False)
    render_claims(result, console)


def _ms(metric: Metric | None) -> str:
    return figure(metric, 1e3) if metric else ""


def _ratio(metric: Metric | None) -> str:
    if metric is None or metric.estimate is None:
        return ""
    text = f"{metric.estimate:.3f}"
    return text if metric.ci95 is None else "{} [{:.3f}..{:.3f}]".format(text, *metric.ci95)
