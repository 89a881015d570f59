"""What stands where a trainer would: as busy as it is, and nothing else.

A control as medicine has it. It takes the trainer's CPUs, class and throttle, and as much CPU time
in pieces as long, but touches no memory and changes nothing that is served. What a server suffers
beside it is the price of a busy core, whatever that core does; what it suffers more beside the
trainer, is the price of training.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lorabench._kernels.serve import calculate
from lorabench.targets.node.settings import Sham


class Calculation:
    """Works off a share of the time in pieces.

    Parameters
    ----------
    sham : Sham
        How much, in what pieces.
    threads : int
        How many share a piece, as the trainer's threads share a step.
    clock : callable
        Now, s.
    cpu : callable
        CPU time that this process has taken, s: all of it counts, as all of a trainer's does.
    """

    def __init__(
        self,
        sham: Sham,
        threads: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._sham = sham
        self._threads = threads
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._cpu = cpu
        self._begun_s, self._begun_cpu_s = clock(), cpu()

    def step(self) -> int:
        """Do a piece where the share is behind; return 1, or 0 where there is nothing to do."""
        spent_s = self._cpu() - self._begun_cpu_s
        if spent_s >= self._sham.share * (self._clock() - self._begun_s):
            return 0
        piece_ns = max(1, round(self._sham.burst_s / self._threads * 1e9))
        others = []
        if self._pool is not None:
            others = [self._pool.submit(calculate, piece_ns) for _ in range(self._threads - 1)]
        calculate(piece_ns)
        for other in others:
            other.result()
        return 1

    def close(self) -> None:
        """End its threads."""
        if self._pool is not None:
            self._pool.shutdown()
