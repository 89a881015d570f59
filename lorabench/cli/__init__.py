"""The command line: commands listed, their options made parameters, exit codes; no logic.

Nothing heavy is imported here: ``--help`` must answer at once.
"""

from lorabench.cli.main import app, main

__all__ = ["app", "main"]
