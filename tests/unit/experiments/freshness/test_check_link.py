"""Holding the model of the link against transfers: what is sent, and what is refused."""

import pytest

from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.experiments.freshness.check_link import kinds
from lorabench.experiments.freshness.options import FreshnessOptions


def test_bytes_of_each_size_go_over_each_link_and_rows_of_the_largest() -> None:
    options = FreshnessOptions(check_link=True, check_sizes=(2.0, 1.0), dim=8)
    found = kinds(options, (200.0, None))
    assert len({kind.case for kind in found}) == len(found)
    assert [kind.case.text for kind in found[:5]] == [
        "200 Mbit/s, 1 B",
        "200 Mbit/s, 1 MB",
        "200 Mbit/s, 2 MB",
        "200 Mbit/s, 2 MB fp32",
        "200 Mbit/s, 2 MB int8",
    ]
    assert [kind.link for kind in found[5:]] == ["loopback"] * 5
    assert {kind.form.dim for kind in found} == {8}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--check-link", "--preset", "tiny"), "--preset: found it beside --check-link, which"),
        (("--check-link", "--tune"), "--tune: found it beside --check-link"),
        (("--check-link", "--check-rates", "0"), "--check-rates: found 0.0, expected 1 to 10000"),
        (("--check-link", "--check-rates", "fast"), "numbers separated by commas"),
        (("--check-link", "--check-rates", ","), "--check-rates: found none, expected some"),
        (("--check-link", "--check-sizes", "0.5"), "--check-sizes: found 0.5, expected 1 to 1000"),
        (("--check-sizes", "5"), "--check-sizes: found it without --check-link, expected both"),
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["freshness", *options], standalone_mode=False)
