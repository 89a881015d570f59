"""Options of every experiment that puts a serving node under load."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lorabench.bench.options import (
    RARE,
    Workload,
    in_milliseconds,
    milliseconds,
    names,
    option,
    rank,
)
from lorabench.errors import InputError

if TYPE_CHECKING:
    from lorabench.isolation.conditions import Condition
    from lorabench.isolation.plan import Request
    from lorabench.targets.load import Traffic
    from lorabench.targets.trace import TieRule


def conditions(text: str) -> "tuple[Condition, ...]":
    """Read isolation conditions that are separated by commas, each once.

    Raises
    ------
    InputError
        One is none.
    """
    # Only now: --help lists options without looking at what a machine offers.
    from lorabench.isolation.conditions import parse_condition

    # Controls are run unasked; who names the sham says nothing new.
    named = names(text)
    asked = [name for name in named if name != "sham"]
    if named and not asked:
        raise InputError(
            "--conditions: found sham alone, expected a trainer's condition beside it, such as "
            "pinned (a sham is as busy as its trainer)"
        )
    return tuple(dict.fromkeys(map(parse_condition, asked)))


@dataclass(frozen=True)
class ApplyTerms:
    """How pushes are applied, where a run has a case for that.

    Parameters
    ----------
    share : float
        Rows of a delta as a share of all, above 0 and at most 1.
    bytes_per_s : float or None
        Most of a delta that is written a second; None for as much as one core can.
    """

    share: float = 0.1
    bytes_per_s: float | None = None


@dataclass(frozen=True)
class ServingOptions(Workload):
    """What is served, how it is loaded, what is trained beside it.

    Attributes
    ----------
    otherwise : str
        Conditions that are run where none are named.
    """

    otherwise: ClassVar[str] = ""

    conditions: "tuple[Condition, ...] | None" = option(
        None,
        "What to run beside solo; None for the experiment's own choice.",
        metavar="C[,C]...",
        parse=conditions,
    )
    rounds: int | None = option(8, "Rounds of all cases; fewer than 6 give no verdict.", least=1)
    duration_s: float | None = option(
        None,
        "Measured seconds of a case in a block.",
        unit="s",
        shown="what a p99 takes, at least 2",
        above=0,
        most=86_400,
    )
    load: float = option(0.5, "Offered load as a share of the measured capacity.", above=0, most=10)
    rank: int | None = option(
        None,
        "Rank of the adapter; auto, 4 to 16, follows the signal in the gradients.",
        metavar="N|auto",
        parse=rank,
        shown="auto",
        least=1,
    )
    seed: int = option(0, "Of rows, arrivals, orders, weights, learning.", least=0)
    checkpoint: Path | None = option(
        None,
        "Serve your own tables and MLPs: a file or folder of tensors with the names of the "
        "reference DLRM or of TorchRec. Without it a model is briefly pre-trained (and cached).",
        metavar="PATH",
        panel=RARE,
    )
    qps: float | None = option(
        None, "Offered load in queries/s, instead of --load.", above=0, most=1e9, panel=RARE
    )
    slo_s: float | None = option(
        None,
        "Latency in ms above which a query is late to a throttle.",
        "--slo-ms",
        metavar="MS",
        parse=milliseconds,
        write=in_milliseconds,
        shown="1.1 times the p99 of solo",
        above=0,
        panel=RARE,
    )
    arrivals: str = option(
        "poisson",
        "poisson, bursts, diurnal or spike (--load is then their peak), or a file of recorded "
        "times: seconds, and maybe a comma and the query's rows.",
        metavar="LAW|FILE",
        panel=RARE,
    )
    spread_ties: bool = option(
        False,
        "Recorded arrivals that share a stamp come at moments within its step, drawn by --seed: "
        "for logs that give whole seconds.",
        panel=RARE,
    )
    keep_ties: bool = option(
        False,
        "... or at once, however coarse stamps are; by default coarse ones are refused.",
        panel=RARE,
    )
    query_rows: str = option(
        "32",
        "Candidate rows a query, or MLPerf's DLRM sizes: 100 to 700, mean 270.",
        metavar="N|mlperf",
        panel=RARE,
    )
    max_batch: int = option(4, "Most queries scored together.", least=1, panel=RARE)
    servers: int | None = option(
        None,
        "Server processes, one a core.",
        shown="all cores but the trainer's",
        panel=RARE,
    )
    serving_cpus: str | None = option(
        None,
        "CPUs of the servers, such as 0-3,8.",
        metavar="LIST",
        shown="the plan's choice",
        panel=RARE,
    )
    trainer_cpus: str | None = option(
        None, "CPUs of the trainer.", metavar="LIST", shown="the plan's choice", panel=RARE
    )
    memory_budget: float = option(
        0.02, "LoRA state as a share of the table bytes, at most.", above=0, most=1, panel=RARE
    )
    label_delay_s: float | None = option(
        None,
        "Seconds from an answer to its label.",
        unit="s",
        shown="the workload's own",
        least=0,
        panel=RARE,
    )
    warmup_s: float = option(
        1.0,
        "Seconds that a trainer learns for, unmeasured, on fresh processes after the first labels.",
        unit="s",
        least=0,
        panel=RARE,
    )
    slice_s: float = option(
        0.5,
        "Measured seconds at a stretch, before it is another case's turn.",
        unit="s",
        least=0.1,
        most=60,
        panel=RARE,
    )
    head_s: float = option(
        0.05,
        "Seconds discarded at the start of each stretch: what the case before left behind.",
        unit="s",
        least=0,
        most=10,
        panel=RARE,
    )
    replay_bytes: int = option(
        16 << 20,
        "Bytes of each server's replay ring.",
        "--replay-bytes",
        unit="B",
        least=4096,
        panel=RARE,
    )
    train_batch: int = option(512, "Most samples the trainer takes at once.", least=1, panel=RARE)
    learning_rate: float = option(
        0.3, "Of the row-wise Adagrad on A.", above=0, below=float("inf"), panel=RARE
    )
    wait: str = option(
        "block",
        "What a server does between arrivals; spinning hides what the scheduler does.",
        choices=("block", "spin"),
        metavar="block|spin",
        panel=RARE,
    )

    @property
    def asked(self) -> "tuple[Condition, ...]":
        """The conditions to run beside serving alone."""
        return conditions(self.otherwise) if self.conditions is None else self.conditions

    @property
    def discarded_s(self) -> float:
        """Time at the start of a case in a round that is not measured."""
        return self.warmup_s + (self.label_delay_s or 0.0)

    def check(self) -> None:
        """Refuse a traffic that is none, and a spike that would not be measured.

        Raises
        ------
        InputError
            Naming the option, what was found and what was expected.
        """
        traffic = self.traffic()
        if self.duration_s is None:
            return
        spike_s = traffic.spike_s(self.discarded_s + self.duration_s)
        if spike_s is not None and spike_s[0] <= self.discarded_s:
            raise InputError(
                f"--duration: found {self.duration_s}, expected a longer one with --arrivals spike "
                f"(the spike would begin {spike_s[0]:.1f} s after the start, within the first "
                f"{self.discarded_s:.1f} s that are discarded)"
            )

    def traffic(self) -> "Traffic":
        """Open what is to be served when.

        Raises
        ------
        InputError
            It is none, or its stamps are too coarse.
        """
        from lorabench.targets.load import open_traffic

        if self.spread_ties and self.keep_ties:
            raise InputError("--spread-ties, --keep-ties: found both, expected one of them")
        ties: TieRule | None = "spread" if self.spread_ties else "keep" if self.keep_ties else None
        return open_traffic(self.arrivals, self.query_rows, ties=ties, seed=self.seed)

    def request(self) -> "Request":
        """Return what the plan has to keep to.

        Raises
        ------
        InputError
            What is given as CPUs is no list of them.
        """
        from lorabench.host.topology import parse_cpu_list
        from lorabench.isolation.plan import Request

        cpus: dict[str, Any] = {}
        for name in ("serving_cpus", "trainer_cpus"):
            text: str | None = getattr(self, name)
            try:
                cpus[name] = None if text is None else parse_cpu_list(text)
            except ValueError as error:
                raise InputError(f"--{name.replace('_', '-')}: {error}") from None
        return Request(self.servers, **cpus)
