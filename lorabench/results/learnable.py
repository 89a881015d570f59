"""Whether there was anything to learn: what every verdict asks first.

Gradients of labels that are all alike have one direction and differences of such predictions no
meaning, so that a verdict on them would be one on nothing. The same goes for labels that no model
of the rows predicts better than their mean does.
"""

from dataclasses import dataclass, field

from lorabench.results.statistics import Estimate


@dataclass(frozen=True)
class LabelCount:
    """How many labels there were, and how many of them positive.

    Parameters
    ----------
    rows, positives : int
    known : bool
        The rows have labels at all; where not, those counted are stand-ins.
    """

    rows: int
    positives: int
    known: bool = True

    @property
    def obstacle(self) -> str | None:
        """What is in the way of learning from them, in words; None where both kinds are there."""
        if not self.known:
            return "the rows have no labels: there was nothing to learn, and nothing to judge it by"
        if not self.rows or 0 < self.positives < self.rows:
            return None
        which = "positive" if self.positives else "negative"
        return f"all {self.rows:,} labels were {which}: there was nothing to learn"


@dataclass(frozen=True)
class Learned:
    """What shows that a model learned something of the rows of several windows.

    Parameters
    ----------
    labels : LabelCount
        Of all windows.
    one_sided : int
        Windows whose labels are all alike.
    windows : int
        Of these.
    entropy : Estimate or None
        Normalized entropy over windows, each sample scored before it was learned from; None where
        it is not known of any.
    """

    labels: LabelCount = field(default_factory=lambda: LabelCount(0, 0))
    one_sided: int = 0
    windows: int = 0
    entropy: Estimate | None = None

    @property
    def impossible(self) -> str | None:
        """Why nothing can have been learned; None where something can."""
        if (found := self.labels.obstacle) is not None:
            return found
        if self.one_sided:
            return (
                f"the labels of {self.one_sided} of {self.windows} windows were all alike, in "
                "which there was nothing to learn; take longer windows (--window)"
            )
        return None

    @property
    def doubt(self) -> str | None:
        """Why it is not known that something was learned; None where it is."""
        if self.entropy is None or self.entropy.value < 1:
            return None
        return (
            f"the loss did not fall below that of predicting the mean (normalized entropy "
            f"{self.entropy.value:.3f}), so that updates were of noise and not of what was learned"
        )
