"""What learning and pushing take in time, as measured in a replay or frozen in a file.

Time decides when an update is served. A replay measures it, so that two runs are alike but for how
fast the machine was; with a compute model both are alike to the bit.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lorabench.errors import InputError
from lorabench.experiments.freshness.race import CLUSTER
from lorabench.model.tables import TableSet
from lorabench.strategies.base import StrategySpec
from lorabench.updates.link import Handling
from lorabench.updates.payload import KEY_BYTES, SCALE_AND_OFFSET_BYTES
from lorabench.updates.quantise import quantise

_Sent = TypeVar("_Sent")

_SAMPLES, _BYTES = "seconds_per_sample", "seconds_per_byte"
# As a file names them; one without those of int8 has rows in 8 bits handled as any others.
_PER_BYTE = {
    "encode": "encode_s_per_byte",
    "apply": "apply_s_per_byte",
    "encode_int8": "encode_int8_s_per_byte",
    "apply_int8": "apply_int8_s_per_byte",
}
_SHARE = 0.1
_TIMES = 3


@dataclass(frozen=True)
class ComputeModel:
    """Times that are given.

    Parameters
    ----------
    per_sample : mapping of str to float
        What learning a sample takes, s, by strategy; `CLUSTER` is every training cluster, whatever
        trains it.
    handling : Handling
        What encoding and applying a byte of a push take.
    """

    per_sample: Mapping[str, float] = field(default_factory=dict)
    handling: Handling = field(default_factory=Handling)

    @classmethod
    def read(cls, path: str) -> "ComputeModel":
        """Read a file that `text` wrote, or a person.

        Raises
        ------
        InputError
            It cannot be read, or says something else than such times.
        """
        try:
            found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{path}: {reason}; expected a compute model in TOML") from error
        for name in found:
            if name not in (_SAMPLES, _BYTES):
                raise InputError(f"{path}: found [{name}], expected [{_SAMPLES}] and [{_BYTES}]")
        per_sample = _times(path, _SAMPLES, found.get(_SAMPLES, {}))
        per_byte = _times(path, _BYTES, found.get(_BYTES, {}), tuple(_PER_BYTE))
        return cls(per_sample, Handling(**{_PER_BYTE[key]: s for key, s in per_byte.items()}))

    def text(self) -> str:
        """Return it as a file has it."""
        samples = "".join(f'"{name}" = {value!r}\n' for name, value in self.per_sample.items())
        found = {key: getattr(self.handling, name) for key, name in _PER_BYTE.items()}
        per_byte = "".join(f"{key} = {s!r}\n" for key, s in found.items() if s is not None)
        return f"[{_SAMPLES}]\n{samples}\n[{_BYTES}]\n{per_byte}"

    def check(self, path: str, specs: Iterable[StrategySpec]) -> None:
        """Refuse to go without the times of strategies that learn.

        Raises
        ------
        InputError
            One is not there.
        """
        for name in learners(specs):
            if name not in self.per_sample:
                known = ", ".join(self.per_sample) or "none"
                raise InputError(
                    f"{path}: found [{_SAMPLES}] of {known}, expected {name!r} too, which learns"
                )


def learners(specs: Iterable[StrategySpec]) -> list[str]:
    """Return whose learning takes time: strategies that learn where they serve, and the cluster."""
    found = []
    for spec in specs:
        if spec.learns and spec.kind.learns_here:
            found.append(spec.name)
        if spec.kind.trained_by is not None:
            found.append(CLUSTER)
    return list(dict.fromkeys(found))


def measure_handling(tables: TableSet) -> Handling:
    """Measure what gathering rows from tables and writing them back takes, s a byte.

    As float32 and in 8 bits, which are quantised before they go and restored where they come. A
    tenth of the rows, ascending as a delta has them; the median of three times, in CPU time of this
    thread, which is that of one core. What is in the tables is the same afterwards.
    """
    rng = np.random.default_rng(0)
    rows = [
        np.sort(rng.choice(len(table), max(1, int(_SHARE * len(table))), replace=False))
        for table in tables.arrays
    ]
    count, dim = sum(len(one) for one in rows), tables.layout.dim
    threads = torch.get_num_threads()
    # Else other threads would quantise a part, whose time is not this one's.
    torch.set_num_threads(1)
    try:
        fp32 = _timed(tables, rows, lambda values: values, lambda values: values)
        int8 = _timed(tables, rows, quantise, lambda codes: codes.rows())
    finally:
        torch.set_num_threads(threads)
    size = count * dim * 4
    # Rows in 8 bits always go with their keys; all that is charged for is a part of the bytes.
    small = count * (KEY_BYTES + SCALE_AND_OFFSET_BYTES + dim)
    return Handling(fp32[0] / size, fp32[1] / size, int8[0] / small, int8[1] / small)


def _timed(
    tables: TableSet,
    rows: Sequence[NDArray[np.int64]],
    encode: Callable[[NDArray[np.float32]], _Sent],
    decode: Callable[[_Sent], NDArray[np.float32]],
) -> tuple[float, float]:
    """Return what encoding and applying these rows take, s: each the median of some times."""
    kept = [table[ids] for table, ids in zip(tables.arrays, rows, strict=True)]
    encode_s, apply_s = [], []
    try:
        for _ in range(_TIMES):
            begun_s = thread_time()
            sent = [encode(table[ids]) for table, ids in zip(tables.arrays, rows, strict=True)]
            encoded_s = thread_time()
            with tables.changing():
                for table, ids, one in zip(tables.arrays, rows, sent, strict=True):
                    table[ids] = decode(one)
            encode_s.append(encoded_s - begun_s)
            apply_s.append(thread_time() - encoded_s)
    finally:
        with tables.changing():
            for table, ids, values in zip(tables.arrays, rows, kept, strict=True):
                table[ids] = values
    return median(encode_s), median(apply_s)


def _times(
    path: str, name: str, found: Any, expected: tuple[str, ...] | None = None
) -> dict[str, float]:
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {name} = {found!r}, expected a table [{name}]")
    for key, value in found.items():
        if expected is not None and key not in expected:
            raise InputError(
                f"{path}: found {key!r} in [{name}], expected {' and '.join(expected)}"
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and 0 <= value < np.inf):
            raise InputError(
                f"{path}: found {key} = {value!r} in [{name}], expected seconds, at least 0"
            )
    return {key: float(value) for key, value in found.items()}
