"""Options that subcommands which write a result document have in common."""

from pathlib import Path
from typing import Annotated

import typer

from lorabench.errors import InputError

OUTPUT_PANEL = "Output"

OutputWithRaw = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Result document; raw samples go beside it as .npz. By default a new file in "
        "results/.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the document on stdout, all else on stderr.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 1 if a claim is missed.", rich_help_panel=OUTPUT_PANEL
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=OUTPUT_PANEL)
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say what each step did.", rich_help_panel=OUTPUT_PANEL),
]


def parse_rank(text: str) -> int | None:
    """Read ``N|auto``; None for ``auto``.

    Raises
    ------
    InputError
        Neither an integer nor ``auto``.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--rank: found {text!r}, expected auto or an integer") from None
