"""``lorabench show``: each command's own view of a document that was read back."""

from rich.console import Console

from lorabench.bench.command import Command, NoOutput
from lorabench.documents.show.options import ShowOptions
from lorabench.errors import InputError
from lorabench.experiments import COMMANDS
from lorabench.results.files import newest_result, read_result


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
    console = Console()
    console.print(
        f"{path}: lorabench {result.command}, version {result.lorabench.version}, "
        f"{result.created:%Y-%m-%d %H:%M} UTC\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    views[result.command].load("view")(result, console)
