"""The command line: one module a subcommand; parse, call the experiment, render; no logic."""


def main() -> None:
    """Run the command line."""
