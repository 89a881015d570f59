"""Load-sensitive scheduling: how much the trainer may work, by how the servers are doing.

A pure control law over what the servers tell in their load lines
(`lorabench._kernels.serve.LoadLines`), and the pacing that turns its answer, a duty, into pauses
between training steps. Nothing here knows what is trained. The law is additive increase,
multiplicative decrease (Chiu and Jain 1989): it needs no model of the machine, gives way at once
and comes back slowly.

*Tail.* The latency limit is a p99, so one query in a hundred may be later than it. Evidence that
more are is gathered by a one-sided cumulative sum (Page 1954, for Poisson counts with 1 % against
3 %): a query that is late adds 1 - 0.018, one that is not takes 0.018 away, never below 0. Above 3
there is an alarm: that takes four late queries close together, and a stall that makes ten late at
once counts as one. An alarm says that queries are late, not why: on a shared machine somebody else
may slow the servers down. So the trainer stops for 60 ms and looks. If answers, from 10 ms on, go
on being late without it, it was not the cause: it goes on as before and takes no alarm for 1 s.
Otherwise the duty is halved.

*Queue.* When more queries are due than four full batches hold, the trainer stops until they are
not.

*Busy share*, where the trainer shares the servers' cores. At a high load even what little a trainer
costs each query is multiplied by the queue, so above a busy share of 0.85 (averaged over 25 ms) the
trainer stops, and goes on below 0.7.

Otherwise the duty grows by 1 every 0.5 s, up to 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

_NS = 1_000_000_000

# Of a queue that is being watched: busy ns, queries answered, late ones, due (LoadLines.read).
Counters = tuple[int, int, int, int]


@dataclass(frozen=True)
class ThrottleRule:
    """Gains and bounds of the control law; the module says what each is for.

    Parameters
    ----------
    limit_s : float
        Latency above which a query is late.
    due_high : int
        Queries waiting at one server at which the trainer stops.
    shared : bool
        The trainer runs on the servers' cores: watch their busy share too.
    late_share : float
        Share of late queries that neither raises nor lowers the evidence.
    evidence : float
        How much of it is an alarm.
    check_s, settle_s : float
        How long an alarm stops the trainer, and after what part of it answers show whether that
        helps.
    immune_s : float
        How long no alarm is taken after a stop that did not help.
    decrease : float
        What the duty is multiplied by after one that did.
    increase_per_s : float
        What it grows by otherwise.
    least_duty : float
        What it is never halved below; only stopping goes further.
    busy_high, busy_low : float
        Busy share of a server's core above which to stop, and below which to go on.
    busy_s : float
        Time constant of the busy share's average.
    """

    limit_s: float
    due_high: int
    shared: bool
    late_share: float = 0.018
    evidence: float = 3.0
    check_s: float = 0.06
    settle_s: float = 0.01
    immune_s: float = 1.0
    decrease: float = 0.5
    increase_per_s: float = 2.0
    least_duty: float = 0.05
    busy_high: float = 0.85
    busy_low: float = 0.7
    busy_s: float = 0.025


class Throttle:
    """The control law: from counters to a duty, 0 to 1.

    Parameters
    ----------
    rule : ThrottleRule
        Gains and bounds.
    servers : int
        How many are watched; the one that does worst decides.

    Attributes
    ----------
    duty : float
        Share of the time that the trainer may work; 0 while it is stopped.
    busy : float
        Busy share of the busiest server.
    """

    def __init__(self, rule: ThrottleRule, servers: int) -> None:
        self._rule = rule
        self._before: list[Counters] = [(0, 0, 0, 0)] * servers
        self._busy = [0.0] * servers
        self._evidence = [0.0] * servers
        self._at_ns: int | None = None
        self._grown = 1.0
        self._stopped = False
        self._alarm_ns: int | None = None
        self._proof = 0.0
        self._immune_ns = 0

    @property
    def duty(self) -> float:
        """What the trainer may do now."""
        return 0.0 if self._stopped or self._alarm_ns is not None else self._grown

    @property
    def busy(self) -> float:
        """Busy share of the busiest server, averaged."""
        return max(self._busy)

    def resume(self, now_ns: int, counters: Sequence[Counters]) -> None:
        """Go on after a pause in which the servers served others, as if there had been none.

        Parameters
        ----------
        now_ns : int
            Now.
        counters : sequence of tuple of int
            What the servers tell now; what they counted in the pause says nothing.
        """
        self._before = list(counters)
        self._stopped = False
        if self._at_ns is None:
            return
        pause_ns = now_ns - self._at_ns
        self._at_ns = now_ns
        self._immune_ns += pause_ns
        if self._alarm_ns is not None:
            self._alarm_ns += pause_ns

    def update(self, now_ns: int, counters: Sequence[Counters]) -> float:
        """Take in what the servers tell at a moment, and decide anew.

        Parameters
        ----------
        now_ns : int
            Now; never before the last call's.
        counters : sequence of tuple of int
            As `lorabench._kernels.serve.LoadLines.read` gives them.

        Returns
        -------
        float
            The duty.
        """
        rule = self._rule
        passed_s = 0.0 if self._at_ns is None else (now_ns - self._at_ns) / _NS
        self._at_ns = now_ns
        alarm = 0.0
        for server, (now, before) in enumerate(zip(counters, self._before, strict=True)):
            busy_ns, queries, late, _ = (b - a for a, b in zip(before, now, strict=True))
            if passed_s > 0:
                share = min(1.0, max(0.0, busy_ns / (passed_s * _NS)))
                weight = 1.0 - math.exp(-passed_s / rule.busy_s)
                self._busy[server] += weight * (share - self._busy[server])
            more = late - rule.late_share * queries
            if self._alarm_ns is not None and now_ns - self._alarm_ns > rule.settle_s * _NS:
                self._proof += more
            # What came together while no alarm was taken says nothing about now.
            gathered = self._evidence[server] + more if now_ns >= self._immune_ns else 0.0
            self._evidence[server] = max(0.0, gathered)
            alarm = max(alarm, self._evidence[server])
        self._before = list(counters)
        if self._alarm_ns is not None:
            if now_ns - self._alarm_ns >= rule.check_s * _NS:
                self._conclude(now_ns)
        elif alarm > rule.evidence and now_ns >= self._immune_ns:
            self._alarm_ns, self._proof = now_ns, 0.0
        elif not self._stopped:
            self._grown = min(1.0, self._grown + rule.increase_per_s * passed_s)
        self._stopped = self._must_stop(max(due for *_, due in counters))
        return self.duty

    def _conclude(self, now_ns: int) -> None:
        """End the stop that followed an alarm, and say whether the trainer was the cause."""
        rule = self._rule
        if self._proof > 0.0:
            self._immune_ns = now_ns + round(rule.immune_s * _NS)
        else:
            self._grown = max(rule.least_duty, self._grown * rule.decrease)
        self._alarm_ns = None
        self._evidence = [0.0] * len(self._evidence)

    def _must_stop(self, due: int) -> bool:
        rule = self._rule
        if due >= rule.due_high:
            return True
        if not rule.shared:
            return False
        return self.busy > (rule.busy_low if self._stopped else rule.busy_high)


# How often the law is asked while the trainer rests, and how often its state is written down.
_PERIOD_S = 0.002
_TRACE_NS = 10_000_000

TRACE_COLUMNS = ("time_ns", "duty", "busy", "due")


class Pacer:
    """Pauses between training steps that keep to a duty, fixed or the law's.

    Ask `wait_s` before every step, and tell with `worked` what the step took.

    Parameters
    ----------
    duty : float
        Share of the time to work, above 0 and at most 1, before the law has its say.
    threads : int
        Of the trainer: CPU time is shared out among them.
    throttle : Throttle, optional
        The law; without it the duty is fixed.
    read : callable, optional
        From now in ns to the servers' counters; goes with `throttle`.
    clock : callable
        Now, in the ns of `time.monotonic_ns`.
    stops_only : bool
        Rest where the law stops, and not in proportion to its duty: what is paced keeps to a share
        that has the duty in it already.
    """

    def __init__(
        self,
        duty: float,
        threads: int,
        *,
        throttle: Throttle | None = None,
        read: Callable[[int], Sequence[Counters]] | None = None,
        clock: Callable[[], int] = monotonic_ns,
        stops_only: bool = False,
    ) -> None:
        self._duty = duty
        self._stops_only = stops_only
        self._threads = threads
        self._throttle = throttle
        self._read = read
        self._clock = clock
        self._owed_s = 0.0
        self._asked_ns = clock()
        self._noted_ns: int | None = None
        self._trace: list[tuple[float, float, float, float]] = []
        if throttle is not None and read is not None:
            throttle.resume(self._asked_ns, read(self._asked_ns))

    def wait_s(self) -> float:
        """Return how long to rest before asking again; 0 means: work."""
        now = self._clock()
        passed_s = (now - self._asked_ns) / _NS
        self._asked_ns = now
        duty = self._duty
        if self._throttle is not None and self._read is not None:
            counters = self._read(now)
            before = self._throttle.duty
            allowed = self._throttle.update(now, counters)
            duty *= float(allowed > 0.0) if self._stops_only else allowed
            self._note(now, before, max(due for *_, due in counters))
        if duty == 0.0:
            return _PERIOD_S
        # What a step is followed by is rest in proportion; a duty of 1 owes nothing.
        self._owed_s -= passed_s * duty / (1.0 - duty) if duty < 1.0 else math.inf
        if self._owed_s <= 0.0:
            self._owed_s = 0.0
            return 0.0
        needed_s = self._owed_s * (1.0 - duty) / duty
        return needed_s if self._throttle is None else min(needed_s, _PERIOD_S)

    def worked(self, cpu_s: float) -> None:
        """Tell that a step took so much CPU time, all threads together."""
        self._owed_s += cpu_s / self._threads
        self._asked_ns = self._clock()

    @property
    def trace(self) -> NDArray[np.float64]:
        """What the law did: float64 [n, 4], a row of `TRACE_COLUMNS` at least every 10 ms of it."""
        return np.array(self._trace, np.float64).reshape(-1, len(TRACE_COLUMNS))

    def _note(self, now: int, before: float, due: int) -> None:
        assert self._throttle is not None
        changed = (self._throttle.duty == 0.0) != (before == 0.0)
        if self._noted_ns is None or changed or now - self._noted_ns >= _TRACE_NS:
            self._noted_ns = now
            self._trace.append((now, self._throttle.duty, self._throttle.busy, due))
