"""The node as a target: its processes under the contract of all targets, and what they share."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from target_contract import DURATION_S, QUERY_ROWS, TargetContract, schedule

from lorabench.lora.layout import plan_adapter
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.prepare import Prepared
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.registry import parse
from lorabench.targets.node.processes import NodeProcesses, NodeSetup
from lorabench.targets.node.settings import NodeCase, Serving, TrainerSettings
from lorabench.workload.block import Block

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPUS = [frozenset({CPUS[0]}), frozenset({CPUS[-1]})]
TRAINER = TrainerSettings(frozenset(CPUS), 1)
ALONE = NodeCase("solo", None, frozenset(CPUS), (0.0, DURATION_S))
BESIDE = NodeCase("pinned", TRAINER, frozenset(CPUS), (0.0, DURATION_S), watch=True)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def target() -> Iterator[NodeProcesses]:
    shape = DlrmShape(num_dense=3, num_sparse=2, dim=8, bottom=(8,), top=(16,))
    layout = TableLayout((300, 500), shape.dim)
    tables, net = TableSet.create(layout), DenseNet(shape)
    tables.initialise(np.random.default_rng(0))
    net.initialise(0)
    setup = NodeSetup(
        prepared=Prepared(tables, net, 0, 0, "untrained"),
        serving=Serving(QUERY_ROWS, 4, "block"),
        adapter=plan_adapter(layout, 4, 2, 5.0),
        strategy=parse("lora-r4", colocated=True).given(basis_samples=64),
        train_batch=64,
        label_delay_s=0.02,
        replay_bytes=1 << 18,
    )
    rng = np.random.default_rng(1)
    n = 4096
    rows = Block(
        rng.integers(0, 2, n).astype(np.int8),
        np.zeros(n, np.int64),
        rng.integers(0, 9, (n, 3)).astype(np.int32),
        rng.integers(0, 300, (n, 2)).astype(np.int32),
    )
    with setup.round(rows, SERVER_CPUS, with_trainer=True) as processes:
        yield processes


@pytest.mark.parametrize("case", [ALONE, BESIDE], ids=lambda case: case.name)
class TestNode(TargetContract):
    """Two servers, with the trainer idle and beside it."""


def test_beside_a_trainer_what_it_learned_is_served_and_written_down(
    target: NodeProcesses,
) -> None:
    record = target.measure(BESIDE, schedule(qps=900.0))
    assert record.train is not None
    updates = record.train.updates
    assert len(updates.epoch) > 1
    assert (np.diff(updates.epoch) > 0).all()
    assert (np.diff(updates.published_ns) >= 0).all()
    assert (updates.label_ns <= updates.each(updates.published_ns)).all()
    assert updates.size.sum() == len(updates.sample) == len(updates.label_ns)
    assert record.epoch.max() > 0
    assert (record.first_answered(updates.epoch[:1]) > 0).all()
    assert len(record.trainer_cpu) > 0
    assert set(record.raw()) >= {"trained_sample", "trained_epoch", "label_ns", "published_ns"}


def test_serving_alone_is_the_same_twice_and_without_an_epoch(target: NodeProcesses) -> None:
    one, two = (target.measure(ALONE, schedule()) for _ in range(2))
    np.testing.assert_allclose(one.prediction, two.prediction, rtol=1e-5)
    assert set(one.epoch) == {-1}
    assert one.train is None


def test_who_is_out_of_time_leaves_the_rest_marked_as_unserved(target: NodeProcesses) -> None:
    case = NodeCase("late", None, frozenset(CPUS), (0.0, DURATION_S), give_up_s=DURATION_S / 2)
    record = target.measure(case, schedule())
    assert record.served.any()
    assert not record.served.all()
    late = record.scheduled > int(DURATION_S / 2 * 1e9)
    assert (record.epoch[~record.served] == -1).all()
    assert (record.prediction[np.repeat(~record.served, record.rows)] == 0).all()
    assert late[~record.served].any()


def test_the_trainers_rate_alone_is_measured(target: NodeProcesses) -> None:
    rate = target.train_alone(schedule(qps=2000.0), TRAINER, DURATION_S, 1.0)
    assert rate is None or rate > 0


def test_a_process_inherits_the_memory_that_it_reads_or_writes_and_no_other(
    target: NodeProcesses,
) -> None:
    def memory(pid: int) -> list[str]:
        links = (link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir())
        found = (re.match(r"/memfd:lorabench-(\S+)", str(link)) for link in links)
        return sorted(match[1] for match in found if match)

    *servers, trainer = target.pids
    both = ["adapter", "load", "pins", "ring", "tables"]
    for server in servers:
        assert memory(server) == sorted([*both, "answers", "feed", "queries"])
    assert memory(trainer) == sorted([*both, "labels", "ring"])
