"""From a dataclass of options to a subcommand, and to a table."""

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import typer
from typer.testing import CliRunner

from lorabench.bench.command import Command, Output
from lorabench.bench.options import INPUT, RARE, numbers, option
from lorabench.cli.options import options_table, typer_function
from lorabench.errors import InputError


@dataclass(frozen=True)
class Cakes:
    kind: str = option(MISSING, "Which cake.", "KIND", metavar="CAKE", panel=INPUT)
    extra: tuple[Path, ...] = option((), "What else.", "--extra", panel=RARE)
    layers: tuple[int, ...] = option((1, 2), "How many.", metavar="N,...", parse=numbers, least=1)
    icing: Literal["sugar", "butter"] | None = option(
        None, "What is on it.", choices=("sugar", "butter"), shown="the season's"
    )
    bake_s: float = option(60.0, "How long.", unit="s", above=0)
    burnt: bool = option(False, "Overdo it.", panel=RARE)


@dataclass(frozen=True)
class Plate:
    output: Path = option(MISSING, "Where to.", "--output", "-o", metavar="DIR")


@dataclass(frozen=True)
class Kept(Command):
    """A command that keeps what it was run with."""

    runs: ClassVar[list[tuple[Any, Any]]] = []

    def run(self, options: Any, output: Any) -> None:
        self.runs.append((options, output))


CAKE = Kept("cake", "Bake a cake.", Cakes, about="It is good.", example="lorabench cake plum")
ON_A_PLATE = Kept("cake", "Bake a cake.", Cakes, output=Plate)


def given(command: Command, *arguments: str) -> Any:
    app = typer.Typer()
    app.command("cake", add_help_option=False)(typer_function(command))
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "TERM": "dumb"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result if result.output else Kept.runs.pop()


def test_what_is_left_out_is_the_default() -> None:
    assert given(CAKE, "plum") == (Cakes("plum"), Output())


def test_what_is_given_stands_in_the_dataclass() -> None:
    options, output = given(
        CAKE,
        *("plum", "--layers", "3,4", "--icing", "butter", "--bake", "5", "--burnt"),
        *("--extra", "a", "--extra", "b", "-o", "x.json", "--json", "-q"),
    )
    extra = (Path("a"), Path("b"))
    assert options == Cakes("plum", extra, (3, 4), "butter", 5.0, burnt=True)
    assert output == Output("x.json", as_json=True, quiet=True)


def test_a_command_may_have_an_output_of_its_own() -> None:
    assert given(ON_A_PLATE, "plum", "-o", "d") == (Cakes("plum"), Plate(Path("d")))
    assert "--output" in given(ON_A_PLATE, "plum").output


def test_a_text_that_cannot_be_read_is_told_by_its_option() -> None:
    with pytest.raises(InputError, match="--layers: found 'x', expected whole numbers"):
        given(CAKE, "plum", "--layers", "x")


def test_help_has_summary_example_and_panels_the_rare_one_last() -> None:
    text = given(CAKE, "--help").output
    places = [
        text.index(word)
        for word in ("Bake a cake.", "It is good.", "Example: lorabench cake plum", "Arguments")
    ]
    places += [text.index(f"─ {panel} ─") for panel in ("Run", "Output", RARE)]
    assert places == sorted(places)
    assert "[default: the season's]" in text
    assert "[default: 1,2]" in text


def test_a_table_has_every_option_in_the_same_order() -> None:
    assert options_table(ON_A_PLATE).splitlines() == [
        "| option | what | default |",
        "|---|---|---|",
        "| `CAKE` | Which cake. | required |",
        "| `--layers N,...` | How many (at least 1). | 1,2 |",
        "| `--icing sugar\\|butter` | What is on it. | the season's |",
        "| `--bake X` | How long (above 0 s). | 60.0 |",
        "| `--output DIR`, `-o DIR` | Where to. | required |",
        "| `--extra` | What else. |  |",
        "| `--burnt` | Overdo it. | off |",
    ]
    assert "--json" not in options_table(CAKE)
