"""What `generate` and `ingest` say: what a workload takes, how well it fits, what was written."""

from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal

from lorabench.experiments.workload.options import FolderOutput
from lorabench.report.terminal import plain_table, terminal
from lorabench.results.files import print_json
from lorabench.workload.like import FeatureDistance
from lorabench.workload.manifest import Format, Manifest
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.writing import Room


def say(text: str) -> None:
    """Print a line for the user on stderr: stdout is for documents."""
    terminal(stderr=True).print(text, highlight=False, soft_wrap=True)


def needs(spec: WorkloadSpec, form: Format, room: Room) -> str:
    """Put into words what a workload will take, on disk and in memory."""
    at_most = "up to " if form == "parquet" else ""
    tables = f"tables of {decimal(spec.table_bytes)} in memory"
    memory = room.memory_bytes
    beyond = f", more than the {decimal(memory)} here" if spec.table_bytes > memory else ""
    return (
        f"{spec.name}: {spec.rows:,} rows, {at_most}{decimal(room.needed_bytes)} on disk "
        f"({decimal(room.free_bytes)} free); to serve it: {tables}{beyond}"
    )


def show(manifest: Manifest, rate: float, output: FolderOutput, said: int = 0) -> None:
    """Print what was written; so many of the notes on it were printed before."""
    if output.as_json:
        print_json(manifest.as_text().removesuffix("\n"))
    if output.quiet:
        return
    size = sum(part.size_bytes for part in manifest.parts)
    skipped = f", {manifest.skipped} bad lines left out" if manifest.skipped else ""
    say(
        f"{output.output}: {manifest.rows:,} rows in {len(manifest.parts)} parts, "
        f"{decimal(size)}{skipped}; {rate:,.0f} rows/s"
    )
    for note in manifest.notes[said:]:
        say(note)
    ceiling = manifest.ceiling
    if ceiling is not None and ceiling.auc is not None:
        say(
            f"click rate {ceiling.click_rate:.3f}; the best possible AUC on these rows is "
            f"{ceiling.auc:.4f}"
        )


def render_fit(found: Sequence[FeatureDistance], rows: int, console: Console) -> None:
    """Print one row a feature, and in words what the distances say."""
    table = plain_table(f"the sample's first {rows:,} rows | as many synthetic ones")
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


def _medians(feature: FeatureDistance) -> tuple[float, float] | None:
    if feature.deciles is None or not all(feature.deciles):
        return None
    return feature.deciles[0][4], feature.deciles[1][4]


def _pair(values: tuple[float, float] | None, form: str) -> str:
    return "" if values is None else " | ".join(form.format(value) for value in values)
