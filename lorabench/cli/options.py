"""An options dataclass becomes the parameters of a Typer command, and a table for ``docs/``."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from lorabench.bench.command import Command, Output
from lorabench.bench.options import (
    INPUT,
    OUTPUT,
    RARE,
    RUN,
    Option,
    default_text,
    flags,
    options_of,
)
from lorabench.errors import InputError


class Passed(Exception):  # noqa: N818 - it says nothing of its own
    """Brings an exception past Typer, which would put an exit code in its place.

    Parameters
    ----------
    error : BaseException
        It: an interruption, with what was kept, or a broken pipe, which need not be stdout's.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def typer_function(command: Command) -> Callable[..., None]:
    """Return a function that Typer makes a subcommand of: all options, then what is output.

    Its parameters are those of the command's two dataclasses, and ``--help``; what it does is to
    fill both and to run the command.
    """
    kinds = (command.options, command.output)

    def function(**given: Any) -> None:
        options, output = (
            kind(
                **{one.name: _value(one, known, given[one.name]) for one, known in options_of(kind)}
            )
            for kind in kinds
        )
        try:
            command.run(options, output)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise Passed(error) from error

    function.__signature__ = inspect.Signature(_in_panels(kinds))  # type: ignore[attr-defined]
    function.__doc__ = _help(command)
    function.__name__ = command.name
    return function


def _help(command: Command) -> str:
    about = f"\n\n{command.about}" if command.about else ""
    example = f"\n\nExample: {command.example}" if command.example else ""
    return f"{command.summary}{about}{example}"


def _in_panels(kinds: tuple[type[Any], ...]) -> list[inspect.Parameter]:
    """Return all parameters, those of a panel together: Typer shows panels by first use."""
    found = [(known.panel, parameter) for kind in kinds for known, parameter in _parameters(kind)]
    found.append((OUTPUT, _HELP))
    return [parameter for _, parameter in sorted(found, key=lambda one: _place(one[0]))]


def _place(panel: str) -> int:
    order = (INPUT, RUN, OUTPUT, RARE)
    return order.index(panel if panel in order else RUN)


def _parameters(kind: type[Any]) -> Iterator[tuple[Option, inspect.Parameter]]:
    for one, known in options_of(kind):
        yield (
            known,
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if one.default is MISSING else _default(one, known),
                annotation=_annotation(one, known),
            ),
        )


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        typer.echo(context.get_help())
        raise typer.Exit


# Of our own: the one that Typer adds stands in a panel apart, before all others.
_HELP = inspect.Parameter(
    "help",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--help",
            "-h",
            callback=_show_help,
            is_eager=True,
            help="Show this message and exit.",
            rich_help_panel=OUTPUT,
        ),
    ],
)


def _default(one: Field[Any], known: Option) -> Any:
    """Return the default as it would be given."""
    if known.parse is None or one.default is None:
        return one.default
    return default_text(one, known)


def _annotation(one: Field[Any], known: Option) -> Any:
    names = flags(one, known)
    kind = _given_type(one, known)
    # Typer would read what stands in brackets as markup.
    text = known.help.replace("[", r"\[")
    shared: dict[str, Any] = {
        "help": text,
        "metavar": known.metavar or "|".join(known.choices) or None,
    }
    if not names[0].startswith("-"):
        return Annotated[kind, typer.Argument(**{**shared, "metavar": known.metavar or names[0]})]
    shared["rich_help_panel"] = known.panel
    if known.shown is not None and one.default is None:
        # ... and put a text of ours into brackets of its own.
        shared |= {"help": rf"{text} \[default: {known.shown}]", "show_default": False}
    return Annotated[kind, typer.Option(*names, **shared)]


def _given_type(one: Field[Any], known: Option) -> Any:
    """Return the type that Typer reads: text where the option reads it itself."""
    if known.parse is not None:
        return str | None if one.default is None else str
    hint: Any = one.type
    plain = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is UnionType and len(plain) == 1:
        return _plain(plain[0]) | None
    return _plain(hint)


def _plain(hint: Any) -> Any:
    if get_origin(hint) is Literal:  # which of them there are, `Option.choices` says
        return str
    if get_origin(hint) is tuple:  # given once for each
        return list[get_args(hint)[0]]  # type: ignore[misc]
    return hint


def _value(one: Field[Any], known: Option, given: Any) -> Any:
    """Return the field's value from what was given.

    Raises
    ------
    InputError
        It cannot be read.
    """
    if isinstance(given, list):
        return tuple(given)
    if known.parse is None or given is None or not isinstance(given, str):
        return given
    if given == _default(one, known):
        return one.default
    try:
        return known.parse(given)
    except ValueError as error:
        raise InputError(f"{flags(one, known)[0]}: found {given!r}, expected {error}") from None


def options_table(command: Command) -> str:
    """Return a command's options as a table in Markdown, for ``docs/``.

    In the order of ``--help``; what every result document has (`Output`) is left out.
    """
    kinds = [command.options] + [command.output] * (command.output is not Output)
    listed = [pair for kind in kinds for pair in options_of(kind)]
    rows = ["| option | what | default |", "|---|---|---|"]
    for one, known in sorted(listed, key=lambda pair: _place(pair[1].panel)):
        cells = (_given(one, known), _told(known), _default_told(one, known))
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def _given(one: Field[Any], known: Option) -> str:
    names, kinds = flags(one, known), {one.type, *get_args(one.type)}
    number = "N" if int in kinds else "X" if float in kinds else ""
    value = known.metavar or "|".join(known.choices) or number
    if not names[0].startswith("-"):
        return f"`{value or names[0]}`"
    return ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in names)


def _told(known: Option) -> str:
    if not known.expected():
        return known.help
    unit = f" {known.unit}" if known.unit else ""
    return f"{known.help.removesuffix('.')} ({known.expected()}{unit})."


def _default_told(one: Field[Any], known: Option) -> str:
    if one.default is MISSING:
        return "required"
    if isinstance(one.default, bool):
        return "on" if one.default else "off"
    return default_text(one, known)
