"""The comparison as text."""

from io import StringIO

from rich.console import Console

from lorabench.experiments.workload import view
from lorabench.workload.like import FeatureDistance


def test_pairs_and_what_lies_beyond_noise_are_shown() -> None:
    nine = tuple(float(i) for i in range(1, 10))
    found = [
        FeatureDistance("I1", (0.25, 0.3), None, None, (nine, nine), 0.01, 0.02),
        FeatureDistance("C1", (0.0, 0.0), (1200, 1100), (0.5, 0.4), None, 0.1, 0.02),
        FeatureDistance("I2", (1.0, 1.0), None, None, ((), ()), 0.0, 0.0),
    ]
    out = StringIO()
    view.render_fit(found, 1999, Console(file=out, width=100))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    (first,) = (line for line in lines if line.startswith("I1"))
    assert first.split()[1:] == ["25.0%", "|", "30.0%", "5", "|", "5", "0.010", "0.020"]
    (second,) = (line for line in lines if line.startswith("C1"))
    assert "1,200 | 1,100" in second
    assert second.rstrip().endswith("*")
    assert "1 of 3 features" in out.getvalue()
