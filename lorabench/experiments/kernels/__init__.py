"""The hot path against what people would use instead."""

from lorabench.bench.command import Command
from lorabench.experiments.kernels.options import KernelsOptions

COMMAND = Command(
    "kernels",
    "Measure the hot path against torch and FBGEMM, side by side in one process.",
    KernelsOptions,
    experiment="lorabench.experiments.kernels.run:KernelComparison",
    view="lorabench.experiments.kernels.view:render",
    about="All candidates read the same tables, on 4 KiB and on 2 MiB pages, take turns on fresh "
    "indices in every call, and run on one thread. Prints nanoseconds a row, ratios with 95 % "
    "intervals, how far lookups are from the machine's random-read limit, and verdicts.",
    example="lorabench kernels --kernels lookup,lora --dim 64 --table-mib 64 -o kernels.json",
    beside=".pyperf.json",
)
