"""`make sanitize` is to test the build that it made, and no other."""

import os
from pathlib import Path

from lorabench import _hotpath

_sanitized = os.environ.get("LORABENCH_SANITIZED")
if _sanitized is not None and Path(_sanitized) not in Path(_hotpath.__file__).parents:
    raise RuntimeError(f"found {_hotpath.__file__}, expected the build in {_sanitized}")
