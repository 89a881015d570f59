"""A checkpoint of the reference, served with the rows that it was trained on: the same answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import SHORT, Run
from numpy.typing import NDArray
from processed_rows import Logs
from reference_dlrm import ReferenceDlrm

from lorabench.model.checkpoint import load_checkpoint
from lorabench.model.dlrm import InferenceNet
from lorabench.model.prepare import Prepared, prepare
from lorabench.results.files import read_result
from lorabench.results.quality import auc
from lorabench.workload.block import Block, dense_features
from lorabench.workload.source import RowSource, open_source

ROWS = 4000


@pytest.fixture(scope="module")
def logs() -> Logs:
    """Rows whose clicks depend on ids alone, which a model has to look up at the right rows."""
    drawn = Logs.draw(ROWS, most=1500)
    rng = np.random.default_rng(3)
    tastes = [rng.normal(size=count) for count in drawn.counts]
    logit = sum(taste[drawn.ids[:, f]] for f, taste in enumerate(tastes[2:8], 2))
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(np.int32)
    return Logs(drawn.dense, drawn.ids, label, drawn.counts)


def trained(logs: Logs, dense: NDArray[np.float32]) -> tuple[ReferenceDlrm, NDArray[np.float32]]:
    """Return a model that has learned the rows, and what it predicts of them."""
    model = ReferenceDlrm(logs.counts)
    inputs = torch.from_numpy(dense), torch.from_numpy(logs.ids)
    model.train_on(*inputs, logs.label)
    return model, model.predict(*inputs)


@pytest.fixture(scope="module")
def reference(logs: Logs) -> tuple[ReferenceDlrm, NDArray[np.float32]]:
    """Trained as the reference's loader hands rows out: log(x + 1) of the counts."""
    return trained(logs, np.log(logs.dense.astype(np.float32) + 1))


def open_both(data: Path, checkpoint: Path) -> tuple[RowSource, Prepared]:
    """Open rows and model as a serving node does."""
    weights = load_checkpoint(checkpoint)
    source = open_source(None, data, 0, weights.layout.rows)
    return source, prepare(source, weights, 0, lambda _text, _done: None)


def served(source: RowSource, prepared: Prepared) -> tuple[Block, NDArray[np.float32]]:
    """Answer all rows by what a server's loop calls."""
    rows = Block.concat(list(source.blocks())).by_row()
    net = InferenceNet(prepared.net, len(rows))
    net.dense.numpy()[:] = dense_features(rows.dense, source.spec.dense)
    prepared.tables.kernels.lookup(rows.sparse, net.embeddings.numpy())
    return rows, net(len(rows)).copy()


def layouts(logs: Logs, folder: Path) -> Iterator[Path]:
    """Each of the reference's own layouts of the rows."""
    for name in ("whole", "days", "binary"):
        (folder / name).mkdir()
    yield logs.write_whole(folder / "whole" / "kaggleAdDisplayChallenge_processed.npz")
    yield logs.write_days(folder / "days", (0, 1000, 2500, ROWS))
    yield logs.write_binary(folder / "binary" / "terabyte_processed_train.bin")


def test_the_references_rows_get_the_references_predictions(
    logs: Logs, reference: tuple[ReferenceDlrm, NDArray[np.float32]], tmp_path: Path
) -> None:
    model, expected = reference
    checkpoint = model.save(tmp_path / "dlrm.pt")
    area = auc(logs.label.astype(np.int8), expected)
    assert area is not None
    assert area > 0.8
    for data in layouts(logs, tmp_path):
        source, prepared = open_both(data, checkpoint)
        rows, found = served(source, prepared)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
        assert auc(rows.label, found) == pytest.approx(area, abs=1e-6)
        assert prepared.notes == ()  # nothing speaks against these being its ids


def test_torchrecs_arrays_get_the_predictions_of_a_model_trained_on_them(
    logs: Logs, tmp_path: Path
) -> None:
    model, expected = trained(logs, logs.logarithms())
    data = logs.write_arrays(tmp_path, (0, 1000, ROWS))
    source, prepared = open_both(data, model.save(tmp_path / "dlrm.pt"))
    rows, found = served(source, prepared)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    assert auc(rows.label, found) == auc(logs.label.astype(np.int8), expected)
    assert prepared.notes == ()


@pytest.mark.slow
def test_the_command_serves_them_with_the_references_auc(
    logs: Logs,
    reference: tuple[ReferenceDlrm, NDArray[np.float32]],
    lorabench: Run,
    refuse: Run,
    tmp_path: Path,
) -> None:
    model, expected = reference
    data = logs.write_whole(tmp_path / "kaggleAdDisplayChallenge_processed.npz")
    given = ("--data", data, "--checkpoint", model.save(tmp_path / "dlrm.pt"))
    path = tmp_path / "r.json"
    run = lorabench("colocate", *SHORT[2:], *given, "--memory-budget", 0.9, "-o", path)
    assert run.returncode == 0, run.stderr
    result = read_result(path)
    workload = result.config["workload"]
    assert workload["kind"] == "dlrm-npz"
    assert workload["spec"]["sparse"]["cardinality"] == logs.counts.tolist()
    assert {claim.basis for claim in result.claims} == {"measured-real"}
    told = "ids are rows of the tables, as they are; none is hashed"
    assert any(told in note for note in result.notes)
    assert told in " ".join(run.stdout.split())
    assert not any("may not be the ones" in note for note in result.notes)
    found = result.metric("auc", "solo")
    assert found is not None
    # The rows that happened to be served, some thousands of them.
    assert found.estimate == pytest.approx(auc(logs.label.astype(np.int8), expected), abs=0.05)

    state = model.state_dict()
    state["emb_l.5.weight"] = state["emb_l.5.weight"][:-1].clone()
    torch.save(state, tmp_path / "other.pt")
    refused = refuse("colocate", "--data", data, "--checkpoint", tmp_path / "other.pt")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    rows = logs.counts[5]
    assert f"found a table of {rows - 1} rows for feature 6 (emb_l.5)" in line
    assert f"expected at least {rows} by {data}" in line
