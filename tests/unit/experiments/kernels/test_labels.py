"""A case's text and its labels say the same: the reader of texts without labels gives the labels.

That reader is `lorabench.results.upgrade`'s, for documents of schema 1.
"""

import pytest

from lorabench.experiments.kernels import labels
from lorabench.experiments.kernels.cases import steps
from lorabench.experiments.kernels.comparison import Comparison
from lorabench.experiments.kernels.labels import BEST, GIB, MIB, OURS, Inputs, Point, size_text
from lorabench.experiments.kernels.options import KernelsOptions
from lorabench.results.case import Case
from lorabench.results.upgrade import SCHEMA_1, upgrade

POINT = Point(16, 20, "uniform", 2 * GIB)
POPULAR = Point(128, 1, "zipf", 64 * MIB)
INPUTS = [
    Inputs("pooled", 8, POINT),
    Inputs("one_hot", 8, POPULAR),
    Inputs("all adapted", 16, POINT),
    Inputs("zipf", 8, POPULAR),
    Inputs("any row", 8, POINT),
]
SETTINGS = {
    "zipf_sample": {"ranks": 40_000_000, "exponent": 1.05},
    "index_find": {"rows": 400_000, "hit_share": 0.5},
    "top_rows_row": {"k": 500, "rows": 50_000, "dim": 64},
    "gram_sample": {"dim": 16},
}
CASES: list[tuple[str, Case]] = [
    *(
        ("lookup_row_s", labels.lookup(who, pages, point))
        for who in (OURS, "torch", "fbgemm")
        for pages in ("4k", "2m")
        for point in (POINT, POPULAR)
    ),
    *(("lookup_over_limit", labels.limit(pages, POINT)) for pages in ("4k", "2m")),
    *(
        ("lookup_speedup", labels.against(peer, *pages, POINT))
        for peer in (BEST, "torch", "fbgemm")
        for pages in (("4k", "4k"), ("2m", "2m"))
    ),
    ("lookup_speedup", labels.against(BEST, "4k", "2m", POPULAR)),
    *(("lookup_lora_ratio", inputs.case) for inputs in INPUTS[:2]),
    *(("lora_row_s", i.kernel(name)) for i in INPUTS[:2] for name in ("lookup", "lookup_lora")),
    *(("update_row_s", i.stage("torch", of)) for i in INPUTS[2:] for of in ("forward", "backward")),
    *(("update_speedup", inputs.against("fbgemm")) for inputs in INPUTS[2:]),
    *(
        (f"{stem}_s", labels.single(stem, who, setting))
        for stem, setting in SETTINGS.items()
        for who in (OURS, "numpy searchsorted")
    ),
    *(
        (f"{stem}_speedup", labels.single_against(stem, "torch", setting))
        for stem, setting in SETTINGS.items()
    ),
]


@pytest.mark.parametrize(("name", "case"), CASES, ids=str)
def test_a_text_without_labels_is_read_as_them(name: str, case: Case) -> None:
    document = {
        "schema": SCHEMA_1,
        "command": "kernels",
        "metrics": [{"name": name, "condition": case.text}],
    }
    (read,) = upgrade(document)["metrics"]
    assert read["labels"] == case.labels


def test_no_two_cases_of_a_metric_have_the_same_text_or_labels() -> None:
    assert len({(name, case.text) for name, case in CASES}) == len(CASES)
    assert len({(name, tuple(sorted(case.labels.items()))) for name, case in CASES}) == len(CASES)


def test_a_point_is_found_again_among_labels() -> None:
    assert Point.of(labels.against(BEST, "4k", "2m", POPULAR).labels) == POPULAR
    assert Point.of(INPUTS[0].case.labels) == POINT


def test_sizes_are_written_as_a_person_would() -> None:
    assert [size_text(size) for size in (MIB, 64 * MIB, 2 * GIB)] == ["1 MiB", "64 MiB", "2 GiB"]


def test_the_steps_are_those_of_the_kernels_that_are_asked_for() -> None:
    options = KernelsOptions(dims=(16, 64), poolings=(1,), distributions=("zipf",), table_mib=(1,))
    texts = [step.text for step in steps(Comparison(options, options.sizes))]
    assert texts == [
        "lookup, D=16, pooling 1, zipf, 1 MiB",
        "lookup, D=64, pooling 1, zipf, 1 MiB",
        "lookup_lora, D=16",
        "update, D=16",
        "lookup_lora, D=64",
        "update, D=64",
        "zipf",
        "index",
        "top_rows",
        "gram",
        "scaling: table size",
        "scaling: bag size",
        "scaling: rank",
        "scaling: tables",
    ]
    only = KernelsOptions(kernels=("gram",))
    assert [step.text for step in steps(Comparison(only, only.sizes))] == ["gram"]
