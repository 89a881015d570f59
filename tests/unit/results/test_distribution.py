"""Latency distributions are those of the samples, and of the document's own samples alone."""

from pathlib import Path

import colocate_samples as samples
import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.results.distribution import read_distributions
from lorabench.results.files import read_result


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return samples.write(tmp_path / "one.json", samples.arrays())


def measured_s(case: str) -> np.ndarray:
    found = samples.arrays()
    parts = [
        (found[f"block{n}/{case}/done_ns"] - found[f"block{n}/{case}/scheduled_ns"])[
            found[f"block{n}/{case}/counted"]
        ]
        for n in range(samples.CALM.blocks)
    ]
    return np.concatenate(parts) / samples.NS


def test_percentiles_are_order_statistics_of_all_blocks_together(document: Path) -> None:
    found = read_distributions(document, read_result(document), (50.0, 99.0, 99.99))
    assert {one.case for one in found} == set(samples.CALM.cases)
    for one in found:
        latency = measured_s(one.case)
        assert one.queries == len(latency)
        median, p99, beyond = one.percentiles
        assert median == np.quantile(latency, 0.5, method="inverted_cdf")
        assert p99 == np.quantile(latency, 0.99, method="inverted_cdf")
        assert beyond is None  # fewer than 20 samples


def test_the_tail_rises_to_the_last_sample_that_twenty_lie_beyond(document: Path) -> None:
    for one in read_distributions(document, read_result(document), (50.0,)):
        x, y = zip(*one.tail, strict=True)
        assert list(x) == sorted(x)
        assert list(y) == sorted(y)
        latency = np.sort(measured_s(one.case))
        assert x[-1] == pytest.approx(len(latency) / 20)
        assert y[-1] == latency[-21]


def test_samples_of_another_run_are_refused(document: Path) -> None:
    beside = document.with_suffix(".npz")
    beside.write_bytes(beside.read_bytes() + b"\0")
    with pytest.raises(InputError, match="these are the samples of another run"):
        read_distributions(document, read_result(document), (50.0,))


def test_samples_without_measured_queries_are_refused(tmp_path: Path) -> None:
    path = samples.write(tmp_path / "one.json", {"track/host/cpu_busy": np.zeros((3, 3))})
    with pytest.raises(InputError, match="found no samples such as block0/solo/counted"):
        read_distributions(path, read_result(path), (50.0,))
