"""Replicates of `freshness` whose figures are known, and the tables made of them."""

from collections.abc import Sequence

import numpy as np

from lorabench.experiments.freshness.metrics import FreshnessTable
from lorabench.experiments.freshness.quality import Quality, Replayed, Replicate, blocks_of
from lorabench.strategies.registry import parse

WINDOWS = 4
NONE = [0.5, 0.5, 0.5, 0.5]
IDEAL = [0.6, 0.6, 0.7, 0.7]


def replayed(name: str, areas: Sequence[float | None], **known: object) -> Replayed:
    quality = Quality(WINDOWS, list(areas), list(areas), areas[-1] if areas else None)
    found = Replayed(parse(name), quality, done=len(areas) == WINDOWS)
    for key, value in known.items():
        setattr(found, key, value)
    return found


def replicate(seed: int, *strategies: Replayed) -> Replicate:
    times = [10.0 * number + seed for number in range(WINDOWS)]
    return Replicate(seed, 1000, 0, "made up", times, strategies, None)


def measured(*replays: Replicate, blocks: int = 1) -> FreshnessTable:
    found = FreshnessTable(replays, blocks_of(WINDOWS, blocks))
    found.fill()
    return found


def usual(seed: int, lora: Sequence[float | None] = (0.5, 0.55, 0.6, 0.7), **known) -> Replicate:
    return replicate(
        seed, replayed("none", NONE), replayed("lora", lora, **known), replayed("ideal", IDEAL)
    )


def late(name: str, areas: Sequence[float], latency_s, waiting_s=(), **known: object) -> Replayed:
    return replayed(
        name,
        areas,
        staleness_s=np.array([1.0, 2.0, 3.0], np.float32),
        latency_s=np.array(latency_s, np.float32),
        waiting_s=np.array(waiting_s, np.float32),
        **known,
    )
