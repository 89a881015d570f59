import json
import os
import platform
import socket
import sys
from pathlib import Path

import psutil
import pytest
from own_mounts import why_not, with_mounts

from lorabench.host import environment
from lorabench.host.processes import descendants
from lorabench.host.topology import read_topology
from lorabench.memory import PageSizes


@pytest.fixture(scope="module")
def captured():
    return environment.capture(read_topology())


@pytest.mark.skipif(bool(reason := why_not()), reason=reason)
def test_a_stat_without_a_boot_time_loses_nothing(tmp_path: Path) -> None:
    """lxcfs leaves it out, and psutil wants it."""
    stat = tmp_path / "stat"
    lines = Path("/proc/stat").read_text().splitlines(keepends=True)
    stat.write_text("".join(line for line in lines if not line.startswith("btime")))

    def act() -> None:
        with pytest.raises(RuntimeError, match="btime"):
            psutil.boot_time()
        captured = environment.capture(read_topology())
        assert captured["pyperf"]["cpu_count"] == os.cpu_count()
        assert captured["pyperf"]["uptime"] > 0
        assert os.getpid() in descendants(os.getpid())

    with_mounts([("--bind", str(stat), "/proc/stat")], act)


def test_the_environment_is_json_and_holds_no_nan(captured):
    assert json.loads(json.dumps(captured, allow_nan=False)) == captured


def test_it_says_on_what_machine(captured):
    assert captured["kernel"] == platform.release()
    assert captured["cpu"]["arch"]
    assert captured["pyperf"]["cpu_count"] == os.cpu_count()
    assert captured["topology"] == read_topology().as_document()


def test_it_names_neither_host_nor_user_nor_path(captured):
    text = json.dumps(captured)
    assert f'"{socket.gethostname()}"' not in text
    assert "hostname" not in text
    assert sys.prefix not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"


def test_it_names_what_makes_noise(captured):
    noise = captured["noise"]
    assert noise["load_average_1min"] >= 0
    assert 0 <= noise["steal_fraction_since_boot"] < 1
    assert isinstance(noise["hypervisor"], bool)
    assert noise["clocksource"] in (
        Path("/sys/devices/system/clocksource/clocksource0/available_clocksource")
        .read_text()
        .split()
    )


def test_the_chosen_huge_page_setting_is_given_and_not_the_menu(captured):
    text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    assert f"[{captured['transparent_hugepage']['enabled']}]" in text


def test_pages_are_listed_worker_by_worker():
    assert environment.pages("collapse", [PageSizes(8192, 4096), PageSizes(0, 0)]) == {
        "method": "collapse",
        "workers": [
            {"resident_bytes": 8192, "huge_bytes": 4096, "huge_fraction": 0.5},
            {"resident_bytes": 0, "huge_bytes": 0, "huge_fraction": 0.0},
        ],
    }
