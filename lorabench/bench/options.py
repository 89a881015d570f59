"""Options of a command, each said once: on the field of a dataclass that holds its value.

The field has the help, unit, range, panel and example beside its type and default. The command
line, the check of ranges and the tables of ``docs/`` are made from it (`lorabench.cli.options`);
torchrec's benchmarks, whose arguments come from their config dataclasses, are the model. Nothing
heavy is imported here: ``--help`` must answer at once.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, get_args, get_origin

from lorabench.errors import InputError

RARE = "Rarely needed"
"""The panel of options that the common case does without."""

INPUT = "Input"
RUN = "Run"
OUTPUT = "Output"

_KEY = "option"
# Units whose name a field bears at its end and an option does not.
_UNITS = ("_s", "_bytes")
# No number that is asked for is larger, in no unit; larger ones would be none in another unit.
_MOST = 1e300


class Options(Protocol):
    """A dataclass of options; it may have a ``check()`` of what ranges alone do not tell."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Option:
    """What is known of an option beside its field's name, type and default.

    Parameters
    ----------
    help : str
        A sentence.
    flags : tuple of str
        As it is given; empty for one made from the field's name. A name without dashes makes it
        an argument.
    unit : str
        Of the number that is given, shown with the help.
    least, above, most, below : float or None
        The range of a number, or of each of several.
    panel : str
        Where ``--help`` shows it.
    metavar : str or None
        What stands for the value in the help.
    parse : callable or None
        From the text that is given to the field's value; raises ValueError with what is expected.
    shown : str or None
        The default as the help shows it, where the value does not show itself.
    choices : tuple of str
        The values that there are.
    write : callable or None
        From a value back to the text that `parse` reads; needed where `str` does not give it.
    """

    help: str
    flags: tuple[str, ...] = ()
    unit: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    panel: str = RUN
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    shown: str | None = None
    choices: tuple[str, ...] = ()
    write: Callable[[Any], str] | None = None

    def expected(self) -> str:
        """Return the range in words."""
        low = f"above {self.above:g}" if self.above is not None else ""
        if self.least is not None:
            low = f"at least {_number(self.least)}"
        # Below infinity is any number but infinity itself, which nobody asks for.
        bounded = self.below is not None and math.isfinite(self.below)
        high = f"below {self.below:g}" if bounded else ""
        if self.most is not None:
            high = f"at most {_number(self.most)}"
        if self.least is not None and self.most is not None:
            return f"{_number(self.least)} to {_number(self.most)}"
        return " and ".join(filter(None, (low, high)))

    def allows(self, value: float) -> bool:
        """Whether a number is in the range; NaN never is."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )


def option(
    default: Any,
    text: str,
    *flags: str,
    unit: str = "",
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    panel: str = RUN,
    metavar: str | None = None,
    parse: Callable[[str], Any] | None = None,
    shown: str | None = None,
    choices: tuple[str, ...] = (),
    write: Callable[[Any], str] | None = None,
) -> Any:
    """Return the field of a dataclass that is an option; the arguments are those of `Option`.

    A mutable default is no option's: take a tuple. ``MISSING`` as default makes it required.
    """
    known = Option(
        text, flags, unit, least, above, most, below, panel, metavar, parse, shown, choices, write
    )
    return field(default=default, metadata={_KEY: known})


def options_of(kind: type[Options]) -> Iterator[tuple[Field[Any], Option]]:
    """Return each field that is an option, with what is known of it, in order."""
    for one in fields(kind):
        if _KEY in one.metadata:
            yield one, one.metadata[_KEY]


def again(kind: type[Options], name: str, default: Any = None, **changes: Any) -> Any:
    """Return an option of another dataclass as one of this; by default None: not given.

    Parameters
    ----------
    kind : type
        That dataclass.
    name : str
        Its field.
    default : object
        Its value here where it was not given.
    **changes
        Attributes of `Option` that differ.
    """
    one = kind.__dataclass_fields__[name]
    known: Option = one.metadata[_KEY]
    shown = default_text(one, known) or None if default is None else known.shown
    told = {"shown": shown, **changes}
    return field(default=default, metadata={_KEY: replace(known, **told)})


def default_text(one: Field[Any], known: Option) -> str:
    """Return the default as a person would write it."""
    if known.shown is not None:
        return known.shown
    if isinstance(one.default, tuple):
        return ",".join(
            f"{value:g}" if isinstance(value, float) else str(value) for value in one.default
        )
    return "" if one.default is None else str(one.default)


def flags(one: Field[Any], known: Option) -> tuple[str, ...]:
    """Return how an option is given, the long form first."""
    if known.flags:
        return known.flags
    name = one.name
    for unit in _UNITS:
        if known.unit and name.endswith(unit):
            name = name.removesuffix(unit)
    return (f"--{name.replace('_', '-')}",)


def check(options: Options) -> None:
    """Hold every option against its range, then ask the dataclass's own ``check``.

    Raises
    ------
    InputError
        Naming the option, what was found and what was expected.
    """
    for one, known in options_of(type(options)):
        value = getattr(options, one.name)
        listed = value if isinstance(value, tuple) else (value,)
        for number in listed:
            if known.choices and number is not None and number not in known.choices:
                raise InputError(
                    f"{flags(one, known)[0]}: found {number!r}, expected "
                    f"{'one' if listed is not value else 'some'} of {', '.join(known.choices)}"
                )
            if isinstance(number, (int, float)) and not known.allows(number):
                raise InputError(
                    f"{flags(one, known)[0]}: found {number}, expected {known.expected()}"
                )
    own = getattr(options, "check", None)
    if own is not None:
        own()


def names(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers that are separated by commas, each once.

    Raises
    ------
    ValueError
        One is none.
    """
    try:
        return tuple(dict.fromkeys(int(name) for name in names(text)))
    except ValueError:
        raise ValueError("whole numbers separated by commas") from None


def shares(text: str) -> tuple[float, ...]:
    """Read numbers that are separated by commas.

    Raises
    ------
    ValueError
        One is none.
    """
    try:
        return tuple(float(name) for name in names(text))
    except ValueError:
        raise ValueError("numbers separated by commas") from None


def rank(text: str) -> int | None:
    """Read ``N|auto``; None for ``auto``.

    Raises
    ------
    ValueError
        Neither an integer nor ``auto``.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError("auto or an integer") from None


def milliseconds(text: str) -> float:
    """Read ms as s.

    Raises
    ------
    ValueError
        It is no number.
    """
    try:
        return float(text) / 1e3
    except ValueError:
        raise ValueError("a number of milliseconds") from None


def in_milliseconds(value: float) -> str:
    """Write s as the ms that `milliseconds` reads as exactly as many."""
    ms = value * 1e3
    near = (ms, math.nextafter(ms, -math.inf), math.nextafter(ms, math.inf))
    return repr(next((one for one in near if one / 1e3 == value), ms))


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", "") if float(value).is_integer() else f"{value:g}"


@dataclass(frozen=True)
class Workload:
    """Which rows an experiment reads.

    Parameters
    ----------
    preset : str or None
        Name of a preset, or a ``.toml`` file of one's own.
    data : Path or None
        A folder that was generated or ingested, or rows that others wrote.
    columns : Path or None
        Map of the columns of these.
    wrap_ids : bool
        Take ids that are rows of tables modulo their number.
    """

    preset: str | None = option(
        None,
        "Generate this workload; with --data it names the tables and the model alone.",
        metavar="NAME|SPEC.toml",
        panel=INPUT,
    )
    data: Path | None = option(
        None,
        "Rows: a folder from generate or ingest, or Criteo's TSV, CSV, Parquet, processed npz or "
        "npy.",
        metavar="PATH",
        panel=INPUT,
    )
    columns: Path | None = option(
        None,
        "Of Parquet or CSV in another layout than Criteo's or Avazu's: which columns are label, "
        "time, dense and sparse, as for ingest.",
        metavar="MAP.toml",
        panel=RARE,
    )
    wrap_ids: bool = option(
        False,
        "Take the ids of processed files modulo the rows of their table, as the reference's "
        "--max-ind-range and TorchRec's loaders do; else one beyond is refused.",
        panel=RARE,
    )


def resolved(options: Any, *apart: str) -> dict[str, Any]:
    """Return options as a document's ``config`` has them: what is input and `apart` left out.

    A file that is named is not what a run *is*: the same rows elsewhere are the same run.
    """
    inputs = {one.name for one in fields(Workload)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(options).items()
        if name not in inputs and name not in apart
    }


def arguments(kind: type[Options], values: Mapping[str, Any]) -> list[str]:
    """Return what to give on the command line for these values of options.

    The inverse of reading a command line, from what `resolved` writes into a document, whose lists
    were tuples. What is at its default is left out, and so is what is no option of this kind or no
    value that it could have.

    Parameters
    ----------
    kind : type
        Dataclass of the options.
    values : mapping of str to object
        By name of the field.
    """
    found: list[str] = []
    for one, known in options_of(kind):
        value = values.get(one.name)
        if not _fits(value, one.type) or value is False or _alike(value, one.default):
            continue
        name = flags(one, known)[0]
        if value is True:
            found.append(name)
            continue
        listed = value if isinstance(value, (list, tuple)) else [value]
        texts = [_given_as(part, known) for part in listed]
        if listed is value and known.parse is not None:
            texts = [",".join(texts)]
        named = name.startswith("-")
        found += [part for text in texts for part in ((name, text) if named else (text,))]
    return found


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of a document, which may be a stranger's, is one that a field can have."""
    plain = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in plain)
    if get_origin(hint) is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(part, plain[0]) for part in value)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is int:
        return isinstance(value, int)
    if hint is float:
        return isinstance(value, (int, float)) and abs(value) <= _MOST
    # What is no number is written by its name; a type that only mypy imports is a text itself.
    several = isinstance(hint, str) and isinstance(value, (list, tuple))
    return all(isinstance(part, str) for part in (value if several else [value]))


def _alike(value: Any, default: Any) -> bool:
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        return list(value) == list(default)
    return type(value) is type(default) and bool(value == default)


def _given_as(value: Any, known: Option) -> str:
    if known.write is not None:
        return known.write(value)
    return repr(value) if isinstance(value, float) else str(value)
