"""Options of ``lorabench colocate``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorabench.bench.options import RARE, option
from lorabench.bench.serving.options import ApplyTerms, ServingOptions, conditions
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.isolation.conditions import Condition

DEFAULT_CONDITIONS = "naive,pinned,isolated"

MAX_MINUTES = 10.0


@dataclass(frozen=True)
class ColocateOptions(ServingOptions):
    """What a run of the experiment is asked for."""

    otherwise = DEFAULT_CONDITIONS

    conditions: "tuple[Condition, ...] | None" = option(
        None,
        "What to run beside the controls: a place for the trainer (naive: anywhere; pinned: its "
        "own cores; shared: the servers'), mechanisms joined by + (numa, rdt, cgroup, batch, idle, "
        "throttle, reuse, rank-change), a bundle (numa, rdt, isolated: all), or delta-apply or "
        "stream-apply.",
        metavar="C[,C]...",
        parse=conditions,
        shown=DEFAULT_CONDITIONS,
    )
    rounds: int | None = option(
        None,
        "Run so many blocks, on fresh processes each, instead.",
        least=1,
    )
    decide: bool = option(
        False,
        "Run until the verdicts about latency are known; the default.",
    )
    max_minutes: float | None = option(
        None,
        "... but no longer than this.",
        shown="10; of two versions 15",
        above=0,
        most=10_000,
    )
    require: tuple[str, ...] = option(
        (),
        "Exit with 3 if this condition cannot be run here; may be repeated.",
        metavar="C",
        panel=RARE,
    )
    plan: Path | None = option(
        None,
        "Take this plan, JSON as --dry-run --json prints it, instead of making one.",
        metavar="FILE",
        panel=RARE,
    )
    apply_share: float = option(
        ApplyTerms.share,
        "Rows of the push of delta-apply, as a share of all.",
        above=0,
        most=1,
        panel=RARE,
    )
    apply_mb_s: float | None = option(
        None,
        "MB/s (10^6 bytes) at which delta-apply writes, at most.",
        shown="what one core can",
        above=0,
        most=1e9,
        panel=RARE,
    )
    load_generator: str = option(
        "own",
        "mlperf: after the rounds, MLCommons LoadGen drives the servers too, and its latency "
        "stands beside ours (the extra mlperf).",
        choices=("own", "mlperf"),
        metavar="own|mlperf",
        panel=RARE,
    )
    dry_run: bool = option(False, "Check the checkpoint, print the plan, stop.")

    @property
    def apply(self) -> ApplyTerms:
        """How pushes are applied."""
        return ApplyTerms(
            self.apply_share, None if self.apply_mb_s is None else self.apply_mb_s * 1e6
        )

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        super().check()
        if self.rounds is not None:
            for given, name in ((self.decide, "--decide"), (self.max_minutes, "--max-minutes")):
                if given:
                    raise InputError(f"{name}: found it beside --rounds, expected one of the two")
        if self.plan is not None:
            for name in ("servers", "serving_cpus", "trainer_cpus"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"--{name.replace('_', '-')}: found it beside --plan, expected one of the "
                        "two"
                    )
        if self.load_generator == "mlperf":
            self._check_loadgen()

    def _check_loadgen(self) -> None:
        """Refuse what LoadGen's Server scenario does not go with, and that it is not there."""
        from lorabench.targets.loadgen import require_loadgen

        if self.arrivals != "poisson":
            raise InputError(
                f"--arrivals: found {self.arrivals!r} beside --load-generator mlperf, expected "
                "poisson: LoadGen's Server scenario has no other"
            )
        if not self.dry_run:
            require_loadgen()
