"""Pareto fronts."""

from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.pareto import front

# Few values, so that there are ties.
_VALUES = st.integers(0, 4).map(float)
_POINTS = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(_VALUES, _VALUES), max_size=8)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(_POINTS)
def test_who_is_not_on_the_front_is_dominated_by_one_who_is(points) -> None:
    found = front(points)
    for name, point in points.items():
        better = [other for other in found if dominates(points[other], point)]
        assert bool(better) == (name not in found)
    costs = [points[name][0] for name in found]
    assert costs == sorted(costs)
