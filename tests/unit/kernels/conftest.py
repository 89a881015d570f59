"""Which build of the kernels is tested; `make sanitize` is to test its own, and no other."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorabench._kernels import dispatch

_sanitized = os.environ.get("LORABENCH_SANITIZED")
if _sanitized is not None and Path(_sanitized) not in Path(dispatch.__file__).parents:
    raise RuntimeError(f"found {dispatch.__file__}, expected the build in {_sanitized}")


@pytest.fixture(params=dispatch.instruction_sets(), scope="module")
def build(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each build of the kernels that runs here, in turn."""
    dispatch.use_instruction_set(request.param)
    yield request.param
    dispatch.use_instruction_set(dispatch.instruction_sets()[0])
