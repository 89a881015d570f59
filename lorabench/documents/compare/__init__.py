"""Two results, or two versions, metric by metric, and gates for CI."""

from lorabench.bench.command import Command
from lorabench.documents.compare.options import CompareOptions, CompareOutput

COMMAND = Command(
    "compare",
    "Compare two results, or two installed versions, and hold metrics to gates.",
    CompareOptions,
    start="lorabench.documents.compare.run:run",
    output=CompareOutput,
    about="Exits with 1 only where a gate's interval lies beyond its tolerance, and with 4 where "
    "the data could not have shown a change of that size.",
    example="lorabench colocate --preset tiny --conditions pinned --rounds 3 --duration 1 "
    "-o base.json && lorabench compare base.json base.json",
)
