"""The installed command on documents of others: what it writes, and what it does not wait for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

DOCUMENTS = Path(__file__).parents[1] / "data/schema1"


def test_results_of_several_commands_go_down_a_pipe(lorabench: Callable[..., Any]) -> None:
    paths = [DOCUMENTS / "colocate.json", DOCUMENTS / "freshness.json"]
    run = lorabench("export", *paths, "--openmetrics", "-")
    assert (run.returncode, run.stderr) == (0, "")
    families = {one.name: one for one in text_string_to_metric_families(run.stdout)}
    runs = {sample.labels["command"] for sample in families["lorabench_run_info"].samples}
    assert runs == {"colocate", "freshness"}


def test_a_pipe_that_nobody_writes_is_not_waited_for(
    lorabench: Callable[..., Any], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    run = lorabench("export", tmp_path / "fifo", "--openmetrics", tmp_path / "out")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        f"lorabench: {tmp_path}/fifo: found a device or pipe, expected a result document\n"
    )
    assert not (tmp_path / "out").exists()
