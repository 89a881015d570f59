"""How a fit's rows compare with the sample that they were fitted to, as text for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from lorabench.workload.like import FeatureDistance


def render(found: "Sequence[FeatureDistance]", rows: int, console: Console) -> None:
    """Print one row a feature, and in words what the distances say."""
    table = Table(
        title=f"the sample's first {rows:,} rows | as many synthetic ones",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("feature")
    for heading in ("missing", "distinct ids", "top-10 mass", "median", "D", "noise"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for feature in found:
        table.add_row(
            feature.name,
            _pair(feature.missing, "{:.1%}"),
            _pair(feature.distinct, "{:,}"),
            _pair(feature.top_mass, "{:.1%}"),
            _pair(_medians(feature), "{:g}"),
            f"{feature.distance:.3f}",
            f"{feature.noise:.3f}",
            "" if feature.distance <= feature.noise else "*",
        )
    console.print(table)
    beyond = sum(feature.distance > feature.noise for feature in found)
    console.print(
        "Pairs are sample | synthetic. D: the largest difference between the two cumulative "
        "distributions,\nfor ids over their popularity ranks; noise: what 95 % of pairs of samples "
        f"of the fitted law stay\nbelow. *: beyond it, {beyond} of {len(found)} features; one in "
        "twenty would be by chance.",
        highlight=False,
    )


def _medians(feature: "FeatureDistance") -> tuple[float, float] | None:
    if feature.deciles is None or not all(feature.deciles):
        return None
    return feature.deciles[0][4], feature.deciles[1][4]


def _pair(values: tuple[float, float] | None, form: str) -> str:
    return "" if values is None else " | ".join(form.format(value) for value in values)
