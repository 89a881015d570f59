"""Result documents in the formats of other tools."""

from lorabench.bench.command import Command, NoOutput
from lorabench.documents.export.options import ExportOptions

COMMAND = Command(
    "export",
    "Write results for other tools: pyperf, HdrHistogram, OpenMetrics.",
    ExportOptions,
    start="lorabench.documents.export.run:run",
    output=NoOutput,
    about="Give one of the formats, and the file that it goes to or - for stdout.",
    example="lorabench colocate --preset tiny --conditions pinned --rounds 1 --duration 1 "
    "-o out.json && lorabench export out.json --openmetrics -",
)
