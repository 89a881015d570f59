"""A result of colocate as it lies on disk, with raw samples of a machine whose noise is known.

Latencies are lognormal about a level that blocks and slices share; a stall of the host makes some
queries in a row wait. Times are those of a case's clock.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorabench.results.files import write_raw, write_result
from lorabench.results.schema import Program, RawFile, Result, config_hash

NS = 1_000_000_000
CONTROLS = ("solo", "solo_repeat")


@dataclass(frozen=True)
class Weather:
    """What is recorded, and how noisy it is.

    `block_sigma` and `slice_sigma` are of the logarithm of the level; a slice has `stalls` on
    average, each of `stall_s`. The first tenth of a slice is not counted.
    """

    blocks: int = 6
    slices: int = 4
    queries: int = 700
    qps: float = 1000.0
    block_sigma: float = 0.2
    slice_sigma: float = 0.05
    stalls: float = 0.0
    stall_s: float = 0.02
    cases: tuple[str, ...] = (*CONTROLS, "sham")
    seed: int = 0


CALM = Weather()
STORMY = replace(CALM, stalls=0.5)


def arrays(weather: Weather = CALM) -> dict[str, NDArray[np.generic]]:
    """Return raw samples as colocate writes them."""
    rng = np.random.default_rng(weather.seed)
    found: dict[str, NDArray[np.generic]] = {}
    for block in range(weather.blocks):
        level = -6 + rng.normal(0, weather.block_sigma)
        clock = 0
        for case in weather.cases:
            parts = []
            for number in range(weather.slices):
                part, clock = _slice(rng, weather, level, number, clock)
                parts.append(part)
            for name in parts[0]:
                joined = np.concatenate([part[name] for part in parts])
                found[f"block{block}/{case}/{name}"] = joined
            clock = 0
    return found


def _slice(
    rng: np.random.Generator, weather: Weather, level: float, number: int, clock: int
) -> tuple[dict[str, NDArray[np.generic]], int]:
    n = weather.queries
    gaps = rng.exponential(NS / weather.qps, n)
    scheduled = clock + gaps.cumsum().astype(np.int64)
    latency = rng.lognormal(level + rng.normal(0, weather.slice_sigma), 0.4, n)
    touched = np.zeros(n, np.bool_)
    for at in rng.integers(0, n, rng.poisson(weather.stalls)):
        waits = scheduled[at] + int(weather.stall_s * NS) - scheduled
        hit = (waits > 0) & (np.arange(n) >= at)
        latency[hit] += waits[hit] / NS
        touched |= hit
    done = scheduled + np.maximum(1, (latency * NS).astype(np.int64))
    columns: dict[str, NDArray[np.generic]] = {
        "scheduled_ns": scheduled,
        "started_ns": scheduled,
        "done_ns": done,
        "batch": np.ones(n, np.int32),
        "server": np.zeros(n, np.int32),
        "rows": np.full(n, 32, np.int32),
        "epoch": np.full(n, -1, np.int64),
        "slice": np.full(n, number, np.int32),
        "counted": np.arange(n) >= n // 10,
        "touched": touched,
    }
    return columns, int(done.max())


def write(path: Path, found: dict[str, NDArray[np.generic]], command: str = "colocate") -> Path:
    """Write a document of a command with these raw samples beside it; return where it is."""
    beside = path.with_suffix(".npz")
    digest = write_raw(beside, found)
    config = {"rounds": 2}
    result = Result(
        command=command,
        id="20260102T030405-abcdef",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        lorabench=Program(version="0.1.0"),
        config=config,
        config_hash=config_hash(config),
        environment={"cpu": {"brand_raw": "A Processor"}},
        rounds=[],
        metrics=[],
        claims=[],
        unavailable=[],
        series=[],
        raw=RawFile(name=beside.name, sha256=digest),
    )
    write_result(result, path)
    return path


def sha256(data: bytes) -> str:
    """Return the hash that a document would have of a file."""
    return hashlib.sha256(data).hexdigest()
