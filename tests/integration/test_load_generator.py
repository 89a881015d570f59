"""``lorabench colocate --load-generator mlperf``: LoadGen drives the servers of a real run."""

import hashlib
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest
from command import COMMAND, SHORT, Run

from lorabench.results.files import read_result
from lorabench.targets.loadgen import INSTALL, LOGS

pytestmark = pytest.mark.slow

pytest.importorskip("mlperf_loadgen", reason=f"needs MLCommons LoadGen: {INSTALL}")

TESTED = (*SHORT, "--load-generator", "mlperf")


def test_loadgens_queries_are_ours_and_its_latency_and_logs_stand_beside(
    lorabench: Run, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    run = lorabench("colocate", *TESTED, "-o", path)
    assert run.returncode == 0, run.stderr
    result, raw = read_result(path), np.load(path.with_suffix(".npz"))
    said = result.environment["load_generator"]
    assert said["name"] == "mlperf"
    assert {test["condition"] for test in said["tests"]} == {"solo@mlperf", "pinned@mlperf"}
    arrivals = []
    for test in said["tests"]:
        at = f"block{test['block']}/{test['condition']}"
        scheduled, issued, started, done = (
            raw[f"{at}/{name}_ns"] for name in ("scheduled", "issued", "started", "done")
        )
        assert test["queries"] == len(done) > 0
        assert (scheduled <= issued).all()
        assert (issued <= started).all()
        assert (started < done).all()
        assert raw[f"{at}/counted"].all()
        arrivals.append(np.diff(scheduled))
        theirs = result.metric("loadgen_latency_p99", test["condition"])
        ratio = result.metric("loadgen_p99_ratio", test["condition"], load_generator="mlperf")
        assert theirs is not None
        assert ratio is not None
        latency_s = np.sort(done - scheduled) / 1e9
        ours_s = latency_s[int(np.ceil(0.99 * len(latency_s))) - 1]
        assert ratio.values == [pytest.approx(ours_s / theirs.values[0])]
        # LoadGen hears of an answer once it is there, and both sides are of one schedule; that
        # its clock began with the query it handed over most promptly is a moment off.
        assert ratio.values[0] < 1.1
    np.testing.assert_array_equal(*arrivals)  # the same of each condition in a turn
    assert result.logs is not None
    assert len(result.logs.sha256) == len(LOGS) * len(said["tests"])
    for name, digest in result.logs.sha256.items():
        written = (tmp_path / result.logs.name / name).read_bytes()
        assert hashlib.sha256(written).hexdigest() == digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.mlperf", "out.npz"]
    assert "LoadGen of solo@mlperf: p99 " in run.stdout


def test_ctrl_c_while_loadgen_runs_keeps_what_was_finished_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # The second turn of LoadGen's is as long as the first, which is over by then.
    arguments = [*TESTED, "--rounds", 2, "-o", tmp_path / "out.json", "-v"]
    with subprocess.Popen(
        [COMMAND, "colocate", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"TMPDIR": str(scratch)},
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "LoadGen's test 2 of 2" in line:
                break
        else:
            pytest.fail("it ended before LoadGen's second turn")
        children = psutil.Process(run.pid).children(recursive=True)
        assert len(children) == 3  # a server, a trainer, LoadGen
        run.send_signal(signal.SIGINT)
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    kept = f"what was finished is in {tmp_path / 'out.json'}"
    assert errors.splitlines()[-1] == f"lorabench: interrupted; {kept}"
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not [one for one in alive if one.is_running()]
    result = read_result(tmp_path / "out.json")
    assert result.partial
    assert len(result.environment["load_generator"]["tests"]) == 2  # of the first turn
    assert result.logs is not None
    assert list(scratch.iterdir()) == []
