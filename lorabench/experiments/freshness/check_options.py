"""Options of ``lorabench freshness --check-link``."""

from dataclasses import dataclass, fields

from lorabench.bench.options import RARE, flags, option, options_of, shares
from lorabench.errors import InputError

# What of a replay's options goes with them: the width of a row, and what content is drawn by.
_SHARED = {"dim", "seed"}


@dataclass(frozen=True)
class CheckOptions:
    """Which transfers the model of the link is held against."""

    check_link: bool = option(
        False,
        "Hold the model of the link against real transfers between two processes; no rows are "
        "replayed.",
        panel=RARE,
    )
    check_rates: tuple[float, ...] = option(
        (200.0, 400.0),
        "Rates that the link is shaped to, Mbit/s.",
        metavar="X[,X]...",
        parse=shares,
        least=1,
        most=10_000,
        panel=RARE,
    )
    check_sizes: tuple[float, ...] = option(
        (8.0, 24.0),
        "Sizes of the transfers, MB; of the largest there are embedding rows, too.",
        metavar="X[,X]...",
        parse=shares,
        least=1,
        most=1_000,
        panel=RARE,
    )
    check_repeats: int = option(
        9, "How often each of them is sent, in shuffled rounds.", least=1, panel=RARE
    )

    def check_alone(self) -> None:
        """Refuse what does not go with ``--check-link``, and its options without it.

        Raises
        ------
        InputError
            Naming them.
        """
        own = {one.name for one in fields(CheckOptions)}
        for one, known in options_of(type(self)):
            given, flag = getattr(self, one.name), flags(one, known)[0]
            if given == () and one.name in own:
                raise InputError(f"{flag}: found none, expected some")
            if given == one.default or one.name in _SHARED:
                continue
            if self.check_link and one.name not in own:
                raise InputError(
                    f"{flag}: found it beside --check-link, which replays nothing; expected one or "
                    "the other"
                )
            if one.name in own and not self.check_link:
                raise InputError(f"{flag}: found it without --check-link, expected both")
