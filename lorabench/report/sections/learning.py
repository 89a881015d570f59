"""Sections on what is learned: spectra and rank of updates, freshness, and what that takes."""

from collections.abc import Iterator

from lorabench.report.content import Figure, Section, Table
from lorabench.report.numbers import scale_of, with_bounds
from lorabench.report.plots.common import Rule
from lorabench.report.sections.fronts import fronts
from lorabench.report.sections.reader import Reader, curves, estimates
from lorabench.results.schema import Metric, Series

_SPECTRA = {
    "explained_variance": ("Spectrum of the updates", "the rows that moved in a window"),
    "gradient_explained_variance": ("Spectrum of the gradients", "the gradients of single samples"),
    "signal_explained_variance": (
        "Spectrum of the signal",
        "what two halves of a window agree on, above the noise floor",
    ),
}
# A longer table is folded.
_MANY_ROWS = 16
_MOST_BESIDE_CEILING = 8
_OVER_WINDOWS = {
    "weighted_rank_by_window": ("Rank of the updates over time", "mean rank, tables by energy"),
    "rank_by_window": ("Rank of each table's updates over time", "components"),
    "signal_rank_by_window": ("Rank of the signal over time", "eigenvalues above the floor"),
}


def spectra(reader: Reader) -> Iterator[Section]:
    """How low-rank updates are, table by table and window by window."""
    figures: list[Figure | None] = [
        estimates(
            "Components that hold the variance",
            "The mean over tables, weighted by update energy, by the optimiser that moved the rows "
            "or might have.",
            "components",
            {"components": _weighted(reader)},
            heading="of",
        )
    ]
    figures += [
        curves(
            title,
            f"How much of the variance of {what} the first components hold. The sooner a line "
            "nears 1, the smaller a rank will do.",
            ("components", "share of the variance"),
            reader.series(name),
            from_zero=True,
        )
        for name, (title, what) in _SPECTRA.items()
    ]
    figures += [
        curves(
            title,
            "Windows of training, warm-up included.",
            ("window", what),
            reader.series(name),
            from_zero=True,
            whole_x=True,
        )
        for name, (title, what) in _OVER_WINDOWS.items()
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    table = _tables(reader)
    if shown or table:
        tables = (table,) if table else ()
        title = "Spectrum and rank over time"
        if table and len(table.rows) > _MANY_ROWS:
            yield Section(title, figures=shown, folded=tables)
        else:
            yield Section(title, figures=shown, tables=tables)


def _weighted(reader: Reader) -> list[Metric]:
    names = dict.fromkeys(
        one.name for one in reader.result.metrics if one.name.startswith("weighted_rank_at_")
    )
    return [one for name in names for one in reader.metrics(name)]


def _tables(reader: Reader) -> Table | None:
    """Lay out what an adapter of each table would need."""
    ranks = reader.metrics("recommended_rank")
    if not ranks:
        return None
    listed = {
        "update_energy_share": "share of the update energy",
        "rows_touched": "rows touched",
        "effective_rank": "effective rank",
        "signal_rank": "signal rank",
        "recommended_rank": "recommended rank",
        "recommended_bytes": "LoRA state at that",
        "table_bytes": "table",
    }
    there = {name: words for name, words in listed.items() if reader.metrics(name)}
    scales = {
        name: scale_of(reader.metrics(name)[0].unit, (m.estimate for m in reader.metrics(name)))
        for name in there
    }
    rows = []
    for rank in ranks:
        found = {name: reader.metric(name, rank.condition) for name in there}
        cells = (scales[name].write(one.estimate if one else None) for name, one in found.items())
        rows.append((rank.condition, *cells))
    head = ("table", *(scales[name].named(words) for name, words in there.items()))
    return Table.of("Tables", head, rows)


def freshness(reader: Reader) -> Iterator[Section]:
    """How quality ages and what is recovered, then what that takes."""
    result = reader.result
    if result.command != "freshness":
        return
    figures = (*_quality(reader), *_compared(reader), *fronts(reader), *_state(reader))
    shown = tuple(figure for figure in figures if figure is not None)
    table = _strategies(reader)
    yield Section(
        "Freshness: quality over time, and its bytes",
        figures=shown,
        tables=(table,) if table else (),
    )


def _quality(reader: Reader) -> Iterator[Figure | None]:
    """Draw the quality over the stream."""
    yield curves(
        "AUC over the stream",
        "Each strategy's AUC in each window, the mean over replicates. None never learns; "
        "ideal trains everything.",
        ("time of the stream", "AUC"),
        _means(reader, "auc"),
    )
    yield curves(
        "Normalized entropy over the stream",
        "Log loss over that of the constant click rate: less is better.",
        ("time of the stream", "normalized entropy"),
        _means(reader, "normalized_entropy"),
    )


def _compared(reader: Reader) -> Iterator[Figure | None]:
    """Draw what is recovered, and by how much strategies differ."""
    yield estimates(
        "Share of the gap that is recovered",
        "Of the AUC between none and ideal, all windows together.",
        "share of the gap",
        {
            "all windows": reader.metrics("gap_recovered"),
            "first quarter": reader.metrics("gap_recovered_first_quarter"),
            "last third": reader.metrics("gap_recovered_last_third"),
        },
        rules=(Rule(0.0, "none"), Rule(1.0, "ideal")),
        log=False,
        heading="strategy",
    )
    pairs = reader.metrics("auc_difference")
    from_delta = [one for one in pairs if one.labels.get("against") == "delta"]
    for title, listed in (
        ("Differences of AUC from delta", from_delta),
        ("Differences of AUC", [one for one in pairs if one not in from_delta]),
    ):
        yield estimates(
            title,
            "Paired: the same windows and replicates. One that holds 0 shows no difference.",
            "difference of mean AUC",
            {"difference": listed},
            rules=(Rule(0.0, "no difference"),),
            log=False,
            heading="pair",
        )
    yield estimates(
        "Differences of AUC from delta by part",
        "The third of each window's rows that has most of it: ids that no row had before in the "
        "replay, had rarely, or had often. The result also has rows whose updates were not sent.",
        "difference of AUC",
        _by_slice(reader),
        rules=(Rule(0.0, "no difference"),),
        name=lambda one: str(one.labels.get("strategy")),
        log=False,
        heading="strategy",
    )


def _by_slice(reader: Reader) -> dict[str, list[Metric]]:
    """Return the differences of each part that is the same for all strategies."""
    found: dict[str, list[Metric]] = {}
    for one in reader.metrics("auc_slice_difference"):
        if str(one.labels.get("slice")).startswith("unsent"):  # more of them than there are colours
            continue
        found.setdefault(str(one.labels.get("slice")), []).append(one)
    return found


def _state(reader: Reader) -> Iterator[Figure | None]:
    """Draw the rank over the stream, and the bytes."""
    yield curves(
        "Rank over the stream",
        "Mean rank of the adapted tables at the end of a window.",
        ("time of the stream", "rank"),
        _means(reader, "rank"),
        from_zero=True,
    )
    yield curves(
        "LoRA state in use over the stream",
        "Bytes at the end of a window.",
        ("time of the stream", "LoRA state"),
        _means(reader, "lora_used_bytes"),
        from_zero=True,
    )


def _means(reader: Reader, name: str) -> list[Series]:
    """Return the series of strategies; those of single replicates are left to the document.

    Beside many the ceiling, far above, would leave them no room.
    """
    found = [one for one in reader.series(name) if "seed" not in one.labels]
    if len(found) <= _MOST_BESIDE_CEILING:
        return found
    return [one for one in found if one.condition != "ceiling"]


def _strategies(reader: Reader) -> Table | None:
    names = [one.condition for one in reader.metrics("auc")]
    listed = {
        "auc": "AUC",
        "normalized_entropy": "normalized entropy",
        "staleness_p50": "staleness p50",
        "update_latency_p50": "update latency p50",
        "pushed_bytes": "on the link",
        "pushes": "pushes that landed",
        "push_s": "a push takes",
        "learn_cpu_s": "core-seconds",
        "held_fraction": "held over the tables",
        "train_samples_per_s": "samples",
        "rank": "rank",
        "lora_used_bytes": "LoRA state in use",
        "lora_fraction": "over the tables",
        "rebases": "rebases",
        "guard_trips": "guard trips",
    }
    there = {name: words for name, words in listed.items() if reader.metrics(name)}
    if not names:
        return None
    scales = {
        name: scale_of(reader.metrics(name)[0].unit, (m.estimate for m in reader.metrics(name)))
        for name in there
    }
    rows = []
    for strategy in names:
        found = {name: reader.metric(name, strategy) for name in there}
        cells = (with_bounds(one, scales[name]) for name, one in found.items())
        rows.append((strategy, *cells))
    head = ("strategy", *(scales[name].named(words) for name, words in there.items()))
    return Table.of("Strategies, means over replicates", head, rows)
