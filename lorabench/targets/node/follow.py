"""What the CPUs did while a slice of a case was measured, by the kernel's counters."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from lorabench.host.counters import CpuUse, Snapshot
from lorabench.host.quota import ThrottleWatch
from lorabench.targets.node.settings import NodeCase
from lorabench.targets.target import CpuUsage
from lorabench.targets.trace import NS


def follow(
    case: NodeCase, start_ns: int, pids: Sequence[int], trainer: int | None, limits: ThrottleWatch
) -> CpuUsage:
    """Read the CPUs' counters at both ends of the measured window, which passes meanwhile.

    Parameters
    ----------
    case : NodeCase
        With its window.
    start_ns : int
        When its clock read 0.
    pids : sequence of int
        All workers.
    trainer : int or None
        The one of them that is the trainer.
    limits : ThrottleWatch
        Begins to count with the window. It has to be asked later: the kernel counts a stop only
        at the end of its period, when the servers go on.
    """
    settings = case.settings
    near = case.cpus if settings is None else settings.cpus
    begin_s, end_s = case.window_s
    with ExitStack() as stack:
        watched = None
        if case.watch and settings is not None:
            assert trainer is not None
            watched = stack.enter_context(CpuUse(trainer).sampling())
        _sleep_until(start_ns + int(begin_s * NS))
        limits.begin()
        before = Snapshot.take(pids, case.cpus), Snapshot.take((), near)
        _sleep_until(start_ns + int(end_s * NS))
        spent = Snapshot.take(pids, case.cpus) - before[0]
        beside = Snapshot.take((), near) - before[1]
    samples = np.zeros((0, 2)) if watched is None else watched.samples
    samples[:, 0] -= start_ns
    return CpuUsage(
        cpu_busy=spent.cpu_busy if spent.told else math.nan,
        steal_s=spent.steal_s,
        involuntary_switches=spent.involuntary_switches,
        trainer_cpu_s=0.0 if trainer is None else spent.cpu_s[trainer],
        trainer_idle_s=beside.idle_s,
        trainer_cpus=len(near),
        trainer_cpu=samples,
    )


def _sleep_until(deadline_ns: int) -> None:
    time.sleep(max(0, deadline_ns - time.monotonic_ns()) / NS)
