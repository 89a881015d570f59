"""Protocols in print, held against the algorithm as it is printed, loop for loop."""

import io
from dataclasses import replace

import numpy as np
import pytest
from interrupting import Interrupting
from rich.console import Console

from lorabench.bench.runner import document
from lorabench.experiments.freshness import protocol as protocol_module
from lorabench.experiments.freshness import view
from lorabench.experiments.freshness.options import FreshnessOptions
from lorabench.experiments.freshness.protocol import Protocol
from lorabench.experiments.freshness.run import Freshness
from lorabench.model.dlrm import DenseNet
from lorabench.model.prepare import prepare
from lorabench.results.quality import auc
from lorabench.strategies.base import table_logits
from lorabench.strategies.ideal import Ideal
from lorabench.updates.cluster import FULL_PRECISION, TrainingCluster
from lorabench.workload.block import dense_features
from lorabench.workload.source import open_source

SHARDS = 4
BATCH = 1024


@pytest.fixture(scope="module")
def options(freshness_spec) -> FreshnessOptions:
    return FreshnessOptions(preset=str(freshness_spec), protocol="monolith", shards=SHARDS, seeds=1)


@pytest.fixture(scope="module")
def found(options):
    run = Freshness(options)
    run.measure(Interrupting())
    return run.findings()


def areas(found) -> dict[str, list[float]]:
    return {one.condition: one.y for one in found.series if one.name == "auc"}


def shown(found) -> str:
    page = io.StringIO()
    view.render(document("freshness", found), Console(file=page, width=80))
    return page.getvalue()


def test_a_replay_is_algorithm_1(found, options) -> None:
    source = open_source(options.preset, None, 0)
    before = round(source.rows * 5 / 7)
    prepared = prepare(source, None, 0, lambda *_: None, accumulators=True, pretrain_rows=before)
    assert prepared.pretrain_rows == before == 10_000
    rate, decay = Ideal.default_rate, Ideal.default_decay
    train = TrainingCluster(prepared.model, FULL_PRECISION, rate, decay)
    stream = prepared.stream(source)
    net: DenseNet = prepared.net
    online, batch = [], []
    for _ in range(SHARDS):
        shard = stream.take((source.rows - before) // SHARDS)
        dense = dense_features(shard.dense, source.spec.dense)
        serve = train.tables.copy()
        for tables, into in ((serve, online), (prepared.tables, batch)):
            logits = table_logits(net, tables.kernels, dense, shard.sparse)
            into.append(auc(shard.label, logits))
        for begin in range(0, len(shard), BATCH):
            cut = slice(begin, begin + BATCH)
            train.learn(dense[cut], shard.sparse[cut], shard.label[cut])
    assert areas(found)["delta"] == pytest.approx(online, abs=1e-5)
    assert areas(found)["none"] == pytest.approx(batch, abs=1e-5)
    assert online[-1] > batch[-1]
    # Into however many blocks of time the shards of one replay fall.
    ends = np.cumsum(found.config["replicates"]["windows"])
    assert ends[-1] == SHARDS
    blocks = [np.mean(block) for block in np.split(online, ends[:-1])]
    assert found.table.values("auc", "delta") == pytest.approx(blocks, abs=1e-5)


def test_other_rows_are_not_compared_with_what_is_printed(found) -> None:
    (missing,) = found.unavailable
    assert "expected all 45,840,617 rows of the Criteo Kaggle" in missing.why
    assert "ingest train.txt" in missing.enable
    assert "published" not in found.config["protocol"]
    assert "79.66" not in shown(found)


def test_the_whole_set_is_compared_with_what_is_printed(options, criteo_rows, monkeypatch) -> None:
    """The rows of a test in the place of all 45,840,617."""
    real = replace(options, preset="tiny", data=criteo_rows, shards=2, seeds=None)
    whole = open_source("tiny", criteo_rows, 0)
    asked = Protocol.of(real)
    assert asked is not None
    applied = asked.applied(real)
    ten = replace(asked, windows=10)
    assert "expected all" in ten.missing(whole, applied)[0].why
    monkeypatch.setattr(protocol_module, "KAGGLE_ROWS", whole.rows)
    assert asked.missing(whole, applied)[0].why.startswith("found 2 shards, expected one of 10")
    assert ten.missing(whole, applied) == ()
    assert ten.told(whole, applied)["published"]["delta"] == [0.7966, 0.0002]
    for changed in (replace(applied, rows=512), replace(applied, strategies=("delta",))):
        assert ten.missing(whole, changed)
    assert "expected 5/7" in replace(ten, pretrain=0.5).missing(whole, applied)[0].why


def test_printed_figures_stand_beside_ours(found) -> None:
    told = found.config["protocol"] | {"published": {"delta": [0.7966, 0.0002]}}
    text = shown(replace(found, config=found.config | {"protocol": told}))
    assert "79.66 ± 0.020" in text
    assert "DeepFM" in text


def test_of_windows_the_first_is_trained_on_alone(options) -> None:
    asked = replace(options, protocol="next-window", shards=None, windows=6, rows=6_000)
    run = Freshness(asked)
    run.measure(Interrupting())
    found = run.findings()
    assert found.config["model"]["pretrain_rows"] == 1_000
    assert {name: len(y) for name, y in areas(found).items()} == dict.fromkeys(
        ("none", "delta", "ceiling"), 6
    )
    assert found.table.values("pushes", "delta") == [5.0]
    assert found.unavailable == ()
    assert "window T + 1" in shown(found)
