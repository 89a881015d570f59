"""The link between a training and a serving cluster, and what a push over it takes.

The tables of a replay stand for a larger set (`Scale`): what counts is the *fraction* of it that
is sent. A push is gathered and encoded by the trainers, sent over the link, and written into the
served tables by as many hosts as these are spread over; each of the three is a rate, and they
follow one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean


@dataclass(frozen=True)
class Link:
    """What carries pushes.

    Parameters
    ----------
    bits_per_s : float
        Line rate of one link, above 0; infinity for one that costs no time.
    count : int
        Links side by side.
    efficiency : float
        Share of the line rate that payload gets, above 0 and at most 1.
    round_trip_s : float
        What a push waits for on its way, whatever its size.
    """

    bits_per_s: float
    count: int = 1
    efficiency: float = 1.0
    round_trip_s: float = 0.0

    @property
    def bytes_per_s(self) -> float:
        """Payload that all links carry together."""
        return self.bits_per_s * self.count * self.efficiency / 8

    def transfer_s(self, size: float) -> float:
        """Return how long so many bytes take; nothing to send takes no time."""
        return size / self.bytes_per_s + self.round_trip_s if size else 0.0


@dataclass(frozen=True)
class Scale:
    """What the tables of a replay stand for.

    Parameters
    ----------
    table_bytes : int
        Of the replay's tables.
    emt_bytes : float
        Of the tables that they stand for.
    hosts : int
        Over which those are spread, evenly; each applies its own part of a push.
    """

    table_bytes: int
    emt_bytes: float
    hosts: int = 1

    @property
    def factor(self) -> float:
        """Bytes that one byte of the replay's tables stands for."""
        return self.emt_bytes / self.table_bytes


@dataclass(frozen=True)
class Handling:
    """What the two ends of a push do, of one host each, in s a byte.

    Parameters
    ----------
    encode_s_per_byte : float
        Gathering and encoding rows at the trainers' end.
    apply_s_per_byte : float
        Decoding them and writing them into the served tables.
    encode_int8_s_per_byte, apply_int8_s_per_byte : float, optional
        Of a byte of rows in 8 bits, which are quantised and restored besides; as of any other where
        that is not known.
    """

    encode_s_per_byte: float = 0.0
    apply_s_per_byte: float = 0.0
    encode_int8_s_per_byte: float | None = None
    apply_int8_s_per_byte: float | None = None

    @property
    def of_int8(self) -> "Handling":
        """What is done to rows in 8 bits."""
        encode, apply = self.encode_int8_s_per_byte, self.apply_int8_s_per_byte
        return Handling(
            self.encode_s_per_byte if encode is None else encode,
            self.apply_s_per_byte if apply is None else apply,
        )

    @classmethod
    def mean(cls, every: "Sequence[Handling]") -> "Handling":
        """Return the mean of several; of none, what takes no time."""
        if not every:
            return cls()
        int8 = [one.of_int8 for one in every]
        return cls(
            fmean(one.encode_s_per_byte for one in every),
            fmean(one.apply_s_per_byte for one in every),
            fmean(one.encode_s_per_byte for one in int8),
            fmean(one.apply_s_per_byte for one in int8),
        )


@dataclass(frozen=True)
class Cost:
    """What a push takes.

    Attributes
    ----------
    size : float
        Bytes on the link, of the tables that the replay's stand for.
    encode_s, transfer_s, apply_s : float
        One after the other.
    """

    size: float
    encode_s: float
    transfer_s: float
    apply_s: float

    @property
    def total_s(self) -> float:
        """From the moment at which its rows are taken to that at which they are served."""
        return self.encode_s + self.transfer_s + self.apply_s


@dataclass(frozen=True)
class Sync:
    """All that decides what a push takes.

    Parameters
    ----------
    link : Link
        What carries it.
    scale : Scale
        What its rows stand for.
    handling : Handling
        What its ends do.
    """

    link: Link
    scale: Scale
    handling: Handling = Handling()

    @property
    def of_int8(self) -> "Sync":
        """The same for rows in 8 bits."""
        return replace(self, handling=self.handling.of_int8)

    def cost(self, size: float) -> Cost:
        """Return what so many bytes of the replay's tables come to."""
        scaled = size * self.scale.factor
        each = scaled / self.scale.hosts
        return Cost(
            scaled,
            each * self.handling.encode_s_per_byte,
            self.link.transfer_s(scaled),
            each * self.handling.apply_s_per_byte,
        )
