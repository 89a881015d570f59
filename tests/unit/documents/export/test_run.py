"""Documents are written in the formats of other tools, each asked what it reads of them."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import colocate_samples as samples
import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from lorabench.bench.command import NoOutput
from lorabench.documents.export import COMMAND
from lorabench.documents.export.options import ExportOptions
from lorabench.errors import InputError
from lorabench.results.files import read_result

COLOCATE = Path(__file__).parents[3] / "data/schema2/colocate.json"
SMALL = replace(samples.STORMY, blocks=3, queries=400)


def export(*paths: Path, **options: object) -> None:
    COMMAND.run(ExportOptions(paths, **options), NoOutput())


def pyperf(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "pyperf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def changed(path: Path, folder: Path, factor: float, blocks: int, name: str) -> Path:
    """Write a document again whose blocks, so many, took longer by a factor."""
    document = json.loads(path.read_text()) | {"id": name}
    for metric in document["metrics"]:
        spread = [1 + 0.01 * (-1) ** number for number in range(blocks)]
        if metric["unit"] == "s" and metric["values"] and None not in metric["values"]:
            metric["values"] = [metric["values"][0] * factor * one for one in spread]
    (folder / name).write_text(json.dumps(document))
    return folder / name


def test_pyperf_compares_two_exports_and_finds_no_difference_in_unlike_counts(
    tmp_path: Path,
) -> None:
    base = changed(COLOCATE, tmp_path, 1.0, 6, "base")
    head = changed(COLOCATE, tmp_path, 1.0, 9, "head")
    slow = changed(COLOCATE, tmp_path, 1.5, 6, "slow")
    for one, other in ((base, head), (head, base), (slow, base)):
        export(one, pyperf=f"{one}.{other.name}.json", like=other)
    same = pyperf("compare_to", f"{base}.head.json", f"{head}.base.json")
    assert "latency_p99: solo" in same.partition("hidden because not significant")[2]
    slower = pyperf("compare_to", f"{head}.base.json", f"{slow}.base.json")
    assert "latency_p99: solo" in slower.partition("hidden because not significant")[0]
    assert "1.50x slower" in slower
    # What it guards against.
    export(base, pyperf=f"{base}.json")
    export(head, pyperf=f"{head}.json")
    unlike = pyperf("compare_to", f"{base}.json", f"{head}.json")
    assert "latency_p99: solo" in unlike.partition("hidden because not significant")[0]


def test_pyperf_tells_what_the_values_of_the_blocks_are(tmp_path: Path) -> None:
    export(COLOCATE, pyperf=str(tmp_path / "out"))
    text = pyperf("stats", tmp_path / "out")
    metrics = read_result(COLOCATE).metrics
    timings = [
        f"{metric.name}: {metric.condition}"
        for metric in metrics
        if metric.unit == "s"
        and sum(value is not None and value > 0 for value in metric.values) > 1
    ]
    assert f"Number of benchmarks: {len(timings)}" in text
    assert all(name in text for name in timings)


def read_log(path: Path) -> dict[str, list[HdrHistogram]]:
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000_000, 3))
    found: dict[str, list[HdrHistogram]] = {}
    while (one := reader.get_next_interval_histogram()) is not None:
        found.setdefault(one.get_tag(), []).append(one)
    reader.close()
    return found


def test_a_log_has_the_latencies_of_the_queries_that_count(tmp_path: Path) -> None:
    arrays = samples.arrays(SMALL)
    path = samples.write(tmp_path / "run.json", arrays)
    export(path, hlog=str(tmp_path / "out"))
    found = read_log(tmp_path / "out")
    assert list(found) == list(SMALL.cases)
    for case, histograms in found.items():
        assert len(histograms) == SMALL.blocks
        for block, histogram in enumerate(histograms):
            counted = arrays[f"block{block}/{case}/counted"]
            latency = arrays[f"block{block}/{case}/done_ns"]
            latency = np.sort((latency - arrays[f"block{block}/{case}/scheduled_ns"])[counted])
            assert histogram.get_total_count() == len(latency)
            for share in (0.5, 0.95, 0.99):
                rank = math.ceil(share * len(latency))
                value = histogram.get_value_at_percentile(100 * rank / len(latency))
                assert value == pytest.approx(latency[rank - 1], rel=1e-3)
        begins = [one.get_start_time_stamp() for one in histograms]
        assert begins == sorted(set(begins))


def test_blocks_without_a_counted_query_are_left_out_and_none_at_all_is_refused(
    tmp_path: Path,
) -> None:
    arrays = samples.arrays(replace(SMALL, cases=("solo",)))
    arrays["block1/solo/counted"] &= False
    export(samples.write(tmp_path / "run.json", arrays), hlog=str(tmp_path / "out"))
    assert len(read_log(tmp_path / "out")["solo"]) == SMALL.blocks - 1
    path = samples.write(tmp_path / "run.json", {"round0/solo/counted": np.ones(3)})
    with pytest.raises(InputError, match=r"run\.npz: found no queries that count by block and"):
        export(path, hlog=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_the_newest_result_goes_to_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "results").mkdir()
    for name, day in (("colocate", 1), ("doctor", 2)):
        document = COLOCATE.with_name(f"{name}.json").read_bytes()
        (tmp_path / f"results/{name}-2026010{day}T000000-abcdef.json").write_bytes(document)
    monkeypatch.chdir(tmp_path)
    export(openmetrics="-")
    out = capfdbinary.readouterr().out
    assert b'command="doctor"' in out
    assert out.endswith(b"# EOF\n")
    export(Path("results/doctor-20260102T000000-abcdef.json"), openmetrics="x", timestamps=True)
    assert (tmp_path / "x").read_bytes().count(b" 17") > out.count(b" 17")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "found no format, expected one of --pyperf, --hlog, --openmetrics"),
        ({"pyperf": "a", "hlog": "b"}, "found --pyperf and --hlog, expected one of --pyperf, --h"),
        ({"hlog": "a", "like": COLOCATE}, "--like: found --hlog, expected it with --pyperf alone"),
        ({"pyperf": "a", "timestamps": True}, "--timestamps: found --pyperf, expected it with --"),
        ({"hlog": "a"}, "colocate.npz: No such file or directory; expected the raw samples of"),
        ({"openmetrics": "/dev/null"}, "/dev/null: found a device or pipe, expected the name of"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        export(COLOCATE, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_document_is_taken_once_and_never_replaced(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "run.json", samples.arrays(replace(SMALL, queries=20)))
    os.link(path, tmp_path / "again.json")
    for target in ("run.json", "run.npz", "again.json"):
        with pytest.raises(InputError, match="found what is read, expected another file to write"):
            export(path, openmetrics=str(tmp_path / target))
    with pytest.raises(InputError, match=r"again\.json: found run '20260102T030405-abcdef', as in"):
        export(path, tmp_path / "again.json", openmetrics="-")
    assert read_result(path).command == "colocate"
