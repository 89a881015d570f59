"""Documents of older schemas, brought to the present one when they are read.

Schema 1 had no labels: what told cases apart stood in the text of ``condition`` alone, and is taken
out of it here, once. Units of ratios were ``ratio`` in one command and ``1`` in all others.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from lorabench.results.case import Label
from lorabench.results.schema import SCHEMA, config_hash

SCHEMA_1 = "lorabench.result/1"

Labels = dict[str, Label]

# `rerank` was the name of what this field calls otherwise.
_RENAMED = {"rerank_p99_ratio": "rank_change_p99_ratio"}

# What was configured, by command and name.
_CONFIG = {
    "kernels": {
        "groups": "kernels",
        "against": "peers",
        "laws": "distributions",
        "brief": "quick",
    }
}


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of the present schema; any other as it is."""
    if document.get("schema") != SCHEMA_1:
        return document
    # Conditions had a mechanism of that name; wherever one is named, it is by the present one.
    document = json.loads(json.dumps(document).replace("+rerank", "+rank-change"))
    read = _READERS.get(str(document.get("command")), _condition)
    found = {**document, "schema": SCHEMA}
    names = _CONFIG.get(str(document.get("command")))
    if names and isinstance(document.get("config"), dict):
        config = {names.get(key, key): value for key, value in document["config"].items()}
        found |= {"config": config, "config_hash": config_hash(config)}
    for part in ("metrics", "series"):
        listed = document.get(part)
        if isinstance(listed, list):
            found[part] = [_labelled(one, read) for one in listed]
    return found


def _labelled(one: Any, read: Callable[[str], Labels]) -> Any:
    if not isinstance(one, dict) or not isinstance(one.get("condition"), str):
        return one
    name = str(one.get("name"))
    renamed = {"name": _RENAMED[name]} if name in _RENAMED else {}
    unit = {"unit": "1"} if one.get("unit") == "ratio" else {}
    labels = _read(one["condition"], read)
    if name.endswith("_speedup") and "candidate" in labels:
        # It named whom our kernel was held against.
        labels = {**labels, "candidate": "lorabench", "peer": labels["candidate"]}
    return {**one, **renamed, **unit, "labels": labels}


def _read(condition: str, read: Callable[[str], Labels]) -> Labels:
    """Read the labels out of a text; where a number in it is none that is known, none."""
    try:
        labels = read(condition)
    except (ValueError, OverflowError):
        return _condition(condition)
    known = all(math.isfinite(value) for value in labels.values() if isinstance(value, float))
    return labels if known else _condition(condition)


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


_BYTES = {"MiB": 1 << 20, "GiB": 1 << 30}

# What a condition of `kernels` is put together from, and what a part says beside the values that it
# names. The first that fits a place is taken.
_PARTS: tuple[tuple[str, Labels], ...] = (
    (r"(?P<inputs>pooled|one_hot|all adapted|zipf|any row), rank (?P<rank>\d+)", {}),
    (r"D=(?P<dim>\d+)", {}),
    (r"pooling (?P<pooling>\d+)", {}),
    (r"one-hot", {"pooling": 1}),
    (r"(?P<distribution>uniform|zipf)", {}),
    (r"batch (?P<batch>\d+)", {}),
    (r"(?P<table_bytes>[\d.e+]+ [MG]iB)( in all)?", {}),
    (r"2 % of the bytes; 0 is lookup", {}),
    (r"(?P<kernel>lookup_lora|lookup)", {}),
    (r"(?P<ranks>[\d,]+) ranks, exponent (?P<exponent>[\d.]+)", {}),
    (r"(?P<k>[\d,]+) of (?P<rows>[\d,]+) rows", {}),
    (r"(?P<rows>[\d,]+) rows, every second one there", {"hit_share": 0.5}),
    (r"best peer (?P<peer_pages>4k), ours (?P<pages>2m)", {"candidate": "best"}),
    (r"best peer, both (?P<pages>(?P<peer_pages>4k|2m))", {"candidate": "best"}),
    (r"(?P<candidate>\w+), both (?P<pages>(?P<peer_pages>4k|2m))", {}),
    (r"(?P<candidate>\w+) (?P<pages>4k|2m)", {}),
    (r"(?P<pages>4k|2m)", {}),
    (r"(?P<candidate>\w+) (?P<stage>forward|backward)", {}),
    (r"(?P<candidate>numpy searchsorted|\w+)", {}),
)


def _kernels(text: str) -> Labels:
    """Read ``lorabench 2m, D=16, pooling 20, uniform, 2 GiB`` and its like."""
    labels: Labels = {}
    at = 0
    while at < len(text):
        for pattern, also in _PARTS:
            found = re.compile(rf"{pattern}(?:, |$)").match(text, at)
            if found is not None:
                named = found.groupdict()
                labels |= {name: _value(value) for name, value in named.items()} | also
                at = found.end()
                break
        else:
            return _condition(text)
    return labels or _condition(text)


def _value(text: str) -> Label:
    """Read ``40,000,000`` or ``2 GiB`` as a whole number, ``1.05`` as a number, else as it is."""
    number, _, unit = text.replace(",", "").partition(" ")
    try:
        if unit in _BYTES:
            return round(float(number) * _BYTES[unit])
        return float(text) if "." in text else int(number + unit)
    except ValueError:
        return text


def _strategy(text: str) -> Labels:
    return {"strategy": text}


_READERS: dict[str, Callable[[str], Labels]] = {
    "freshness": _strategy,
    "headroom": _cpu_or_duty,
    "kernels": _kernels,
    "profile": _table,
}
