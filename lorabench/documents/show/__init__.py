"""A result document as its command printed it."""

from lorabench.bench.command import Command, NoOutput
from lorabench.documents.show.options import ShowOptions

COMMAND = Command(
    "show",
    "Print the table and the verdicts of a result document again.",
    ShowOptions,
    start="lorabench.documents.show.run:run",
    output=NoOutput,
    example="lorabench colocate --preset tiny --conditions pinned --rounds 1 --duration 1 "
    "-o out.json && lorabench show out.json",
)
