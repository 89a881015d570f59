"""The errors that are for the person at the terminal.

Whatever derives from `LorabenchError` is turned by the command line into one clear line and an
exit code. Everything else is a bug and keeps its traceback.
"""


class LorabenchError(Exception):
    """Something the user can act on; `exit_code` is what the command exits with."""

    exit_code = 2


class InputError(LorabenchError):
    """Bad usage or bad input: says where, what was found and what was expected (exit 2)."""


class MachineError(LorabenchError):
    """The machine lacks what was demanded (exit 3)."""

    exit_code = 3


class GateError(LorabenchError):
    """A gate failed, or a claim was missed under ``--strict`` (exit 1)."""

    exit_code = 1


class UndecidedError(LorabenchError):
    """A gate's data could not have shown a change of its size (exit 4)."""

    exit_code = 4
