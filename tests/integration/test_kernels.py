"""``lorabench kernels`` end to end, on tables small enough for a test."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import COMMAND, Run

from lorabench.results.files import read_result
from lorabench.results.schema import Result

pytestmark = pytest.mark.slow

SMALL = ("kernels", "--dim", "16", "--pooling", "1,3", "--table-mib", "1", "--rounds", 2)


@pytest.fixture(scope="module")
def finished(lorabench: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path, str]:
    path = tmp_path_factory.mktemp("kernels") / "out.json"
    run = lorabench(*SMALL, "-o", path)
    assert run.returncode == 0, run.stderr
    return read_result(path), path, run.stdout


def test_every_kernel_is_in_the_document_with_a_value_a_round(finished) -> None:
    result, _, _ = finished
    names = {metric.name for metric in result.metrics}
    assert names >= {
        "lookup_row_s",
        "lookup_speedup",
        "lookup_lora_ratio",
        "lora_hit_share",
        "update_row_s",
        "update_speedup",
        "zipf_sample_s",
        "index_find_s",
        "top_rows_row_s",
        "gram_sample_s",
    }
    for metric in result.metrics:
        if metric.unit == "s":
            assert len(metric.values) == 2, metric
            assert all(value is not None and value > 0 for value in metric.values), metric
    scaling = {series.name for series in result.series}
    assert scaling == {f"row_s_by_{what}" for what in ("table_size", "bag_size", "rank", "tables")}


def test_the_document_says_what_ran_and_on_what(finished) -> None:
    result, _, _ = finished
    assert result.config["isa"] in result.environment["instruction_sets"]
    assert result.environment["pages"]["4k"]["workers"][0]["huge_fraction"] < 0.5
    missing = {entry.what for entry in result.unavailable}
    for peer in ("torch", "fbgemm"):
        assert (peer in result.environment["peers"]) != (peer in missing)
    assert isinstance(result.environment["system_checks"], list)


def test_two_rounds_are_too_few_for_a_verdict(finished) -> None:
    result, _, printed = finished
    assert {claim.verdict for claim in result.claims} <= {"inconclusive", "unavailable"}
    assert "expected at least 6" in " ".join(printed.split())
    assert printed.rstrip().endswith("out.json")


def test_nothing_printed_is_wider_than_the_terminal_or_cut(finished) -> None:
    _, _, printed = finished
    assert max(map(len, printed.splitlines()[:-1])) <= 100  # as wide as the fixture says
    assert "…" not in printed


def test_pyperf_compares_the_suite_beside_the_document(finished) -> None:
    _, path, _ = finished
    suite = path.with_suffix(".pyperf.json")
    compared = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", suite, suite],
        capture_output=True,
        text=True,
        check=False,
    )
    assert compared.returncode == 0, compared.stderr
    assert "lookup_row_s: lorabench 2m" in compared.stdout


def test_it_can_be_asked_for_one_kernel_one_build_and_no_peer(
    lorabench: Run, tmp_path: Path
) -> None:
    run = lorabench(
        *SMALL, "--kernels", "lookup", "--peers", "", "--isa", "plain", "--json",
        "-o", tmp_path / "out.json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["config"]["isa"] == "plain"
    assert {m["name"] for m in document["metrics"]} == {"lookup_row_s"}
    assert document["environment"]["peers"] == {}


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_was_finished(
    tmp_path: Path, signal_: signal.Signals
) -> None:
    path = tmp_path / "out.json"
    with subprocess.Popen(
        [COMMAND, *map(str, SMALL), "-v", "-o", path],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("3/"):
                process.send_signal(signal_)
                break
        said = process.stderr.read()
        assert process.wait(timeout=60) == 130
    by = "" if signal_ == signal.SIGINT else " by SIGTERM"
    assert said.splitlines()[-1] == f"lorabench: interrupted{by}; what was finished is in {path}"
    result = read_result(path)
    assert result.partial
    found = result.metric("lookup_row_s", candidate="lorabench", pages="2m", pooling=1)
    assert found is not None
    assert found.condition == "lorabench 2m, D=16, pooling 1, uniform, 1 MiB"
    assert path.with_suffix(".pyperf.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dim", "16,x"), "--dim: found '16,x', expected whole numbers separated by commas"),
        (("--kernels", "lookups"), "--kernels: found 'lookups'"),
        (("--table-mib", "99999999"), "--table-mib: found 99999999"),
        (("--isa", "sse9"), "--isa: found 'sse9'"),
        (("--rank", "64", "--kernels", "lora"), "--rank: found 64"),
        (("-o", "/proc/nowhere/out.json"), "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuse: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    output = () if "-o" in arguments else ("-o", tmp_path / "out.json")
    run = refuse(*SMALL, *arguments, *output)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_tables_that_do_not_fit_end_with_both_numbers(refuse: Run, tmp_path: Path) -> None:
    run = refuse(*SMALL, "--table-mib", 1 << 20, "-o", tmp_path / "out.json")
    assert run.returncode == 3
    assert "found 1.02e+03 GiB" in run.stderr or "found 1024 GiB" in run.stderr
    assert "available" in run.stderr
    assert not list(tmp_path.iterdir())
