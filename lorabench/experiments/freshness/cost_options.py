"""Options of ``lorabench freshness --cost-only``: of all of `freshness`, those that it goes by."""

from dataclasses import dataclass, fields

from lorabench.bench.options import again, flags, options_of
from lorabench.errors import InputError
from lorabench.experiments.freshness.link_options import LinkOptions
from lorabench.experiments.freshness.options import FreshnessOptions


@dataclass(frozen=True)
class CostOptions(LinkOptions):
    """What is pushed over what, and how wide a row is."""

    dim: int | None = again(FreshnessOptions, "dim")

    @staticmethod
    def of(options: FreshnessOptions) -> "CostOptions":
        """Return those of a command line; what else was given would have no effect.

        Raises
        ------
        InputError
            Something else was given.
        """
        own = {one.name for one in fields(CostOptions)} - {"data", "save_touch_trace"}
        for one, known in options_of(type(options)):
            if one.name not in own and getattr(options, one.name) != one.default:
                raise InputError(
                    f"{flags(one, known)[0]}: found it beside --cost-only, which replays nothing; "
                    "expected one or the other"
                )
        return CostOptions(**{name: getattr(options, name) for name in own})

    def check(self) -> None:
        """Refuse two answers to one question.

        Raises
        ------
        InputError
            Naming them.
        """
        if self.touch_trace is not None and self.touched != type(self)().touched:
            raise InputError("--touched: found --touch-trace beside it, expected one or the other")
