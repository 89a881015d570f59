"""Two results, or two versions, metric by metric, and gates for CI."""

from lorabench.bench.command import Command
from lorabench.documents.compare.options import CompareOptions, CompareOutput

COMMAND = Command(
    "compare",
    "Compare two results, or two installed versions, and hold metrics to gates.",
    CompareOptions,
    start="lorabench.documents.compare.run:run",
    output=CompareOutput,
    about="Exits with 1 only where a gate fails: its interval lies beyond the tolerance, "
    "or head lacks values that base has. Exits with 4 where the data could not have shown it.",
    example="lorabench colocate --preset tiny --conditions pinned --rounds 3 --duration 1 "
    "-o base.json && lorabench compare base.json base.json",
)
