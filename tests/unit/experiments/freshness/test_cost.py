"""What ``freshness --cost-only`` says and refuses, and that it loads nothing that replays."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lorabench.cli import app
from lorabench.errors import InputError
from lorabench.results.files import read_result
from lorabench.results.schema import Result
from lorabench.updates.touch_trace import TouchWriter

ASKED = {"emt_bytes": 200e12, "links": 1}


def reckoned(folder: Path, *options: str) -> Result:
    path = folder / "cost.json"
    arguments = ["freshness", "--cost-only", "-q", "-o", str(path), *options]
    app(arguments, standalone_mode=False)
    return read_result(path)


def value(result: Result, name: str, **labels: object) -> float | None:
    found = result.metric(name, **ASKED | labels)
    assert found is not None, labels
    return found.estimate


def test_the_figures_of_the_claim_and_what_its_own_source_reckons_with(tmp_path, capsys) -> None:
    result = reckoned(tmp_path)
    minutes = {s: value(result, "sync_s", share=s) / 60 for s in (0.05, 0.1, 1.0)}
    assert minutes == pytest.approx({0.05: 13.333, 0.1: 26.667, 1.0: 266.67}, rel=1e-4)
    (claim,) = result.claims
    assert (claim.id, claim.verdict, claim.basis) == ("sync.delta10", "met", "derived")
    assert "26.7 min, all 4.44 h and 5 % 13.3 min" in claim.reason
    assert "at most 95.2 %" in claim.reason
    shown = " ".join(capsys.readouterr().out.split())
    told = (
        "touched-rows: rows are touched faster (33.3 GB/s) than the link carries (12.5 GB/s): "
        "pushes grow until all rows go, 4.44 h"
    )
    assert told in shown
    assert "touched-rows 20.0 TB 26.7 min 33.3 GB/s 2.67 all rows: 4.44 h" in shown
    assert "priority-5 4.06 s 40.6 s 3.39 min 13.5 min*" in shown
    assert "delta 4.51 h all 2.26 h all 6.77 min 3.39 min" in shown


def test_a_push_either_fits_its_interval_or_follows_the_last(tmp_path) -> None:
    result = reckoned(tmp_path, "--push-interval", "600", "--round-trip", "20")
    for one in result.select("sync_period_s"):
        settled_s = result.metric("sync_settled_s", one.condition).estimate
        assert one.estimate == 600 if settled_s <= 600 else one.estimate == pytest.approx(settled_s)
    assert value(result, "sync_fixed_point_s", strategy="delta") is None
    assert value(result, "sync_period_s", strategy="delta", links=4) == 600
    assert value(result, "link_load", strategy="stream") == pytest.approx(2.7083, rel=1e-4)
    assert value(result, "sync_bytes", strategy="lora") == 0


def test_the_link_that_was_asked_for_decides_and_the_claim_stays(tmp_path) -> None:
    options = ("--link-gbps", "400", "--links", "2", "--link-efficiency", "0.5")
    result = reckoned(tmp_path, *options, "--emt-bytes", "1.5PB", "--preset", "tiny")
    assert value(result, "sync_s", share=0.1, emt_bytes=1.5e15, links=2) == pytest.approx(3000)
    assert result.config["experiment"]["dim"] == 16
    assert result.claims[0].measured == 1600


def test_a_trace_decides_what_is_touched(tmp_path, capsys) -> None:
    # A tenth of the rows, all in each second: what is sent does not grow with the interval.
    with TouchWriter(tmp_path / "touch.parquet", (1000,), (1,)) as writer:
        ids = np.tile(np.arange(100, dtype=np.int32), 900)[:, None]
        writer.add(np.repeat(np.arange(900) * 10**9, 100), ids)
    result = reckoned(tmp_path, "--touch-trace", str(tmp_path / "touch.parquet"))
    assert value(result, "sync_bytes", strategy="touched-rows") == pytest.approx(20e12)
    assert value(result, "sync_fixed_point_s", strategy="touched-rows") == pytest.approx(1600)
    assert value(result, "sync_bytes_per_s", strategy="stream") == pytest.approx(20e12 * 520 / 512)
    assert "rows touched as in the trace, 100 of 1,000" in " ".join(capsys.readouterr().out.split())


def test_a_report_has_what_every_place_comes_to(tmp_path, capsys) -> None:
    reckoned(tmp_path, "--touched", "0.05", "--dim", "64")
    capsys.readouterr()
    app(["report", str(tmp_path / "cost.json"), "--format", "md"], standalone_mode=False)
    page = capsys.readouterr().out
    assert "## What pushes cost" in page
    # 10 TB of touched rows with their keys, 264 bytes for 256.
    row = next(line for line in page.splitlines() if line.startswith("| delta, 200TB, 1 link |"))
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["10.3", "13.8", "17.2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--emt-bytes", "200"), "--emt-bytes: found '200', expected a size with its unit"),
        (("--emt-bytes", "200Tb"), "--emt-bytes: found '200Tb', expected a size with its unit"),
        (("--emt-bytes", "0TB"), "--emt-bytes: found 0.0, expected above 0"),
        (("--link-gbps", "0"), "--link-gbps: found 0.0, expected above 0"),
        (("--links", "0"), "--links: found 0, expected at least 1"),
        (("--link-efficiency", "1.1"), "--link-efficiency: found 1.1, expected above 0 and at"),
        (("--touched", "1.1"), "--touched: found 1.1, expected above 0 and at most 1"),
        (("--touched", "0.2", "--touch-trace", "t"), "--touched: found --touch-trace beside it"),
        (("--touch-trace", "none.parquet"), "none.parquet: No such file or directory; expected a"),
        (("--rows", "600"), "--rows: found it beside --cost-only"),
        (("--data", "d"), "--data: found it beside --cost-only"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(options, expected, tmp_path) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        reckoned(tmp_path, *options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--touched=0.2", "--touch-trace=t"])
def test_what_only_the_reckoning_goes_by_is_refused_without_it(option) -> None:
    with pytest.raises(InputError, match="found it without --cost-only"):
        app(["freshness", option], standalone_mode=False)


def test_nothing_that_replays_is_loaded(tmp_path) -> None:
    program = (
        "import sys; from lorabench.cli import app; "
        f"app(['freshness', '--cost-only', '-o', {str(tmp_path / 'c.json')!r}], "
        "standalone_mode=False); assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
