"""Pareto fronts: who is better than all that cost as little."""

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return whom nobody dominates, the cheapest first.

    One dominates another where it costs at most as much, is worth at least as much, and one of the
    two is not the same: of equals all are on the front, or none.

    Parameters
    ----------
    points : mapping of str to (float, float)
        What each costs, and what it is worth.

    Examples
    --------
    >>> front({"dear": (9.0, 0.7), "cheap": (1.0, 0.5), "bad": (5.0, 0.4), "best": (9.0, 0.8)})
    ['cheap', 'best']
    """
    kept = [
        name
        for name, (cost, worth) in points.items()
        if not any(
            other_cost <= cost
            and other_worth >= worth
            and (other_cost, other_worth) != (cost, worth)
            for other_cost, other_worth in points.values()
        )
    ]
    return sorted(kept, key=lambda name: points[name])
