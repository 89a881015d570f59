"""The command that gives a result again: its configuration, turned back into options.

What a document does not hold stands in capitals, with a sentence on what must take its place:
files are named by what is in them, since the same rows elsewhere are the same run.
"""

import shlex
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from lorabench.bench.options import arguments
from lorabench.errors import LorabenchError
from lorabench.experiments import COMMANDS
from lorabench.results.schema import Result

_MIB = 1 << 20

# Options that name a file whose digest is all that the document has: where that stands, what it is.
_SERVED = (
    ("traffic", "trace_sha256", "--arrivals", "the recorded arrivals"),
    ("model.checkpoint", "sha256", "--checkpoint", "the model that was served"),
)
_FILES = {
    "colocate": _SERVED,
    "headroom": (("experiment", "sha256", "--trace", "the recording"), *_SERVED),
    "calibrate": (("result", "id", "", "the result of colocate"),),
    "profile": (
        ("from", "sha256", "--from", "the older snapshot"),
        ("to", "sha256", "--to", "the newer snapshot"),
    ),
}


# Options besides --data that may have said how rows are read, by their kind.
_WRAPPED = "; with --wrap-ids where the notes say that ids are taken modulo"
_READ_BY = {
    "columns": "; with the same --columns, where the notes tell of no known layout",
    "dlrm-npz": _WRAPPED,
    "dlrm-bin": _WRAPPED,
    "torchrec-npy": _WRAPPED,
}


def command_line(result: Result) -> tuple[str, tuple[str, ...]]:
    """Return the command, and a sentence for each thing in it that the document does not hold."""
    command = next((one for one in COMMANDS if one.name == result.command), None)
    if command is None or not command.view:
        return f"lorabench {shlex.quote(result.command[:60])}", (
            "This version has no such command: the configuration is in the document alone.",
        )
    config = result.config
    values = _values(command.name, config)
    parts = ["lorabench", command.name]
    notes: list[str] = []
    takes_rows = any(one.name == "preset" for one in fields(command.options))
    if takes_rows and isinstance(config.get("workload"), dict):
        rows, note = _rows(config["workload"])
        parts += rows
        notes += [note] if note else []
    for flag, name, note in _files(result):
        values.pop("arrivals" if flag == "--arrivals" else "", None)
        parts += [flag, name] if flag else [name]
        notes.append(note)
    parts += arguments(command.options, values)
    if result.lorabench.version:
        git = f", commit {result.lorabench.git}" if result.lorabench.git else ""
        notes.append(
            f"With lorabench {result.lorabench.version}{git}, on the same machine, that has the "
            f"configuration {result.config_hash[:16]}."
        )
    return shlex.join(parts), tuple(notes)


def _values(command: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for by name of the option; units are those of the option."""
    asked = config.get("experiment")
    values: dict[str, Any] = dict(asked if isinstance(asked, dict) else config)
    sizes, tolerance = values.get("sizes"), values.get("tolerance")
    if command == "kernels" and isinstance(sizes, list) and sizes:
        whole = all(isinstance(one, int) for one in sizes)
        values["table_mib"] = [one // _MIB for one in sizes] if whole else None
    if command == "calibrate" and isinstance(tolerance, float):
        values["tolerance"] = round(tolerance * 100, 12)  # a share in documents, per cent here
    if command == "doctor" and values.get("sysroot") == "/":
        del values["sysroot"]
    return values


def _rows(workload: dict[str, Any]) -> tuple[list[str], str]:
    """Return the options that name the rows, and what they must be."""
    spec = workload.get("spec")
    name = spec.get("name") if isinstance(spec, dict) else None
    if workload.get("kind") != "generated":
        digest = str(workload.get("digest"))[:16]
        told = str(workload.get("kind"))[:40]
        how = _READ_BY.get(told, "")
        return ["--data", "ROWS"], (
            f"ROWS: the rows of kind {told} whose digest begins {digest}{how}."
        )
    if isinstance(name, str) and _is_preset(name, spec):
        return ["--preset", name], ""
    return ["--preset", "SPEC.toml"], (
        "SPEC.toml: the workload that the configuration has under workload.spec."
    )


def _is_preset(name: str, spec: Any) -> bool:
    """Whether this version has a preset of that name that says the same."""
    from lorabench.workload.spec import load_spec

    if "/" in name or name.endswith(".toml"):
        return False
    try:
        return bool(load_spec(name).model_dump(mode="json") == spec)
    except LorabenchError:
        return False


def _files(result: Result) -> Iterator[tuple[str, str, str]]:
    """Return the option, the placeholder and the sentence of each file that must be named."""
    for part, key, flag, what in _FILES.get(result.command, ()):
        found: Any = result.config
        for one in (*part.split("."), key):
            found = found.get(one) if isinstance(found, dict) else None
        if isinstance(found, str):
            place = (flag.removeprefix("--") or "result").upper()
            yield flag, place, f"{place}: {what}, {key} {found[:32]}."
