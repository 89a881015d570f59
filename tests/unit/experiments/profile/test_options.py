"""What profile refuses before anything is run."""

import pytest

from lorabench.cli import app
from lorabench.errors import InputError


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--dim", "x"), "--dim: found 'x', expected whole numbers"),
        (("--dim", "16,0"), "--dim: found 0, expected at least 1"),
        (("--optimizer", "adam"), "--optimizer: found 'adam', expected one of adagrad, sgd"),
        (("--variance", "0"), "--variance: found 0.0, expected above 0 and below 1"),
        (("--windows", "0"), "--windows: found 0"),
        (("--learning-rate", "-1"), "--learning-rate: found -1.0"),
        (("--from", "a.npy"), "--from: found it alone"),
        (("--to", "a.npy"), "--to: found it alone"),
        (("--from", "a.npy", "--to", "b.npy", "--preset", "tiny"), "one or the other"),
        (("--from", "a.npy", "--to", "b.npy", "--wrap-ids"), "found --wrap-ids beside it"),
        (("--columns", "a.toml"), "--columns: found no --data beside it"),
        (("--data", "a.csv", "--columns", "a.toml"), "a.csv: No such file or directory"),
    ],
)
def test_bad_options_are_told(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        app(["profile", *options], standalone_mode=False)
