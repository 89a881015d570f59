"""The document of doctor, and how it looks at the widths that terminals have."""

import io
import json
from pathlib import Path

import machine_tree
import pytest
from rich.console import Console

from lorabench.bench.progress import ProgressObserver
from lorabench.bench.runner import document
from lorabench.experiments.doctor.options import DoctorOptions
from lorabench.experiments.doctor.run import Doctor
from lorabench.experiments.doctor.view import render, shorten
from lorabench.results.schema import Result


def diagnose(root: Path) -> Result:
    experiment = Doctor(DoctorOptions(sysroot=root))
    assert experiment.findings() is None
    experiment.measure(ProgressObserver(None, None))
    found = experiment.findings()
    assert found is not None
    return document("doctor", found)


def shown(result: Result, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    render(result, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A machine without RDT, with a quota and a long memory of steal."""
    return machine_tree.write(
        tmp_path,
        {
            "proc/cpuinfo": machine_tree.cpuinfo("avx2 hypervisor"),
            "proc/filesystems": "\text4\n",
            "proc/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
            "proc/stat": "cpu  100 0 100 780 0 0 0 20 0 0\n",
            f"{machine_tree.GROUP}/cpu.max": "150000 100000\n",
            f"{machine_tree.GROUP}/memory.max": "1073741824\n",
        },
    )


def test_the_document_has_rows_conditions_numbers_and_what_is_unavailable(bare: Path) -> None:
    result = diagnose(bare)
    assert result.command == "doctor"
    assert result.config == {"sysroot": str(bare)}
    rows = {row["name"]: row for row in result.environment["capabilities"]}
    assert set(rows["cpu"]) == {"name", "state", "evidence", "enable", "detail", "area"}
    assert result.environment["cpu"]["brand_raw"] == "Xeon  (test)"
    assert result.environment["cpu"]["flags"] == ["avx2", "hypervisor"]
    assert result.environment["kernel"] == "6.8.0-test"
    assert [node["id"] for node in result.environment["topology"]["nodes"]] == [0, 1]
    values = {metric.name: metric.estimate for metric in result.metrics}
    assert {metric.condition for metric in result.metrics} == {"machine"}
    expected = {
        "cpus_online": 4,
        "cpus_allowed": 4,
        "physical_cores": 4,
        "l3_domains": 2,
        "numa_nodes": 2,
        "memory_bytes": 16 << 30,
        "hugetlb_free_bytes_2048k": 16 << 20,
        "steal_fraction": 0.02,
        "cpu_quota": 1.5,
        "memory_limit_bytes": 1 << 30,
    }
    assert expected.items() <= values.items()
    counts = {state: values[f"capabilities_{state}"] for state in ("available", "unavailable")}
    assert counts["unavailable"] == sum(row["state"] == "unavailable" for row in rows.values())
    lacks = {lack.what: lack for lack in result.unavailable}
    conditions = {row["name"] for row in result.environment["conditions"]}
    assert conditions == {"naive", "pinned", "shared", "numa", "rdt", "isolated"}
    assert {"rdt", "mba", "sched_idle"} <= set(lacks)
    assert "pinned" not in lacks
    assert "bare metal" in lacks["rdt"].enable
    assert "no mba" in lacks["mba"].why


def test_the_document_survives_its_file_and_renders_from_it(bare: Path) -> None:
    result = diagnose(bare)
    again = Result.model_validate(json.loads(result.model_dump_json(by_alias=True)))
    assert again == result
    assert shown(again, 100) == shown(result, 100)


def test_nothing_of_this_machine_gets_into_that_of_a_tree(bare: Path) -> None:
    environment = diagnose(bare).environment
    assert set(environment) == {"cpu", "kernel", "topology", "capabilities", "conditions"}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_row_and_remedy_is_shown_within_the_width(bare: Path, width: int) -> None:
    result = diagnose(bare)
    lines = shown(result, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for row in (*result.environment["capabilities"], *result.environment["conditions"]):
        assert f"{row['name']} {row['state']}" in text
    assert any(line.strip("─") == "" and line for line in lines)
    assert "Xeon (test), 4 CPUs, 2 NUMA nodes, 16 GiB, Linux 6.8.0-test" in lines[0]
    assert "as above" in text
    if width == 80:
        assert "→ run on bare metal with Intel RDT, AMD QoS" in text
    else:
        assert "how to enable" in text
    assert lines[-1].startswith("capabilities: ")


@pytest.mark.parametrize(
    ("evidence", "short"),
    [
        ("/proc/stat: steal 0 %", "/proc/stat: steal 0 %"),
        ("/sys/a/b/c: 1; /sys/d/e/f/g: x", "/sys/…/b/c: 1; /sys/…/f/g: x"),
        ("/sys/fs/resctrl: 0 of 3", "/sys/fs/resctrl: 0 of 3"),
        ("run 1/2/3/4 of it", "run 1/2/3/4 of it"),
    ],
)
def test_the_middle_of_long_paths_is_left_out(evidence: str, short: str) -> None:
    assert shorten(evidence) == short
