"""The free-form parts of documents: what lies at a path, and all of it on one level."""

from collections.abc import Mapping
from typing import Any


def within(value: Any, *path: str) -> Any:
    """Return what lies at a path in nested objects; None where one is none, or lacks it."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a configuration with one level: names joined by dots.

    Examples
    --------
    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{path}.")
        else:
            found[path] = value
    return found
