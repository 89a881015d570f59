"""The command twice at one machine, interleaved: the same version, one that is slower, killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from slower_python import slower_python, wrapped_python

from lorabench.bench.pair.run import Pair, run_pair
from lorabench.results.schema import Result

# A batch takes some tenths of a millisecond.
SLOWER_S = 0.003

COLOCATE = (
    *("colocate", "--preset", "tiny", "--conditions", "", "--load", "0.2"),
    *("--duration", "0.3", "--warmup", "0.1", "--label-delay", "0.1"),
)


class Quiet:
    """Watches nothing."""

    def stage(self, text: str, done: float) -> None: ...

    def case(self, number: int, total: int, text: str) -> None: ...


Compare = Callable[..., Pair]


@pytest.fixture(scope="module")
def compare(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Compare:
    """Run this version against itself, or against one that is slower."""
    cache = {"XDG_CACHE_HOME": environment["XDG_CACHE_HOME"]}

    def compare(*arguments: str, head: Path | None = None) -> Pair:
        folder = tmp_path_factory.mktemp("pair")
        base = wrapped_python(folder / "base", f"XDG_CACHE_HOME={cache['XDG_CACHE_HOME']}")
        return run_pair(
            str(base),
            str(head or base),
            arguments,
            folder=folder / "kept",
            decided=lambda *_: False,
            observer=Quiet(),
            say=print,
        )

    return compare


@pytest.fixture(scope="module")
def slower(compare: Compare, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Head's servers take longer for every batch."""
    head = slower_python(tmp_path_factory.mktemp("slower"), seconds=SLOWER_S)
    return compare(*COLOCATE, "--rounds", "2", head=head)


def values(result: Result, name: str, condition: str) -> list[float | None]:
    metric = result.metric(name, condition)
    assert metric is not None
    return metric.values


def test_both_serve_the_same_arrivals_at_the_rate_that_base_calibrates(slower: Pair) -> None:
    (base,), (head,) = slower.base, slower.head
    assert slower.notes == ()
    assert values(base, "offered_qps", "solo") == values(head, "offered_qps", "solo")
    # Though head's own capacity would have had it get less to do.
    assert values(head, "capacity_qps", "solo") < values(base, "capacity_qps", "solo")
    assert [r.schedule_sha256 for r in base.rounds] == [r.schedule_sha256 for r in head.rounds]
    assert base.config_hash == head.config_hash
    assert base.environment["course"] == head.environment["course"]
    assert not base.partial
    assert not head.partial


def test_a_slower_head_is_slower_in_every_pair(slower: Pair) -> None:
    (head,) = slower.head
    found = values(head, "latency_p50", "solo")
    assert len(found) == 2
    # By what was planted. A machine that is busy elsewhere only makes it more, on either side, so
    # that nothing is said of what base came to meanwhile.
    assert all(value is not None and value > SLOWER_S for value in found)


@pytest.mark.parametrize(
    "arguments",
    [
        ("kernels", "--kernels", "lookup", "--peers", "", "--table-mib", "1", "--dim", "16"),
        ("profile", "--preset", "tiny", "--windows", "1", "--window", "500"),
    ],
)
def test_other_commands_take_turns_as_well(compare: Compare, arguments: tuple[str, ...]) -> None:
    more = ("--rounds", "2", "--pooling", "1") if arguments[0] == "kernels" else ()
    (base,), (head,) = (pair := compare(*arguments, *more)).base, pair.head
    shapes = [
        {(one.name, one.condition): len(one.values) for one in side.metrics}
        for side in (base, head)
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0]
    assert base.config_hash == head.config_hash


PARENT = """
import sys
from pathlib import Path
from lorabench.bench.pair.run import run_pair

class Quiet:
    def stage(self, text, done): ...
    def case(self, *_): ...

run_pair(sys.executable, sys.executable, sys.argv[2:], folder=Path(sys.argv[1]),
         decided=lambda *_: False, observer=Quiet(), say=print)
"""


def family(folder: Path) -> list[tuple[int, str]]:
    """List pid and command line of processes whose lock is in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if f"LORABENCH_RUN_DIR={folder}\0".encode() in (entry / "environ").read_bytes():
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append((int(entry.name), words))
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_pair(
    environment: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    mine = environment | {"LORABENCH_RUN_DIR": str(tmp_path)}
    arguments = [str(tmp_path / "kept"), *COLOCATE, "--rounds", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], env=mine, stderr=subprocess.PIPE, text=True
    ) as parent:
        while not any("targets.node.worker" in words for _, words in family(tmp_path)):
            assert parent.poll() is None, parent.communicate()[1]
            time.sleep(0.05)
        parent.send_signal(how)
        assert parent.wait() == -how
    while family(tmp_path):  # the kernel takes its time; the test's own time is limited
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
