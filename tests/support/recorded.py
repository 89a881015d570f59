"""Where recorded data lie: Criteo rows, topologies, resctrl trees. They are not ours to hand on."""

import os
from pathlib import Path

FOLDER = Path(
    os.environ.get("LORABENCH_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def missing() -> str | None:
    """Say what is not there; None where recorded data are."""
    if FOLDER.is_dir():
        return None
    return f"no recorded data in {FOLDER}: LORABENCH_DATA=FOLDER make test"
