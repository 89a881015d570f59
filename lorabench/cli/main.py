"""The Typer application, and how a run ends: what the user can act on is one line and a code."""

import sys
from typing import Annotated, NoReturn

import typer

import lorabench
from lorabench.bench import streams
from lorabench.cli.commands import COMMANDS
from lorabench.cli.options import Passed, typer_function
from lorabench.errors import StreamError, told

app = typer.Typer(
    name="lorabench",
    help="Bench for inference-side model updates: LoRA training beside DLRM serving, on one node.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command(command.name, add_help_option=False)(typer_function(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lorabench {lorabench.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what comes before the subcommand."""


_INTERRUPTED = 130

# Base of all errors in how the command line was used. Typer exports only this one of its leaves,
# and whether click is a dependency or vendored depends on Typer's version.
_UsageError = typer.BadParameter.__bases__[0]


def main() -> NoReturn:
    """Run the command line; turn what the user can act on into one line and an exit code."""
    streams.prepare()
    streams.interrupt_on_signals()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except Passed as passed:
        _end(passed.error)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the rest is raised again
        _end(error)
    if code == _INTERRUPTED:  # Typer turns Ctrl-C outside of a command into a code
        _fail("interrupted", _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _end(error: BaseException) -> NoReturn:
    """Say what has ended a command, and end."""
    if isinstance(error, StreamError) and error.unread:
        streams.end_unread()
    if (known := told(error)) is not None:
        _fail(_with_notes(str(known), error), known.exit_code)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        _fail(_with_notes(" ".join(("interrupted", *map(str, error.args))), error), _INTERRUPTED)
    if not isinstance(error, _UsageError):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
        sys.exit(2)
    _fail(_usage(error), 2)


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join((message, *getattr(error, "__notes__", ())))


def _usage(error: BaseException) -> str:
    """Put a usage error into one line that also says what was found."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    option = next(iter(getattr(getattr(error, "param", None), "opts", [])), None)
    if option in sys.argv[:-1]:
        message = f"{message}, found {sys.argv[sys.argv.index(option) + 1]!r}"
    command = getattr(getattr(error, "ctx", None), "command_path", None) or "lorabench"
    return f"{message} (see {command} --help)"


def _fail(message: str, code: int) -> NoReturn:
    """Say a line on stderr, behind what there is on stdout, and end with a code."""
    try:
        sys.stdout.flush()
    except StreamError:
        streams.give_up()
    print(f"lorabench: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
