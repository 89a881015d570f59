"""Options of ``lorabench freshness`` on sweeps, protocols in print and recorded deltas."""

from dataclasses import dataclass

from lorabench.bench.options import RARE, flags, names, option, options_of
from lorabench.errors import InputError
from lorabench.experiments.freshness.link_options import LinkOptions

DRIFT_KINDS = ("trades", "newcomers", "row-taste", "shared-taste")
"""As `lorabench.workload.spec.PhaseSpec` has them."""

MONOLITH, NEXT_WINDOW = "monolith", "next-window"

SHARDS = 10
"""Of Monolith's three numbers the first."""

# What takes time takes none there, and a deltas' own time counts for nothing.
_NOT_BESIDE_PROTOCOL = {
    *("emt_bytes", "link_gbps", "push_interval_s", "links", "link_efficiency", "round_trip_s"),
    *("hosts", "compute_model", "save_compute_model", "deltas", "sweep"),
}
_NOT_BESIDE_SWEEP = {
    *("adapter", "save_adapter", "deltas", "save_deltas", "save_touch_trace"),
    "save_compute_model",
}


def _pair(text: str) -> tuple[str, ...]:
    found = names(text)
    if len(found) != 2 or found[0] == found[1]:
        raise ValueError("two strategies, such as lora,delta")
    return found


@dataclass(frozen=True)
class StudyOptions(LinkOptions):
    """What is replayed otherwise than by default, and what is read or written of it."""

    sweep: tuple[str, ...] = option(
        (),
        "Replay at each of these values, such as push-interval=60,600; given twice, at each pair.",
        metavar="NAME=V,V...",
        panel=RARE,
    )
    sweep_of: tuple[str, ...] = option(
        ("lora", "delta"),
        "Two strategies; --sweep is for the first one's AUC less the second's.",
        metavar="A,B",
        parse=_pair,
        panel=RARE,
    )
    protocol: str | None = option(
        None,
        "Replay as others have printed it: Monolith's Algorithm 1, or train on windows up to T "
        "and evaluate window T + 1.",
        choices=(MONOLITH, NEXT_WINDOW),
        panel=RARE,
    )
    shards: int | None = option(
        None, "Of --protocol monolith.", shown=str(SHARDS), least=2, panel=RARE
    )
    pretrain: float | None = option(
        None,
        "Share of the stream that pre-trains the model.",
        shown="the workload's rows; of monolith 5/7, of next-window a window",
        above=0,
        below=1,
        panel=RARE,
    )
    drift_strength: float = option(
        1.0,
        "Multiply all speeds of the workload's drift by this.",
        least=0,
        below=float("inf"),
        panel=RARE,
    )
    drift_kind: str | None = option(
        None, "Of the workload's drift, only this.", choices=DRIFT_KINDS, panel=RARE
    )
    deltas: str | None = option(
        None, "Recorded pushes, which the strategy deltas sends.", metavar="DIR", panel=RARE
    )
    save_deltas: str | None = option(
        None,
        "Record the pushes of delta, or of the only strategy that sends any, as files.",
        metavar="DIR",
        panel=RARE,
    )

    def check_study(self) -> None:
        """Refuse options that would have no effect.

        Raises
        ------
        InputError
            Naming them.
        """
        if self.protocol is None and self.shards is not None:
            raise InputError("--shards: found it without --protocol monolith, expected both")
        if self.protocol == NEXT_WINDOW and self.shards is not None:
            raise InputError(
                "--shards: found it beside --protocol next-window, expected --windows there"
            )
        if self.protocol is not None:
            self._check_protocol()
        if self.data is not None and (self.drift_strength != 1 or self.drift_kind is not None):
            given = "--drift-strength" if self.drift_strength != 1 else "--drift-kind"
            raise InputError(
                f"{given}: found --data beside it, expected a preset: rows that are there drift "
                "as they do"
            )
        if self.sweep:
            self._check_sweep()
        elif self.sweep_of != StudyOptions.sweep_of:
            raise InputError("--sweep-of: found it without --sweep, expected both")

    def _check_sweep(self) -> None:
        for one, known in options_of(type(self)):
            if one.name in _NOT_BESIDE_SWEEP and getattr(self, one.name) != one.default:
                raise InputError(
                    f"{flags(one, known)[0]}: found it beside --sweep, whose points differ; "
                    "expected one or the other"
                )

    def _check_protocol(self) -> None:
        for one, known in options_of(type(self)):
            given = getattr(self, one.name) != one.default
            if given and one.name in _NOT_BESIDE_PROTOCOL:
                raise InputError(
                    f"{flags(one, known)[0]}: found it beside --protocol, which synchronises at a "
                    "window's end and at no cost; expected one or the other"
                )
            if given and one.name == "windows" and self.protocol == MONOLITH:
                raise InputError(
                    "--windows: found it beside --protocol monolith, expected --shards there"
                )
