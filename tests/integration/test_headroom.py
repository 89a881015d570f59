"""``lorabench headroom`` as it is used: watching, reading a recording, measuring."""

import gzip
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from command import COMMAND, Run

from lorabench.results.files import read_result


def test_without_options_it_watches_this_host(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench("headroom", "--duration", 2, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert "CPU busy" in run.stdout
    assert result.config["experiment"]["mode"] == "passive"
    assert result.claims[0].verdict == "unavailable"
    raw = np.load(path.with_suffix(".npz"))
    assert raw["cpu_busy"].shape == (len(raw["spans_s"]), len(raw["cpu"]))


def test_a_process_is_watched_by_its_number(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench("headroom", "--pid", os.getpid(), "--duration", 1.5, "--json", "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert run.stdout == path.read_text()
    assert result.metric("cpu_cores", "pid") is not None


def wait_for_samples(pid: int) -> None:
    """Wait until a process has read, slept and read again a few times."""
    process = psutil.Process(pid)
    for _ in range(4):
        before = process.io_counters().read_count
        while process.io_counters().read_count == before:
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_seen_is_kept_and_named(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "out.json"
    with subprocess.Popen(
        [COMMAND, "headroom", "--duration", "300", "-v", "-o", str(path)],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as run:
        assert run.stderr is not None
        assert "observing host" in run.stderr.readline()
        wait_for_samples(run.pid)
        run.send_signal(number)
        said = run.stderr.read().splitlines()[-1]
        assert run.wait(60) == 130
    by = "" if number == signal.SIGINT else " by SIGHUP"
    assert said == f"lorabench: interrupted{by}; what was finished is in {path}"
    assert read_result(path).partial


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--trace", "none.csv"), 2, "none.csv: No such file"),
        (("--slo-ms", 5), 2, "--slo-ms: found it without --preset or --data"),
        (("--preset", "tiny", "--duties", "0,x"), 2, "--duties: found '0,x', expected numbers"),
        (("--preset", "tiny", "--duties", "0,1"), 2, "--duties: found 0,1, expected 6 or more"),
        (("--preset", "tiny", "--pid", 1), 2, "--pid: found it with --preset or --data"),
    ],
)
def test_bad_use_is_one_line(refuse: Run, tmp_path: Path, arguments, code, message) -> None:
    run = refuse("headroom", *arguments, cwd=tmp_path)
    assert run.returncode == code
    assert run.stderr.startswith("lorabench: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_recording_is_read_or_asked_about(lorabench: Run, refuse: Run, tmp_path: Path) -> None:
    """Cores in use, packed and in UTF-16, as they come from another's machine."""
    rows = "".join(f"{1_714_982_400 + 10 * i},3.{i % 10}\n" for i in range(60))
    (tmp_path / "cores.csv.gz").write_bytes(gzip.compress(f"Time,web1\n{rows}".encode("utf-16")))
    asked = refuse("headroom", "--trace", "cores.csv.gz", "-o", "out.json", cwd=tmp_path)
    assert asked.returncode == 2
    assert asked.stderr.startswith("lorabench: cores.csv.gz, column 2 (web1): found values from 3")
    assert "--unit share|percent|cores" in asked.stderr
    assert asked.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cores.csv.gz"]
    path = tmp_path / "out.json"
    run = lorabench(
        *("headroom", "--trace", tmp_path / "cores.csv.gz", "--unit", "cores", "--cpus", 32),
        *("--strict", "-o", path),
    )
    assert run.returncode == 0, run.stderr
    assert "Read as: 1 column is cores in use; busy = cores / 32" in run.stdout
    (claim,) = read_result(path).claims
    assert (claim.verdict, claim.measured) == ("met", pytest.approx(3.9 / 32))


@pytest.mark.slow
def test_usable_headroom_is_measured_at_every_duty(lorabench: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    run = lorabench(
        *("headroom", "--preset", "tiny", "--conditions", "shared", "--rounds", 1),
        *("--duration", 2.5, "--warmup", 0.2, "--label-delay", 0.1, "--qps", 1000),
        *("--slo-ms", 1000, "-o", path),
    )
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    names = {f"shared@{duty:g}" for duty in (0.1, 0.25, 0.5, 0.75, 1)}
    (round_,) = result.rounds
    assert set(round_.order) == {"solo", "solo_repeat", *names}
    assert len(set(round_.schedule_sha256.values())) == 1
    for name in names:
        trained = result.metric("trainer_cores", name)
        assert trained is not None
        assert trained.estimate is not None
        assert trained.estimate > 0
    (claim,) = result.claims
    assert (claim.id, claim.verdict) == ("headroom.idle", "unavailable")
    assert "a bench made load on the node" in claim.reason
    usable = result.metric("headroom_samples_per_s", "shared")
    assert usable is not None
    slo = result.metric("headroom_slo", "shared")
    assert slo is not None
    assert slo.estimate == pytest.approx(1.0)
    drawn = {line.name for line in result.series if line.condition == "shared"}
    assert drawn >= {"latency_p99", "latency_p99_fit", "latency_p99_slo"}
    fitted = next(line for line in result.series if line.name == "latency_p99_fit")
    assert len(fitted.x) == 6
    assert fitted.y == sorted(fitted.y)
    assert "from 1 round" in run.stdout
