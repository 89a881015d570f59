"""``lorabench show``: each command's own view of a document that was read back."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from lorabench.bench.command import Command, NoOutput
from lorabench.documents.show.options import ShowOptions
from lorabench.errors import InputError
from lorabench.experiments import COMMANDS
from lorabench.report.terminal import terminal
from lorabench.results.files import newest_result, read_result
from lorabench.results.schema import Result


def run(command: Command, options: ShowOptions, output: NoOutput) -> None:  # noqa: ARG001
    """Print a document.

    Raises
    ------
    InputError
        It cannot be read, or no command of this version shows such a one.
    """
    path = newest_result() if options.result is None else options.result
    result = read_result(path)
    views = {command.name: command for command in COMMANDS if command.view}
    if result.command not in views:
        raise InputError(
            f"{path}: command: found {result.command!r:.60}, expected one of {', '.join(views)}"
        )
    console = terminal()
    console.print(
        f"{path}: lorabench {result.command}, version {result.lorabench.version}, "
        f"{result.created:%Y-%m-%d %H:%M} UTC\n",
        highlight=False,
        soft_wrap=True,
    )
    render = views[result.command].load("view")
    with console.capture() as page:
        _rendered(path, result, render, console)
    console.file.write(page.get())


def _rendered(
    path: Path, result: Result, render: Callable[[Result, Console], None], console: Console
) -> None:
    """Render what a view takes; a stranger's document may lack what its command always writes."""
    try:
        render(result, console)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{path}: found a document that no lorabench {result.command} writes "
            f"({type(error).__name__}: {str(error)!r:.60}), expected one as it was written"
        ) from error
