"""How integration tests call the installed command."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

COMMAND = Path(sys.executable).with_name("lorabench")

Run = Callable[..., subprocess.CompletedProcess[str]]

# The shortest run that still has every part: no capacity measurement, one condition.
SHORT = (
    *("--preset", "tiny", "--rounds", 1, "--duration", 0.5, "--warmup", 0.2),
    *("--label-delay", 0.1, "--qps", 1000, "--conditions", "pinned"),
)


def forked(
    *arguments: object, folder: Path, environment: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a fork of this process, which has imported all of it already.

    Most of a command that refuses its arguments is the start of an interpreter and of torch.

    Parameters
    ----------
    *arguments
        Of the command.
    folder : Path
        Where its output is kept.
    environment : dict
        Its environment.
    cwd : Path or None
        Its working directory.
    """
    (entry,) = entry_points(group="console_scripts", name="lorabench")
    main = entry.load()
    command = [str(COMMAND), *map(str, arguments)]
    streams = [folder / "stdout", folder / "stderr"]
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, path in enumerate(streams, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w") for n in (1, 2))
            # As an interpreter begins: whoever wraps them anew must not close them by that.
            sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
            os.chdir(cwd or Path.cwd())
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = command
            main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return subprocess.CompletedProcess(command, code, *(path.read_text() for path in streams))
