"""The smallest command: it counts, so that the runner can be seen at work."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from lorabench.bench.command import Command
from lorabench.bench.experiment import Experiment, Findings, Observer, Preview
from lorabench.bench.options import option
from lorabench.host.owner import VARIABLE
from lorabench.results.case import Case
from lorabench.results.schema import Claim, Result


@dataclass(frozen=True)
class CountingOptions:
    """How far, and what happens on the way."""

    upto: int = option(3, "How far.", least=1)
    stop_at: int | None = option(None, "Where Ctrl-C comes.")
    fail_at: int | None = option(None, "Where it breaks.")
    limit: int = option(10, "More than that is missed.")
    dry_run: bool = option(False, "Only say what would be.")
    beside: Path | None = option(None, "A further file.")
    together: bool = option(False, "Beside other runs.")
    ends_at: int | None = option(None, "Where there is no more to count.")
    said: str = option("", "What somebody else wrote of it.")
    ballast: int = option(0, "Bytes of it beside.", least=0)


class Counting(Experiment):
    """Counts up, a case a number."""

    options: CountingOptions
    alone = True

    def __init__(self, options: CountingOptions) -> None:
        super().__init__(options)
        self.counted: list[int] = []
        self.locked = self.closed = False
        LAST.append(self)

    def preview(self) -> Preview | None:
        if not self.options.dry_run:
            return None
        return Preview([f"would count to {self.options.upto}"], {"upto": self.options.upto})

    def also_written(self) -> list[str]:
        return [str(self.options.beside)] if self.options.beside else []

    def keeps_logs(self) -> bool:
        return bool(self.options.said)

    def measure(self, observer: Observer) -> None:
        self.room(self.options.ballast, 10 * self.options.ballast)
        self.locked = VARIABLE in os.environ
        for number in range(self.options.upto):
            if number == self.options.stop_at:
                raise KeyboardInterrupt
            if number == self.options.fail_at:
                raise RuntimeError("it broke")
            if number == self.options.ends_at:
                return
            for act in MEANWHILE:
                act()
            observer.case(number + 1, self.options.upto, str(number))
            self.counted.append(number)

    def findings(self) -> Findings | None:
        if not self.counted:
            return None
        found = Findings({"experiment": {"upto": self.options.upto}}, machine={"cpu": "abacus"})
        for number in self.counted:
            found.table.add("rank", Case(f"n{number}", {"number": number}), float(number))
        missed = len(self.counted) > self.options.limit
        claim = Claim(
            id="counting.short",
            statement="it is short",
            target=self.options.limit,
            measured=len(self.counted),
            ci95=None,
            verdict="missed" if missed else "met",
            basis="derived",
            reason="it was counted",
        )
        found.claims = [claim]
        found.raw = {"counted": np.array(self.counted)}
        if self.options.ballast:
            noise = np.random.default_rng(0).integers(0, 256, self.options.ballast, np.uint8)
            found.raw = {**found.raw, "ballast": noise}
        if self.options.said:
            found.logs = {"n0/mlperf_log_detail.txt": self.options.said.encode()}
        found.environment = {"mood": "calm"}
        found.notes = ["one hand was hidden"] * 2
        found.partial = self.options.ends_at is not None
        return found

    def close(self) -> None:
        self.closed = True


LAST: list[Counting] = []

# What happens on the machine while it counts.
MEANWHILE: list[Callable[[], None]] = []


def render(result: Result, console: Console) -> None:
    console.print(f"counted {len(result.metrics)}")


COUNTING = Command(
    "count",
    "Count.",
    CountingOptions,
    experiment="counting:Counting",
    view="counting:render",
    beside=".npz",
    logs=".mlperf",
)
