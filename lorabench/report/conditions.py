"""In which order conditions are shown: blocks shuffle them, a reader wants the baseline first."""

from collections.abc import Iterable

from lorabench.results.schema import Result

_FIRST = ("solo", "solo_repeat", "planted", "sham")
_LAST = ("solo_all",)


def in_order(result: Result, found: Iterable[str]) -> list[str]:
    """Return names of conditions: controls, what was asked for as it was, what else there is."""
    there = dict.fromkeys(found)
    experiment = result.config.get("experiment")
    asked = experiment.get("conditions") if isinstance(experiment, dict) else None
    listed = [name for name in asked if isinstance(name, str)] if isinstance(asked, list) else []
    wanted = [*_FIRST, *listed, *(name for name in there if name not in _LAST), *_LAST]
    return [name for name in dict.fromkeys(wanted) if name in there]
