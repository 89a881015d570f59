"""A workload's drift, made faster or slower, or all but one kind of it left out."""

import pytest

from lorabench.errors import InputError
from lorabench.workload.spec import load_spec
from lorabench.workload.speeds import KINDS, with_drift


def test_speeds_are_multiplied_and_nothing_else_changes() -> None:
    demo = load_spec("demo")
    assert with_drift(demo) is demo
    twice = with_drift(demo, 2)
    for before, after in zip(demo.drift.phase, twice.drift.phase, strict=True):
        assert [getattr(after, name) for name in KINDS] == [
            2 * getattr(before, name) for name in KINDS
        ]
        assert (after.start_s, after.rank) == (before.start_s, before.rank)
    assert twice.digest != demo.digest
    assert twice.model_copy(update={"drift": demo.drift}) == demo


@pytest.mark.parametrize("kind", ["trades", "newcomers", "row-taste", "shared-taste"])
def test_of_a_kind_all_others_stop(kind) -> None:
    kaggle = load_spec("criteo-kaggle")
    kept = with_drift(kaggle, kind=kind)
    assert kept.drift.day_taste == 0 < kaggle.drift.day_taste
    for phase in kept.drift.phase:
        assert {name for name in KINDS if getattr(phase, name)} == {kind.replace("-", "_")}


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("tiny", {"strength": 2.0}, "--drift-strength: found tiny, which has no drift"),
        ("tiny", {"kind": "trades"}, "--drift-kind: found tiny, which has no trades"),
        ("demo", {"strength": 1e3}, r"demo with its drift times 1000: drift\.phase\[0\]"),
    ],
)
def test_what_cannot_be_is_refused(name, asked, message) -> None:
    with pytest.raises(InputError, match=message):
        with_drift(load_spec(name), **asked)
