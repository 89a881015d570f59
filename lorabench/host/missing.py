"""What a run cannot have, why, and what would enable it: the answer of all that looks before."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """A capability that a run cannot have."""

    what: str
    why: str
    enable: str
