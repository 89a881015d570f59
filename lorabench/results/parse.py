"""JSON of somebody else's hand, read within bounds and made harmless to print.

A document may come from a colleague, a CI job or a stranger. What no honest one has is refused
before it costs memory or time: size, nesting, numbers that no double or 64 bits hold, a key said
twice. What a terminal would obey is replaced here, at the one place where such text comes in, and
so reaches no table, page or message, whoever writes these.
"""

import json
import math
import re
from collections import Counter
from typing import Any

MOST_BYTES = 64 << 20
MOST_CONTAINERS = 200_000
"""Objects and lists. A metric has three or four."""
MOST_VALUES = 5_000_000
MOST_DEPTH = 32
MOST_TEXT = 100_000
"""Characters of a string."""

# What moves the cursor, colours, deletes or turns the direction of what follows; halves of
# characters and what is none, which cannot be printed or not stand in XML. Tab and line feed do
# no harm.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)


def parse(data: bytes) -> Any:
    r"""Parse JSON in UTF-8.

    Returns
    -------
    object
        As `json.loads` gives it; in strings and keys, characters that a terminal obeys are escaped
        as Python does (``\x1b``).

    Raises
    ------
    UnicodeDecodeError
        It is no text.
    json.JSONDecodeError
        It is no JSON.
    ValueError
        It is beyond the bounds; says what was found.
    """
    if data.startswith(b"\x1f\x8b"):
        raise ValueError("a gzip file; unpack it first")
    # Counted before anything is made of them: an empty list takes 2 bytes here and 56 in memory.
    containers = data.count(b"{") + data.count(b"[")
    if containers > MOST_CONTAINERS:
        raise ValueError(f"{containers:,} objects and lists, at most {MOST_CONTAINERS:,} are read")
    values = data.count(b",")
    if values > MOST_VALUES:
        raise ValueError(f"{values:,} values, at most {MOST_VALUES:,} are read")
    try:
        found = json.loads(
            data.decode("utf-8-sig"), parse_constant=_refused, object_pairs_hook=_once
        )
    except RecursionError:
        raise _too_deep() from None
    return _harmless(found, MOST_DEPTH)


def escaped(text: str) -> str:
    """Return a text with what a terminal would obey as escapes that one reads."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _refused(name: str) -> None:
    raise ValueError(f"the number {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; which of two values of a key counts, readers do not agree on."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r:.60} twice in one object")
    return found


def _harmless(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise ValueError(f"a text of {len(value):,} characters, at most {MOST_TEXT:,} are read")
        return escaped(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number that is too large")
        return value
    if isinstance(value, int):
        if value.bit_length() > 64:
            raise ValueError(f"the number {value!r:.30}… of more than 64 bits")
        return value
    if isinstance(value, list | dict) and not depth:
        raise _too_deep()
    if isinstance(value, list):
        return [_harmless(one, depth - 1) for one in value]
    if isinstance(value, dict):
        return {_harmless(key, depth): _harmless(one, depth - 1) for key, one in value.items()}
    return value


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MOST_DEPTH}")
