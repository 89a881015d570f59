"""Whom a value is of: a case, told from others by labels that a program reads and by a text.

Labels are what comparing, gates and reports stand on; the text is for people, and stands in a
document's ``condition``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Label = str | int | float


@dataclass(frozen=True, eq=False)
class Case:
    """What is measured beside other cases.

    Parameters
    ----------
    text : str
        Its name for people; no two cases of a run have the same.
    labels : mapping of str to str, int or float
        What tells it apart, such as ``{"condition": "pinned", "duty": 0.25}``; by default the text
        as ``condition``.
    """

    text: str
    labels: Mapping[str, Label] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", {"condition": self.text})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def also(self, text: str, **labels: Label) -> "Case":
        """Return a case of this name and more: with further labels and its text behind a comma."""
        return Case(f"{self.text}, {text}", {**self.labels, **labels})
