"""Controls are the same wherever conditions are put in order, compared or drawn."""

from lorabench.report.plots.common import COLOURS, QUIET, colours
from lorabench.results.comparison import is_control
from lorabench.results.controls import CONTROLS, FIRST, LAST


def test_all_of_them_are_compared_as_controls_and_only_sham_has_a_colour() -> None:
    names = (*FIRST, *LAST)
    assert [name for name in names if is_control(name, {})] == list(CONTROLS)
    drawn = {name: colour for name, (colour, _) in colours([*names, "isolated"]).items()}
    assert [name for name, colour in drawn.items() if colour in COLOURS] == ["sham", "isolated"]
    assert set(drawn.values()) & set(QUIET) == set(QUIET)
