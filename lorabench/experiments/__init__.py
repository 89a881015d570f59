"""The subcommands that measure: a folder each, none of which imports another."""

from lorabench.bench.command import Command
from lorabench.experiments.calibrate import COMMAND as CALIBRATE
from lorabench.experiments.colocate import COMMAND as COLOCATE
from lorabench.experiments.doctor import COMMAND as DOCTOR
from lorabench.experiments.freshness import COMMAND as FRESHNESS
from lorabench.experiments.headroom import COMMAND as HEADROOM
from lorabench.experiments.kernels import COMMAND as KERNELS
from lorabench.experiments.profile import COMMAND as PROFILE
from lorabench.experiments.workload import GENERATE, INGEST

COMMANDS: tuple[Command, ...] = (
    CALIBRATE,
    COLOCATE,
    DOCTOR,
    FRESHNESS,
    GENERATE,
    HEADROOM,
    INGEST,
    KERNELS,
    PROFILE,
)
