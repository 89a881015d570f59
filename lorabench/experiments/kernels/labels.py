"""The cases of `kernels`: what each is called, and the labels that tell it from the others.

One function for each shape of a case; the text is put together from the same values as the labels,
and nothing reads it but people. ``lorabench.results.upgrade`` reads the texts of documents that
had no labels yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lorabench.results.case import Case, Label

MIB, GIB = 1 << 20, 1 << 30

OURS, BEST = "lorabench", "best"
"""This project's kernel as a candidate; whoever is the fastest of the peers in a round."""

EVERY_SECOND = 0.5

SETTINGS = {
    "zipf_sample": "{ranks:,} ranks, exponent {exponent}",
    "index_find": "{rows:,} rows, every second one there",
    "top_rows_row": "{k:,} of {rows:,} rows, D={dim}",
    "gram_sample": "D={dim}",
}
"""What a kernel that is measured at one setting is measured at, by the stem of its metrics."""


def size_text(size: int) -> str:
    """Write bytes as a person would: 64 MiB, 2 GiB."""
    return f"{size / GIB:.3g} GiB" if size >= GIB else f"{size / MIB:.3g} MiB"


@dataclass(frozen=True)
class Point:
    """Where a lookup is measured.

    Parameters
    ----------
    dim : int
        D.
    pooling : int
        L, rows a bag.
    distribution : {"uniform", "zipf"}
        Which rows.
    table_bytes : int
        Of the table.
    """

    dim: int
    pooling: int
    distribution: str
    table_bytes: int

    @classmethod
    def of(cls, labels: Mapping[str, Label]) -> "Point":
        """Return the point of a case that has one among its labels."""
        return cls(
            int(labels["dim"]),
            int(labels["pooling"]),
            str(labels["distribution"]),
            int(labels["table_bytes"]),
        )

    def __str__(self) -> str:
        """Return the point as cases do."""
        size = size_text(self.table_bytes)
        return f"D={self.dim}, pooling {self.pooling}, {self.distribution}, {size}"

    @property
    def labels(self) -> dict[str, Label]:
        """The point as labels."""
        return {
            "dim": self.dim,
            "pooling": self.pooling,
            "distribution": self.distribution,
            "table_bytes": self.table_bytes,
        }


@dataclass(frozen=True)
class Inputs:
    """A point at which an adapter is used, and which of its rows are asked for.

    Parameters
    ----------
    name : str
        Of the inputs: ``"pooled"``, ``"all adapted"``.
    rank : int
        R.
    point : Point
        Where.
    """

    name: str
    rank: int
    point: Point

    def __str__(self) -> str:
        """Return the inputs as cases do."""
        return f"{self.name}, rank {self.rank}, {self.point}"

    @property
    def labels(self) -> dict[str, Label]:
        """The inputs as labels."""
        return {"inputs": self.name, "rank": self.rank, **self.point.labels}

    @property
    def case(self) -> Case:
        """A lookup with a LoRA term over one without."""
        return Case(str(self), self.labels)

    def kernel(self, kernel: str) -> Case:
        """Return the case of one of our kernels."""
        return Case(f"{kernel}, {self}", {"kernel": kernel, **self.labels})

    def stage(self, candidate: str, stage: str) -> Case:
        """Return the case of a stage of an update."""
        labels = {"candidate": candidate, "stage": stage, **self.labels}
        return Case(f"{candidate} {stage}, {self}", labels)

    def against(self, peer: str) -> Case:
        """Return the case of a peer's update over ours."""
        return Case(f"{peer}, {self}", {"candidate": OURS, "peer": peer, **self.labels})


def lookup(candidate: str, pages: str, point: Point) -> Case:
    """Return the case of a candidate's lookup."""
    labels = {"candidate": candidate, "pages": pages, **point.labels}
    return Case(f"{candidate} {pages}, {point}", labels)


def limit(pages: str, point: Point) -> Case:
    """Return the case of reading rows at random and nothing else, and of ours over that."""
    return Case(f"{pages}, {point}", {"pages": pages, **point.labels})


def against(peer: str, peer_pages: str, pages: str, point: Point) -> Case:
    """Return the case of a peer's lookup, or the best peer's, over ours."""
    who = "best peer" if peer == BEST else peer
    pair = f"{who}, both {pages}"
    if peer_pages != pages:
        pair = f"{who} {peer_pages}, ours {pages}"
    labels = {"candidate": OURS, "peer": peer, "pages": pages, "peer_pages": peer_pages}
    return Case(f"{pair}, {point}", {**labels, **point.labels})


def single(stem: str, candidate: str, setting: Mapping[str, Label]) -> Case:
    """Return the case of a candidate at the one setting of a kernel, see `SETTINGS`."""
    return Case(
        f"{candidate}, {SETTINGS[stem].format(**setting)}", {"candidate": candidate, **setting}
    )


def single_against(stem: str, peer: str, setting: Mapping[str, Label]) -> Case:
    """Return the case of a peer at that setting over ours."""
    labels = {"candidate": OURS, "peer": peer, **setting}
    return Case(f"{peer}, {SETTINGS[stem].format(**setting)}", labels)
