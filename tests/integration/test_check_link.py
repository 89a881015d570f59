"""`freshness --check-link`: the model of the link agrees with real transfers; nothing is left."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command import COMMAND, Run

from lorabench.results.files import read_result
from lorabench.results.schema import Result

# No longer than 0.5 s at the lower rate: a stall of some ms makes no difference to a median of it.
SHORT = ("--check-rates", "200,400", "--check-sizes", 12, "--check-repeats", 3)


@pytest.fixture(scope="module")
def shaped(lorabench: Run, tmp_path_factory: pytest.TempPathFactory) -> Result:
    path = tmp_path_factory.mktemp("shaped") / "out.json"
    run = lorabench("freshness", "--check-link", *SHORT, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    for missing in result.unavailable:
        pytest.skip(f"{missing.what}: {missing.why}; {missing.enable}")
    return result


def test_the_model_agrees_with_shaped_transfers_within_a_tenth(shaped: Result) -> None:
    ratios = list(shaped.select("transfer_model_ratio"))
    assert len(ratios) == 6
    for ratio in ratios:
        assert ratio.estimate == pytest.approx(1, abs=0.1), ratio.condition
    (claim,) = shaped.claims
    assert (claim.id, claim.verdict) == ("sync.link", "inconclusive")  # of three rounds


def test_what_it_agrees_with_is_the_rate_that_was_asked_for(shaped: Result) -> None:
    for content in ("bytes", "fp32", "int8"):
        slow, fast = (
            shaped.metric("transfer_s", link=f"{rate} Mbit/s", content=content, bytes=12_000_000)
            for rate in (200, 400)
        )
        assert slow.estimate / fast.estimate == pytest.approx(2, rel=0.2)
    link = shaped.config["link"]["links"]["200 Mbit/s"]
    model = shaped.metric("transfer_model_s", "200 Mbit/s, 12 MB")
    assert model.estimate == pytest.approx(
        12e6 * 8 / (200e6 * 1448 / 1514) + link["round_trip_s"], rel=1e-9
    )


def test_without_privileges_it_goes_over_loopback_and_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    sizes = ("--check-sizes", "2,4", "--check-repeats", "2")
    run = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all", COMMAND, "freshness", "--check-link",
         *sizes, "-o", path],
        capture_output=True, text=True, check=False, timeout=240, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    assert [missing.what for missing in result.unavailable] == ["a link shaped by tc-tbf(8)"]
    assert "gives no network namespace" in result.unavailable[0].why
    assert {metric.labels["link"] for metric in result.metrics} == {"loopback"}
    # What the rate was measured on is not predicted by it.
    predicted = {metric.condition for metric in result.select("transfer_model_ratio")}
    assert predicted == {"loopback, 2 MB", "loopback, 4 MB fp32", "loopback, 4 MB int8"}


def namespaces() -> Iterator[tuple[int, int]]:
    """List processes and the network namespaces that they are in."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                yield int(entry.name), (entry / "ns/net").stat().st_ino


def started_by(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if f"LORABENCH_OWNER={pid}-".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def belonging_to(run_dir: Path) -> list[int]:
    """List the processes that were started with this run directory, whoever started them."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if f"LORABENCH_RUN_DIR={run_dir}".encode() in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry.name))
    return found


def named_namespaces() -> set[str]:
    """List the namespaces that a mount keeps without a process in them (ip-netns(8))."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {line.split()[3] for line in mounts if " - nsfs " in line}


def test_a_killed_run_leaves_neither_processes_nor_namespaces(
    shaped: Result, environment: dict[str, str], tmp_path: Path
) -> None:
    mine = environment | {"LORABENCH_RUN_DIR": str(tmp_path)}
    command = [
        COMMAND,
        "freshness",
        "--check-link",
        "--check-rates",
        "1",
        "-o",
        tmp_path / "o.json",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=mine) as run:
        own = Path("/proc/self/ns/net").stat().st_ino
        inside: set[int] = set()
        while len(inside) < 2:
            assert run.poll() is None
            ends = started_by(run.pid)
            inside = {space for pid, space in namespaces() if pid in ends and space != own}
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    # No sweep: the kernel has ended them, and with them what was theirs. A namespace lives as long
    # as a process is in it or a mount names it. Its number alone proves nothing: the kernel gives
    # it to the next namespace of whomever.
    while started_by(run.pid):
        time.sleep(0.01)
    assert belonging_to(tmp_path) == []
    assert not named_namespaces() & {f"net:[{space}]" for space in inside}
