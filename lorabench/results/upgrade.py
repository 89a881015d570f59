"""Documents of older schemas, brought to the present one when they are read.

Schema 1 had no labels: what told cases apart stood in the text of ``condition`` alone, and is taken
out of it here, once. Units of ratios were ``ratio`` in one command and ``1`` in all others.
"""

import re
from collections.abc import Callable
from typing import Any

from lorabench.results.case import Label
from lorabench.results.schema import SCHEMA

SCHEMA_1 = "lorabench.result/1"

Labels = dict[str, Label]

# `rerank` was the name of what this field calls otherwise.
_RENAMED = {"rerank_p99_ratio": "rank_change_p99_ratio"}


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of the present schema; any other as it is."""
    if document.get("schema") != SCHEMA_1:
        return document
    read = _READERS.get(str(document.get("command")), _condition)
    found = {**document, "schema": SCHEMA}
    for part in ("metrics", "series"):
        listed = document.get(part)
        if isinstance(listed, list):
            found[part] = [_labelled(one, read) for one in listed]
    return found


def _labelled(one: Any, read: Callable[[str], Labels]) -> Any:
    if not isinstance(one, dict) or not isinstance(one.get("condition"), str):
        return one
    name = one.get("name")
    renamed = {"name": _RENAMED[name]} if name in _RENAMED else {}
    unit = {"unit": "1"} if one.get("unit") == "ratio" else {}
    return {**one, **renamed, **unit, "labels": read(one["condition"])}


def _condition(text: str) -> Labels:
    return {"condition": text}


def _cpu_or_duty(text: str) -> Labels:
    """Read ``cpu3``, ``host2/cpu3`` or ``pinned@0.25``."""
    cpu = re.fullmatch(r"(?:(host[0-9]+)/)?cpu(.+)", text)
    if cpu:
        number = int(cpu[2]) if cpu[2].isdecimal() else cpu[2]
        return {"condition": cpu[1] or "host", "cpu": number}
    condition, _, duty = text.rpartition("@")
    try:
        return {"condition": condition, "duty": float(duty)} if condition else _condition(text)
    except ValueError:
        return _condition(text)


def _table(text: str) -> Labels:
    """Read ``C3`` or ``D16/C3``."""
    found = re.fullmatch(r"D([0-9]+)/(.*)", text)
    return {"table": found[2], "dim": int(found[1])} if found else {"table": text}


_READERS: dict[str, Callable[[str], Labels]] = {"headroom": _cpu_or_duty, "profile": _table}
