"""What profile refuses before anything is run."""

from pathlib import Path

import pytest

from lorabench.cli.profile import profile
from lorabench.errors import InputError


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dim": "x"}, "--dim: found 'x', expected integers"),
        ({"dim": "16,0"}, "--dim: found 0, expected an integer >= 1"),
        ({"optimizer": "adam"}, "--optimizer: found 'adam', expected adagrad or sgd"),
        ({"variance": 0.0}, "--variance: found 0.0, expected above 0 and below 1"),
        ({"windows": 0}, "--windows: found 0"),
        ({"learning_rate": -1.0}, "--learning-rate: found -1.0"),
        ({"old": Path("a.npy")}, "--from: found it alone"),
        ({"new": Path("a.npy")}, "--to: found it alone"),
        ({"old": Path("a.npy"), "new": Path("b.npy"), "preset": "tiny"}, "one or the other"),
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        profile(**options)
