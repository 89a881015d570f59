"""In which order conditions are shown: blocks shuffle them, a reader wants the baseline first."""

from collections.abc import Iterable

from lorabench.results.controls import FIRST, LAST
from lorabench.results.schema import Result


def in_order(result: Result, found: Iterable[str]) -> list[str]:
    """Return names of conditions: controls, what was asked for as it was, what else there is.

    What repeats them with a load generator's arrivals comes last.
    """
    there = dict.fromkeys(found)
    driven = [name for name in under_load_generator(result) if name in there]
    wanted = [*FIRST, *_asked(result), *(name for name in there if name not in LAST), *LAST]
    kept = [name for name in dict.fromkeys(wanted) if name in there and name not in driven]
    return [*kept, *driven]


def under_load_generator(result: Result) -> list[str]:
    """List the cases of a load generator's arrivals, in the order of what they repeat.

    Of each condition what knew the arrivals beforehand comes first.
    """
    # Whatever served has a median, even of few queries.
    served = {one.condition: one.labels for one in result.select("latency_p50")}
    driven = {name: labels for name, labels in served.items() if "load_generator" in labels}
    order = {name: place for place, name in enumerate(dict.fromkeys([*FIRST, *_asked(result)]))}

    def place(name: str) -> tuple[int, bool]:
        of = driven[name]
        return order.get(str(of.get("condition")), len(order)), of["load_generator"] != "own"

    return sorted(driven, key=place)


def _asked(result: Result) -> list[str]:
    experiment = result.config.get("experiment")
    asked = experiment.get("conditions") if isinstance(experiment, dict) else None
    return [name for name in asked if isinstance(name, str)] if isinstance(asked, list) else []
