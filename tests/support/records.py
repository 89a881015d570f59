"""Records as a target would make them, from the few columns that a test is about."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lorabench.targets.load import Schedule
from lorabench.targets.target import Answers, Record

NS = 1_000_000_000


def record(
    scheduled: Sequence[int],
    done: Sequence[int],
    *,
    started: Sequence[int] | None = None,
    server: Sequence[int] | None = None,
    rows: int = 1,
    window_ns: tuple[int, int] = (0, NS),
    **columns: Any,
) -> Record:
    """Return one slice; what is not given is as of queries served one by one, at once."""
    n = len(done)
    answers = Answers.unserved(n, n * rows)
    answers.done[:] = done
    answers.started[:] = scheduled if started is None else started
    answers.batch[:] = answers.done > 0
    named = ("train", "before", "throttled")
    others = {name: columns.pop(name) for name in named if name in columns}
    for name, values in columns.items():
        getattr(answers, name)[:] = values
    schedule = Schedule(
        np.array(scheduled, np.int64),
        np.zeros(n, np.int32) if server is None else np.array(server, np.int32),
        np.full(n, rows, np.int32),
    )
    return Record(
        **vars(answers),
        condition="solo",
        schedule=schedule,
        windows_ns=np.array([window_ns], np.int64),
        slices=np.zeros(n, np.int32),
        length_s=window_ns[1] / NS,
        cpu_busy=0.0,
        steal_s=0.0,
        involuntary_switches=0,
        trainer_cpu_s=0.0,
        trainer_idle_s=0.0,
        trainer_cpus=1,
        trainer_cpu=np.zeros((0, 2)),
        **others,
    )
