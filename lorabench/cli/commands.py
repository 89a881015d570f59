"""All subcommands, in the order in which ``lorabench --help`` lists them."""

from lorabench import documents, experiments
from lorabench.bench.command import Command

COMMANDS: tuple[Command, ...] = tuple(
    sorted((*experiments.COMMANDS, *documents.COMMANDS), key=lambda command: command.name)
)
