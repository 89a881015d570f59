"""Protocols in print: what a replay has to be like to follow one, and what was printed of it.

``monolith`` is Algorithm 1 of Liu et al., "Monolith: Real Time Recommendation System With
Collisionless Embedding Table" (2022, arXiv 2209.07663, section 3.1.2): train on the first days,
divide the others into N shards in order of time; of each, synchronise the serving parameters,
evaluate, then train. ``next-window`` trains on windows up to T and evaluates window T + 1, as
``streaming_train_eval_loop`` of MLPerf's DLRM-v3 does (meta-recsys/generative-recommenders,
generative_recommenders/dlrm_v3/train/utils.py): the first window is trained on only.

Both are the same replay, of labels that are there at once and parameters that are synchronised at a
window's end and at no other time, at no cost. They differ in how much of the stream comes before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.study_options import MONOLITH, SHARDS
from lorabench.host.missing import Missing
from lorabench.strategies.deployment import Pushes
from lorabench.updates.link import Link, Scale, Sync
from lorabench.workload.source import RowSource

ONLINE, BATCH = "delta", "none"
"""What is trained shard by shard, and what is trained once."""

# Of the 7 days 5 are for batch training.
_DAYS = 5 / 7

KAGGLE_ROWS = 45_840_617
"""Of the Criteo Kaggle training set."""

_KAGGLE_COLUMNS = 13, 26

Published = tuple[float, float]

PUBLISHED: dict[int, dict[str, Published]] = {
    10: {ONLINE: (0.7966, 0.00020), BATCH: (0.7942, 0.00026)},
    50: {ONLINE: (0.7978, 0.00005), BATCH: (0.7944, 0.00030)},
    100: {ONLINE: (0.7980, 0.00008), BATCH: (0.7943, 0.00025)},
}
"""Average AUC by shards, and what is printed behind its plus-minus: table 2 of Monolith's paper, of
a DeepFM on the Criteo Kaggle set. Its rows are intervals of about 5 h, 1 h and 30 min, which the
text says are N = 10, 50 and 100."""


@dataclass(frozen=True)
class Protocol:
    """A replay as somebody has printed it.

    Parameters
    ----------
    name : str
    windows : int
        Or shards.
    pretrain : float
        Share of the stream that comes before them.
    """

    name: str
    windows: int
    pretrain: float

    @classmethod
    def of(cls, options: FreshnessOptions) -> "Protocol | None":
        """Return the one that is asked for; None where none is."""
        if options.protocol is None:
            return None
        windows = options.stretches
        share = _DAYS if options.protocol == MONOLITH else 1 / (windows + 1)
        return cls(options.protocol, windows, options.pretrain or share)

    def applied(self, options: FreshnessOptions) -> FreshnessOptions:
        """Return options of which the protocol says what it has to say."""
        asked = options.strategies
        strategies = (BATCH, ONLINE) if asked == FreshnessOptions.strategies else asked
        return replace(options, windows=self.windows, pretrain=self.pretrain, strategies=strategies)

    def pushes(self, table_bytes: int, full_every: int) -> Pushes:
        """Return how parameters are synchronised."""
        sync = Sync(Link(float("inf")), Scale(table_bytes, table_bytes))
        return Pushes(sync, 0.0, full_every, at_window_ends=True)

    def told(self, source: RowSource, options: FreshnessOptions) -> dict[str, Any]:
        """Return what a document says of it; with printed figures where ours compare."""
        found: dict[str, Any] = {
            "name": self.name,
            "windows": self.windows,
            "pretrain": self.pretrain,
        }
        if self.name == MONOLITH and self._differs(source, options) is None:
            found["published"] = {
                name: list(figures) for name, figures in PUBLISHED[self.windows].items()
            }
        return found

    def missing(self, source: RowSource, options: FreshnessOptions) -> Sequence[Missing]:
        """Say why printed figures do not stand beside ours, where they do not."""
        if self.name != MONOLITH:
            return ()
        differs = self._differs(source, options)
        if differs is None:
            return ()
        shards = self.windows if self.windows in PUBLISHED else SHARDS
        return (
            Missing(
                "Monolith's printed AUC beside ours",
                differs,
                "bring train.txt of the Criteo Kaggle set: lorabench ingest train.txt -o kaggle, "
                f"then lorabench freshness --data kaggle --protocol monolith --shards {shards}",
            ),
        )

    def _differs(self, source: RowSource, options: FreshnessOptions) -> str | None:
        """Say in what a replay differs from what was printed; None where it does not."""
        spec = source.spec
        real = source.basis == "measured-real"
        whole = (
            real
            and (spec.num_dense, spec.num_sparse) == _KAGGLE_COLUMNS
            and source.rows == KAGGLE_ROWS
            and options.limit(spec.rows_per_s) is None
        )
        if not whole:
            return (
                f"found {source.description}, expected all {KAGGLE_ROWS:,} rows of the Criteo "
                "Kaggle training set"
            )
        if self.windows not in PUBLISHED:
            printed = ", ".join(map(str, PUBLISHED))
            return f"found {self.windows} shards, expected one of {printed}, of which it is known"
        if not {ONLINE, BATCH} <= set(options.strategies):
            return f"found {','.join(options.strategies)}, expected {BATCH} and {ONLINE} among them"
        if self.pretrain != _DAYS:
            return f"found {self.pretrain:.3g} of the rows to pre-train on, expected 5/7"
        return None
