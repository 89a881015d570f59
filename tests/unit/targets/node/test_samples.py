"""Rings of a model's samples: what a record holds follows from the tables."""

import numpy as np
import pytest

from lorabench._kernels.lookup import Tables
from lorabench.errors import InputError
from lorabench.memory import Region
from lorabench.targets.node.samples import open_ring

TABLES = Tables([np.ones((9, 16), np.float32)] * 4, (1, 2, 3, 40))
STATE = 256  # counters of both ends


def test_a_record_holds_every_id_and_with_reuse_the_base_vectors_that_are_worth_it() -> None:
    plain = 16 + 4 * (2 + 46)
    for reuse, record in ((False, plain), (True, plain + 8 + 2 * 64)):
        region = Region.create("ring", STATE + 3 * record)
        ring = open_ring(region, TABLES, 2, reuse=reuse)
        assert (ring.capacity, ring.base_bytes) == (3, 136 if reuse else 0)
        region.close()


def test_memory_for_less_than_a_sample_is_refused_by_option() -> None:
    region = Region.create("ring", STATE + 200)
    with pytest.raises(InputError, match=r"--replay-bytes: .* expected at least 464, the size"):
        open_ring(region, TABLES, 2)
    region.close()
