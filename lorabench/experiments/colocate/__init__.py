"""p99 of a serving node with and without a trainer beside its servers."""

from lorabench.bench.command import Command
from lorabench.experiments.colocate.options import ColocateOptions

COMMAND = Command(
    "colocate",
    "Measure p99 with and without a LoRA trainer co-located with the servers.",
    ColocateOptions,
    experiment="lorabench.experiments.colocate.run:Colocate",
    view="lorabench.experiments.colocate.view:render",
    about="Serves an open-loop stream of queries, alone (solo) and beside a trainer that learns "
    "from what was just served and publishes to the servers, with and without isolation.",
    example="lorabench colocate --preset tiny --conditions pinned --rounds 1 --duration 1 "
    "-o out.json",
    beside=".npz",
    logs=".mlperf",
)
