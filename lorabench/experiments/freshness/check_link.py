"""Whether the model of the link is true: real transfers, held against `Link.transfer_s`.

Two processes of this machine send buffers over a wire whose rate is known, since it is shaped
(`lorabench.updates.shaped`), and the model predicts what that takes from the rate, from the share
of it that headers leave, and from what a transfer of one byte waits for. Where no wire can be had,
they send over loopback, which has no rate of its own: what the CPUs copy is measured on the largest
transfer, and predicts the others. All kinds take turns in shuffled order, a round after the other.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lorabench.bench.experiment import Experiment, Findings, Observer
from lorabench.bench.options import resolved
from lorabench.errors import MachineError
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.host.missing import Missing
from lorabench.results.case import Case, Label
from lorabench.results.metrics import MetricTable
from lorabench.results.statistics import Estimate, median
from lorabench.results.sync import Trials, sync_link
from lorabench.updates import shaped
from lorabench.updates.link import Link
from lorabench.updates.transfer import Transfer, TransferPair

if TYPE_CHECKING:
    from lorabench.updates.trial import Format

DIM = 64
"""D of the rows that are sent, unless ``--dim`` says another."""

_MB = 1_000_000
_MBIT = 1e6
# Sent before anything counts, so that TCP's window is open.
_WARM_UP_BYTES = 2 * _MB
# A transfer may take so many times what the rate promises, and some seconds more.
_PATIENCE, _PATIENCE_S = 20.0, 60.0


@dataclass(frozen=True)
class Kind:
    """A kind of transfer.

    Parameters
    ----------
    mbit_per_s : float or None
        What the wire is shaped to; None for loopback.
    form : Format
        What is sent.
    size : int
        Bytes, of which whole rows are sent; 1 for what a transfer waits for, whatever its size.
    """

    mbit_per_s: float | None
    form: "Format"
    size: int

    @property
    def link(self) -> str:
        """What it is sent over."""
        return "loopback" if self.mbit_per_s is None else f"{self.mbit_per_s:g} Mbit/s"

    @property
    def case(self) -> Case:
        """Its name and labels."""
        content = self.form.content
        what = "1 B" if self.size == 1 else f"{self.size / _MB:g} MB"
        what += "" if content == "bytes" else f" {content}"
        labels: dict[str, Label] = {"link": self.link, "content": content, "bytes": self.size}
        return Case(f"{self.link}, {what}", labels)


def kinds(options: FreshnessOptions, rates: tuple[float | None, ...]) -> list[Kind]:
    """Return what is sent: bytes of each size over each link, and rows of the largest."""
    from lorabench.updates.trial import CONTENTS, Format

    sizes = sorted({round(size * _MB) for size in options.check_sizes})
    dim = options.dim or DIM
    return [
        Kind(rate, Format(content, dim), size)
        for rate in dict.fromkeys(rates)
        for content in CONTENTS
        for size in ([1, *sizes] if content == "bytes" else sizes[-1:])
    ]


class LinkCheck(Experiment):
    """Transfers over a shaped wire, or over loopback where there can be none.

    As `Experiment`.
    """

    options: FreshnessOptions
    alone: ClassVar[bool] = True

    def __init__(self, options: FreshnessOptions) -> None:
        super().__init__(options)
        self._missing: Missing | None = None
        self._found: dict[Kind, list[Transfer]] = {}

    def measure(self, observer: Observer) -> None:
        """Send every kind once a round.

        Raises
        ------
        TransferError
            One of the two processes ended or hung.
        """
        observer.stage("two processes meet", 0.0)
        try:
            with TransferPair(on_wire=True) as pair:
                pair.shape(self.options.check_rates[0] * _MBIT)
                self._measure(pair, observer, self.options.check_rates)
        except MachineError as error:
            if self._found:
                raise
            self._missing = Missing(
                "a link shaped by tc-tbf(8)", str(error), "be root, with pyroute2 (lorabench[link])"
            )
            with TransferPair(on_wire=False) as pair:
                self._measure(pair, observer, (None,))

    def _measure(
        self, pair: TransferPair, observer: Observer, rates: tuple[float | None, ...]
    ) -> None:
        every = kinds(self.options, rates)
        drawn = random.Random(self.options.seed)
        rounds = self.options.check_repeats
        whole = rounds * sum(map(_nominal_s, every))
        done = 0.0
        self._send(pair, Kind(every[0].mbit_per_s, every[0].form, _WARM_UP_BYTES), drawn)
        for number in range(rounds):
            found: dict[Kind, Transfer] = {}
            for kind in drawn.sample(every, len(every)):
                observer.stage(f"round {number + 1} of {rounds}", done / whole)
                found[kind] = self._send(pair, kind, drawn)
                done += _nominal_s(kind)
            # Of rounds that are through, so that every kind has as many.
            for kind in every:
                self._found.setdefault(kind, []).append(found[kind])

    def _send(self, pair: TransferPair, kind: Kind, drawn: random.Random) -> Transfer:
        if kind.mbit_per_s is not None:
            pair.shape(kind.mbit_per_s * _MBIT)
        within_s = _PATIENCE * _nominal_s(kind) + _PATIENCE_S
        return pair.transfer(kind.form, kind.size, drawn.getrandbits(32), within_s)

    def findings(self) -> Findings | None:
        """Return what the rounds say that are through."""
        if not self._found:
            return None
        links = self._links()
        table = MetricTable()
        ratios: dict[str, Estimate] = {}
        for kind, transfers in self._found.items():
            case = kind.case
            table.add("transfer_s", case, *(one.transfer_s for one in transfers))
            if kind.form.content != "bytes":
                table.add("transfer_encode_s", case, *(one.encode_s for one in transfers))
                table.add("transfer_decode_s", case, *(one.decode_s for one in transfers))
            if kind.size > 1:
                model_s = links[kind.link].transfer_s(transfers[0].size)
                table.put("transfer_model_s", case, Estimate(model_s, None, len(transfers)))
            if kind.size > 1 and kind != self._reference():
                table.add(
                    "transfer_model_ratio", case, *(one.transfer_s / model_s for one in transfers)
                )
                ratio = table.estimate("transfer_model_ratio", case)
                assert ratio is not None
                ratios[case.text] = ratio
        about = list(self._about(links))
        config: dict[str, Any] = {"experiment": resolved(self.options)}
        told = {name: _told(link) for name, link in links.items()}
        return Findings(
            config | {"link": {"about": about, "links": told}},
            hashed=config | {"shaped": self._missing is None},
            table=table,
            claims=[sync_link(Trials(about[0], ratios))],
            unavailable=[] if self._missing is None else [self._missing],
        )

    def _reference(self) -> Kind | None:
        """Return what the rate of loopback is measured on; None where it is shaped."""
        if self._missing is None:
            return None
        plain = [kind for kind in self._found if kind.form.content == "bytes"]
        return max(plain, key=lambda kind: kind.size)

    def _links(self) -> Mapping[str, Link]:
        """Return the model of each link."""
        found = {}
        for kind in self._found:
            if kind.size == 1:
                wait_s = self._median_s(kind)
                rate, efficiency = kind.mbit_per_s, shaped.payload_efficiency()
                if rate is None:
                    reference = self._reference()
                    assert reference is not None
                    taken_s = self._median_s(reference) - wait_s
                    rate, efficiency = reference.size * 8 / taken_s / _MBIT, 1.0
                found[kind.link] = Link(rate * _MBIT, 1, efficiency, wait_s)
        return found

    def _median_s(self, kind: Kind) -> float:
        found = median([one.transfer_s for one in self._found[kind]])
        assert found is not None
        return found.value

    def _about(self, links: Mapping[str, Link]) -> Iterator[str]:
        """Say where the figures of the model are from."""
        reference = self._reference()
        if reference is None:
            yield "Over a wire between two network namespaces, shaped to a known rate"
            yield (
                f"Payload gets {shaped.payload_efficiency():.4f} of it (MTU {shaped.MTU}); the "
                f"first {shaped.BURST_BYTES >> 10} KiB of a transfer pass at once"
            )
        else:
            rate = links[reference.link].bits_per_s / _MBIT
            yield (
                f"Over loopback, which is as fast as CPUs copy ({rate:,.0f} Mbit/s of payload, "
                f"measured on {reference.size / _MB:g} MB)"
            )
        waits = ", ".join(f"{link.round_trip_s * 1e3:.3f}" for link in links.values())
        yield f"A transfer of one byte takes {waits} ms, which the model adds to each"


def _nominal_s(kind: Kind) -> float:
    """Return about what a transfer takes, to draw progress and to lose patience by."""
    rate = 1_000.0 if kind.mbit_per_s is None else kind.mbit_per_s
    return kind.size * 8 / (rate * _MBIT) + 0.05


def _told(link: Link) -> dict[str, float]:
    return {
        "bits_per_s": link.bits_per_s,
        "efficiency": link.efficiency,
        "round_trip_s": link.round_trip_s,
    }
