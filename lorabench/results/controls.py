"""Controls of `colocate`, in the order in which they are shown: what other cases are held against.

What each of them tells is written in ``docs/methodology.md``.
"""

BASELINE = "solo"

FIRST = (BASELINE, "solo_repeat", "planted", "sham")
"""What stands before the conditions that were asked for."""

LAST = ("alone", "solo_all")
"""What stands after them."""

CONTROLS = tuple(name for name in (*FIRST, *LAST) if name != BASELINE)
"""Cases that tell what a run can see, and are no result of their own."""
