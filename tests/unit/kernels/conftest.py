"""`make sanitize` is to test the build that it made, and no other."""

import os
from pathlib import Path

from lorabench._kernels import dispatch

_sanitized = os.environ.get("LORABENCH_SANITIZED")
if _sanitized is not None and Path(_sanitized) not in Path(dispatch.__file__).parents:
    raise RuntimeError(f"found {dispatch.__file__}, expected the build in {_sanitized}")
