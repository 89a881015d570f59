"""What takes a whole run: the contract of experiments, for the command that starts processes."""

from pathlib import Path

import pytest
from command_contract import ExperimentContract

from lorabench.experiments import colocate
from lorabench.experiments.colocate.options import ColocateOptions


@pytest.mark.slow
class TestColocate(ExperimentContract):
    command = colocate.COMMAND

    def small(self, folder: Path) -> ColocateOptions:
        return ColocateOptions(
            preset="tiny",
            conditions=(),  # what a trainer adds is seen in test_colocate
            rounds=1,
            duration_s=0.3,
            warmup_s=0.1,
            label_delay_s=0.1,
            qps=100.0,
        )
