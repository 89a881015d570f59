"""How integration tests call the installed command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

COMMAND = Path(sys.executable).with_name("lorabench")

Run = Callable[..., subprocess.CompletedProcess[str]]

# The shortest run that still has every part: no capacity measurement, one condition.
SHORT = (
    *("--preset", "tiny", "--rounds", 1, "--duration", 0.5, "--warmup", 0.2),
    *("--label-delay", 0.1, "--qps", 200, "--conditions", "pinned"),
)
