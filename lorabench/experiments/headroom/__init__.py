"""How idle a serving host is, and how much of that training may use."""

from lorabench.bench.command import Command
from lorabench.experiments.headroom.options import HeadroomOptions

COMMAND = Command(
    "headroom",
    "Observe how idle a serving host is, or measure how much training its p99 leaves room for.",
    HeadroomOptions,
    experiment="lorabench.experiments.headroom.run:make",
    view="lorabench.experiments.headroom.view:render",
    about="Without options it watches this host for a minute and changes nothing. With --preset or "
    "--data it serves a load itself and trains beside it at several duties.",
    example="lorabench headroom --duration 15 -o idle.json",
    beside=".npz",
)
