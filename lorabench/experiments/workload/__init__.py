"""Workload folders for what the other commands measure: rows generated, or given rows taken in.

No experiments: what comes of a run is a folder and not a result document.
"""

from lorabench.bench.command import Command
from lorabench.experiments.workload.options import (
    FolderOutput,
    GenerateOptions,
    IngestOptions,
    IngestOutput,
)

GENERATE = Command(
    "generate",
    "Generate a Criteo-style workload into a folder, for --data.",
    GenerateOptions,
    start="lorabench.experiments.workload.generate:run",
    output=FolderOutput,
    example="lorabench generate tiny --rows 20000 -o rows",
)
INGEST = Command(
    "ingest",
    "Take in given rows as a workload folder, for --data.",
    IngestOptions,
    start="lorabench.experiments.workload.ingest:run",
    output=IngestOutput,
    example="lorabench generate tiny --format criteo-tsv -o lines && "
    "lorabench ingest lines/part-00000.tsv -o days",
)
