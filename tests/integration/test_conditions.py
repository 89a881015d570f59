"""Composed conditions, end to end: what the document says of them, on one short round."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from command import Run

from lorabench.bench.progress import ProgressObserver
from lorabench.bench.serving.options import conditions
from lorabench.experiments.colocate.options import ColocateOptions
from lorabench.experiments.colocate.run import Colocate
from lorabench.isolation.cleanup import run_lock
from lorabench.isolation.machine import Machine
from lorabench.isolation.plan import MemoryPlan
from lorabench.memory import MemoryPolicy
from lorabench.results.claims import sentence
from lorabench.results.files import read_result
from lorabench.results.schema import Result

pytestmark = pytest.mark.slow

CONDITIONS = ("shared+idle+throttle", "pinned+throttle", "isolated", "pinned+rdt", "stream-apply")


@pytest.fixture(scope="module")
def finished(lorabench: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Any, str]:
    path = tmp_path_factory.mktemp("run") / "out.json"
    ran = lorabench(
        *("colocate", "--preset", "tiny", "--conditions", ",".join(CONDITIONS), "--rounds", 1),
        *("--duration", 2, "--warmup", 0.3, "--label-delay", 0.2, "--arrivals", "spike"),
        *("--load", 0.6, "-o", path),
    )
    assert ran.returncode == 0, ran.stderr
    return read_result(path), np.load(path.with_suffix(".npz")), ran.stdout


def test_the_document_says_what_each_condition_came_to(finished) -> None:
    result, _, printed = finished
    ran = result.config["conditions"]
    assert ran["shared+idle+throttle"] == {"place": "shared", "mechanisms": ["idle", "throttle"]}
    assert ran["isolated"]["place"] == "pinned"
    assert {"batch", "throttle"} <= set(ran["isolated"]["mechanisms"])
    missing = {found.what for found in result.unavailable}
    for mechanism in ("numa", "rdt", "cgroup"):
        assert (mechanism in missing) is (mechanism not in ran["isolated"]["mechanisms"])
    assert ("pinned+rdt" in ran) is ("rdt" not in missing)
    assert "reuse" not in ran["isolated"]["mechanisms"], "tiny has one id a feature"
    assert "Trained, against the trainer alone" in printed


def test_a_throttle_leaves_its_trace(finished) -> None:
    result, raw, _ = finished
    for condition in ("shared+idle+throttle", "pinned+throttle", "isolated"):
        trace = raw[f"block0/{condition}/throttle"]
        assert (np.diff(trace[:, 0]) > 0).all()
        assert ((trace[:, 1] >= 0) & (trace[:, 1] <= 1)).all()
        duty = result.metric("duty", condition)
        assert duty is not None
        assert duty.estimate is not None
        assert 0.0 <= duty.estimate <= 1.0
        (series,) = (
            s for s in result.series if (s.name, s.condition) == ("throttle_duty", condition)
        )
        np.testing.assert_allclose(series.y, trace[:, 1])
    assert result.metric("duty", "solo") is None


def test_the_spike_and_the_calibration_are_in_the_document(finished) -> None:
    result, _, _ = finished
    alone = result.metric("train_samples_per_s", "alone")
    assert alone is not None
    assert alone.estimate is not None
    assert alone.estimate > 0
    for name in ("random reads", "streaming", "arithmetic"):
        probe = result.metric("neighbour_batch_ratio", name)
        assert probe is not None
        assert probe.ci95 is not None
        assert probe.ci95[0] > 0
    assert result.metric("yield_s", "shared+idle+throttle") is not None
    isolated = next(claim for claim in result.claims if claim.id == "latency.isolated")
    assert "of that beside an idle CPU" in sentence(isolated)


def test_what_was_applied_is_in_the_document_and_beside_a_trainer(finished) -> None:
    result, _, printed = finished
    rate = result.metric("applied_rows_per_s", "stream-apply")
    size = result.metric("applied_bytes_per_s", "stream-apply")
    assert rate is not None
    assert size is not None
    assert rate.estimate > 0
    assert size.estimate == rate.estimate * result.config["workload"]["spec"]["model"]["dim"] * 4
    # Rows that the traffic touches, each once a batch: no more than it asks for.
    round_ = result.rounds[0]
    asked = (
        round_.queries["stream-apply"].offered
        * 32
        * len(result.config["workload"]["spec"]["sparse"]["cardinality"])
    )
    assert rate.estimate < asked
    assert result.metric("train_samples_per_s", "stream-apply") is None
    assert any(one.labels["against"] == "stream-apply" for one in result.select("lora_p99_ratio"))
    assert "Applied, million rows a second: stream-apply" in printed
    assert "p99 of publishing LoRA / of applying: " in printed


class OnPlacedMemory(Colocate):
    """With a plan that binds to the node that every machine has, which is no plan of its own."""

    def machine(self) -> Machine:
        machine = super().machine()
        here = MemoryPolicy("bind", machine.nodes_of(machine.plan.trainer_cpus)[:1])
        memory = MemoryPlan(here, here, (here,) * len(machine.plan.serving_cpus))
        return replace(
            machine,
            plan=replace(machine.plan, memory=memory),
            missing={name: why for name, why in machine.missing.items() if name != "numa"},
        )


def test_conditions_on_placed_memory_run_beside_those_on_any() -> None:
    """The real calls, on the node that every machine has; test_guest has machines of several."""
    options = ColocateOptions(
        preset="tiny",
        conditions=conditions("pinned,numa"),
        rounds=1,
        duration_s=1.0,
        warmup_s=0.2,
        label_delay_s=0.2,
        qps=200.0,
    )
    run = OnPlacedMemory(options)
    with run_lock(lambda line: None):
        run.measure(ProgressObserver(None, None))
    found = run.findings()
    assert found is not None
    (first, _) = found.rounds
    assert set(first.order) == {"solo", "solo_repeat", "pinned", "numa", "sham", "planted"}
    for name in ("pinned", "numa"):
        assert first.queries[name].served == first.queries[name].offered > 0
        assert found.raw[f"block0/{name}/epoch"].max() > 0
