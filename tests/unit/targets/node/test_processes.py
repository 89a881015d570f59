"""The node as a target: its processes under the contract of all targets, and what they share."""

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from target_contract import DURATION_S, QUERY_ROWS, TargetContract, schedule

from lorabench.bench.serving.calibration import saturating
from lorabench.errors import MachineError
from lorabench.isolation.mechanism import PushKind
from lorabench.lora.layout import plan_adapter
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.prepare import Prepared
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.registry import parse
from lorabench.targets.load import Schedule, Traffic
from lorabench.targets.loadgen import DETAIL, INSTALL, LoadTest, read_result
from lorabench.targets.node.processes import NodeProcesses
from lorabench.targets.node.push import delta_push, stream_push
from lorabench.targets.node.settings import Applying, NodeCase, Serving, Sham, TrainerSettings
from lorabench.targets.node.setup import NodeSetup
from lorabench.targets.target import Record
from lorabench.targets.trace import NS
from lorabench.workload.block import Block
from lorabench.workload.features import plain_dense

CPUS = sorted(os.sched_getaffinity(0))
LABEL_DELAY_S = 0.02
SERVER_CPUS = [frozenset({CPUS[0]}), frozenset({CPUS[-1]})]
TRAINER = TrainerSettings(frozenset(CPUS), 1)
ALONE = NodeCase("solo", None, frozenset(CPUS), (0.0, DURATION_S))
BESIDE = NodeCase("pinned", TRAINER, frozenset(CPUS), (0.0, DURATION_S), watch=True)


pytestmark = pytest.mark.slow


def small_setup(servers: int) -> NodeSetup:
    shape = DlrmShape(num_dense=3, num_sparse=2, dim=8, bottom=(8,), top=(16,))
    layout = TableLayout((300, 500), shape.dim)
    tables, net = TableSet.create(layout), DenseNet(shape)
    tables.initialise(np.random.default_rng(0))
    net.initialise(0)
    return NodeSetup(
        prepared=Prepared(tables, net, 0, 0, "untrained"),
        serving=Serving(QUERY_ROWS, 4, "block"),
        adapter=plan_adapter(layout, 4, servers, 5.0),
        strategy=parse("lora-r4", colocated=True).given(basis_samples=64),
        train_batch=64,
        label_delay_s=LABEL_DELAY_S,
        replay_bytes=1 << 18,
        dense=plain_dense(3),
    )


def some_rows() -> Block:
    rng = np.random.default_rng(1)
    n = 4096
    return Block(
        rng.integers(0, 2, n).astype(np.int8),
        np.zeros(n, np.int64),
        rng.integers(0, 9, (n, 3)).astype(np.float32),
        rng.integers(0, 300, (n, 2)).astype(np.int32),
    )


@pytest.fixture(scope="module")
def setup() -> NodeSetup:
    return small_setup(2)


@pytest.fixture(scope="module")
def target(setup: NodeSetup) -> Iterator[NodeProcesses]:
    with setup.round(some_rows(), SERVER_CPUS, seats=2) as processes:
        yield processes


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process and its children make temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def target_of_loadgen(scratch: Path) -> Iterator[NodeProcesses]:
    with small_setup(2).round(some_rows(), SERVER_CPUS, seats=1, load_generator=True) as processes:
        yield processes


DELTA = NodeCase(
    "delta-apply",
    replace(TRAINER, applying=Applying("delta", bytes_per_s=1e8)),
    frozenset(CPUS),
    (0.0, DURATION_S),
    push=delta_push(np.zeros((1, 2), np.int32), TableLayout((300, 500), 8), 0.1, seed=0),
)


@pytest.mark.parametrize("case", [ALONE, BESIDE, DELTA], ids=lambda case: case.name)
class TestNode(TargetContract):
    """Two servers, with the trainer idle, beside it, and beside a push that is applied."""


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
    assert updates.size.sum() == len(updates.sample) == updates.count.sum()
    assert record.epoch.max() > 0
    assert (record.first_answered(updates.epoch[:1]) > 0).all()
    assert len(record.trainer_cpu) > 0
    assert set(record.raw()) >= {"trained_first", "trained_epoch", "label_ns", "published_ns"}


def test_serving_alone_is_the_same_twice_and_without_an_epoch(target: NodeProcesses) -> None:
    one, two = (target.measure(ALONE, schedule()) for _ in range(2))
    np.testing.assert_allclose(one.prediction, two.prediction, rtol=1e-5)
    assert set(one.epoch) == {-1}
    assert one.train is None


def test_who_is_out_of_time_leaves_the_rest_marked_as_unserved(target: NodeProcesses) -> None:
    # A server gives up when a slice has taken three times as long as it should.
    case = NodeCase("late", None, frozenset(CPUS), (0.0, DURATION_S / 6))
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
    both = ["load", "tables", *2 * ["adapter", "pins", "ring"]]
    for server in servers:
        assert memory(server) == sorted([*both, "answers", "feed", "queries"])
    assert memory(trainer) == sorted([*both, "labels", "ring", "ring"])


def test_what_a_case_has_learned_stays_with_it_from_slice_to_slice(target: NodeProcesses) -> None:
    def part(name: str, seat: int, begin_s: float, *, anew: bool) -> Record:
        window_s = (begin_s, begin_s + DURATION_S)
        case = replace(BESIDE, name=name, begin_s=begin_s, window_s=window_s, seat=seat, anew=anew)
        return target.measure(replace(case, watch=False), schedule(qps=900.0).later(begin_s))

    first = part("pinned", 0, 0.0, anew=True)
    other = part("naive", 1, 0.0, anew=True)
    again = part("pinned", 0, DURATION_S, anew=False)
    assert first.train is not None
    assert other.train is not None
    assert again.train is not None
    assert other.epoch[other.served].min() == 0, "what another case learned is not its own"
    assert again.epoch[again.served].min() >= first.train.epoch > 1
    on_their_way = (DURATION_S + LABEL_DELAY_S) * 1e9
    assert again.train.updates.label_ns.min() < on_their_way, "of what was served before the pause"
    assert (again.started >= again.scheduled)[again.served].all()


def test_a_sham_keeps_the_cpus_busy_and_changes_nothing_that_is_served(
    target: NodeProcesses,
) -> None:
    busy = replace(TRAINER, sham=Sham(burst_s=0.001, share=0.3))
    record = target.measure(replace(BESIDE, name="sham", settings=busy), schedule())
    alone = target.measure(ALONE, schedule())
    assert record.train is None
    assert set(record.epoch) == {-1}
    np.testing.assert_allclose(record.prediction, alone.prediction, rtol=1e-5)
    assert record.trainer_cpu_s > 0


def applying(kind: PushKind, asked: Schedule) -> NodeCase:
    rows, layout = some_rows(), TableLayout((300, 500), 8)
    if kind == "delta":
        push = delta_push(rows.sparse, layout, 0.5, seed=0)
    else:
        push = stream_push(rows.sparse, asked, layout, batch=64, delay_s=LABEL_DELAY_S)
    settings = replace(TRAINER, applying=Applying(kind))
    return replace(BESIDE, name=f"{kind}-apply", settings=settings, push=push)


@pytest.mark.parametrize("kind", ["delta", "stream"])
def test_a_push_is_written_while_it_is_served_and_leaves_the_tables_as_they_were(
    setup: NodeSetup, target: NodeProcesses, kind: PushKind
) -> None:
    def writable(pid: int) -> list[str]:
        """Its mappings of the tables that it may write to."""
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        return [line for line in maps if "lorabench-tables" in line and " rw" in line]

    tables, asked = setup.prepared.tables, schedule(qps=900.0)
    before, version = [table.copy() for table in tables.arrays], tables.kernels.version
    first = target.measure(applying(kind, asked), asked)
    # The next slice has a stream of its own; a delta goes on.
    case = applying(kind, asked)
    case = case if kind == "stream" else replace(case, anew=False, push=None)
    again = target.measure(case, asked)
    alone = target.measure(ALONE, asked)
    assert writable(os.getpid()), "who made the tables has them so"
    assert not any(map(writable, target.pids)), "but for a slice nobody else has"
    for record in (first, again):
        assert record.train is None
        assert record.applied is not None
        assert record.applied.rows > 0
        assert record.applied.size == record.applied.rows * 8 * 4
        assert set(record.epoch) == {-1}, "plain lookups"
        np.testing.assert_allclose(record.prediction, alone.prediction, rtol=1e-5)
        assert record.trainer_cpu_s > 0
    joined = Record.joined([first, again]).applied
    assert joined is not None
    assert joined.rows == first.applied.rows + again.applied.rows  # type: ignore[union-attr]
    for table, old in zip(tables.arrays, before, strict=True):
        np.testing.assert_array_equal(table, old)
    assert tables.kernels.version == version


@pytest.mark.parametrize("servers", [1, 2, 4, 16])
def test_every_server_serves_from_one_start_on_however_many_there_are(servers: int) -> None:
    own = [frozenset({CPUS[n % len(CPUS)]}) for n in range(servers)]
    asked = saturating(Traffic("poisson", QUERY_ROWS), servers, 4, (0,))
    with small_setup(servers).round(some_rows(), own, seats=0) as processes:
        found = processes.saturate(asked, 0.5)
        assert found.qps > 0
        for server in range(servers):
            mine = found.answers.done[asked.server == server]
            assert (mine > 0).any(), f"server {server} served nothing"
        traffic = Traffic("poisson", QUERY_ROWS)
        drawn = Schedule.draw(traffic, 200.0 * servers, 0.3, servers=servers, seed=(1,))
        case = NodeCase("solo", None, frozenset(CPUS), (0.0, 3.0))
        record = processes.measure(case, drawn)
    assert record.served.all()
    assert set(record.server) == set(range(servers))


def test_a_server_that_serves_nothing_is_an_error(target: NodeProcesses) -> None:
    one_sided = Schedule(np.zeros(9, np.int64), np.zeros(9, np.int32), np.ones(9, np.int32))
    with pytest.raises(MachineError, match=r"server 1: answered nothing in 0\.1 s"):
        target.saturate(one_sided, 0.1)


LOAD_TEST = LoadTest(qps=800.0, duration_ms=500, seed=3, target_latency_ns=NS)


def schedule_of(test: LoadTest) -> Schedule:
    arrivals, _ = test.draw()
    rng = np.random.default_rng(0)
    return Schedule(
        arrivals,
        rng.integers(0, 2, len(arrivals)).astype(np.int32),
        np.full(len(arrivals), QUERY_ROWS, np.int32),
    )


def test_a_test_of_loadgen_drives_the_same_servers_and_both_sides_count_alike(
    target_of_loadgen: NodeProcesses, scratch: Path
) -> None:
    pytest.importorskip("mlperf_loadgen", reason=f"needs LoadGen: {INSTALL}")
    asked = schedule_of(LOAD_TEST)
    arrivals = asked.arrivals
    for case in (ALONE, BESIDE):
        told = replace(case, window_s=(0.0, 0.5))
        record, logs = target_of_loadgen.load_test(told, asked, LOAD_TEST)
        assert list(scratch.iterdir()) == []
        found = read_result(logs[DETAIL].decode(), LOAD_TEST)
        assert found.queries == len(record.done) == record.counted.sum()
        np.testing.assert_array_equal(np.diff(record.scheduled), np.diff(arrivals))
        assert record.issued is not None
        assert (record.issued >= record.scheduled).all()
        assert (record.started >= record.issued).all()
        # LoadGen hears of an answer after it is there.
        assert found.latency_p50_s > float(np.median(record.latency_s)) - 1e-3
        assert record.epoch.max() >= (0 if case.settings else -1)
    # After it schedules are served again.
    assert target_of_loadgen.measure(ALONE, schedule()).served.all()


def test_a_loadgen_of_another_schedule_is_refused_and_one_that_fails_leaves_nothing(
    target_of_loadgen: NodeProcesses, scratch: Path
) -> None:
    pytest.importorskip("mlperf_loadgen", reason=f"needs LoadGen: {INSTALL}")
    told = replace(ALONE, window_s=(0.0, 0.5))
    # As if LoadGen drew more queries than we do, and fewer.
    for duration_ms in (450, 550):
        ours = replace(LOAD_TEST, duration_ms=duration_ms)
        record, logs = target_of_loadgen.load_test(told, schedule_of(ours), LOAD_TEST)
        assert record.served.any()
        with pytest.raises(MachineError, match="this LoadGen draws another schedule"):
            read_result(logs[DETAIL].decode(), ours)
    found = target_of_loadgen.load_test(told, schedule_of(LOAD_TEST), LOAD_TEST)[1]
    assert read_result(found[DETAIL].decode(), LOAD_TEST).queries == len(schedule_of(LOAD_TEST))
    impossible = replace(LOAD_TEST, qps="none")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="load generator failed"):
        target_of_loadgen.load_test(told, schedule_of(LOAD_TEST), impossible)
    assert list(scratch.iterdir()) == []
