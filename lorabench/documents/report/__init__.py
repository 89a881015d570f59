"""Results as a page that one sends to a colleague."""

from lorabench.bench.command import Command
from lorabench.documents.report.options import ReportOptions, ReportOutput

COMMAND = Command(
    "report",
    "Make a page of results: verdicts, plots, the numbers under them, how to reproduce.",
    ReportOptions,
    start="lorabench.documents.report.run:run",
    output=ReportOutput,
    about="One file that needs no network and no script. Of several results each has its part, "
    "below a comparison; of a folder there is an index and how headline figures went over time.",
    example="lorabench profile --preset tiny --windows 2 --window 4096 -o out.json && "
    "lorabench report out.json -o report.html",
)
