"""Observing: from samples to tracks, what ends early, and the document that comes of it."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.bench.progress import ProgressObserver
from lorabench.bench.runner import document
from lorabench.errors import InputError
from lorabench.experiments.headroom.metrics import drawn
from lorabench.experiments.headroom.observe import Observation
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.experiments.headroom.recorder import Recorder
from lorabench.host.cgroups import Group
from lorabench.host.observe import Sample
from lorabench.host.procfs import CpuTimes, RunQueue
from lorabench.host.quota import CpuLimit, QuotaUse, Throttled
from lorabench.results.case import Case
from lorabench.results.registry import metric_spec
from lorabench.results.schema import Result
from lorabench.results.windows import Track


def record(samples: list[Sample], cpus: int = 2) -> Recorder:
    recorder = Recorder(samples[0], cpus)
    for sample in samples[1:]:
        recorder.add(sample)
    return recorder


def cpus(at: float, **busy: float) -> Sample:
    """CPUs that have run for so long, and were busy for so long of it."""
    return Sample(at, cpus={int(c[1:]): CpuTimes(at, at - b, 0.0) for c, b in busy.items()})


def test_busy_time_is_that_of_each_cpu_and_of_all_together() -> None:
    recorder = record([cpus(100, c0=0, c3=0), cpus(101, c0=0.5, c3=1), cpus(103, c0=0.5, c3=2)])
    np.testing.assert_allclose(recorder.tracks()["cpu_busy"].value, [0.75, 0.25])
    np.testing.assert_allclose(recorder.tracks()["cpu_busy"].end_s, [1, 3])
    each = recorder.cpu_tracks()
    np.testing.assert_allclose(each[0].value, [0.5, 0.0])
    np.testing.assert_allclose(each[3].value, [1.0, 0.5])


def test_a_cpu_that_goes_offline_and_comes_back_is_left_out_meanwhile() -> None:
    recorder = record(
        [
            cpus(100, c0=0, c1=0),
            cpus(101, c0=0.5, c1=1),
            cpus(102, c0=0.5),
            cpus(103, c0=1, c1=1),
            cpus(104, c0=1, c1=2),
        ]
    )
    np.testing.assert_allclose(recorder.tracks()["cpu_busy"].value, [0.75, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(recorder.cpu_tracks()[1].begin_s, [0, 3])


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=5))
def test_whatever_counters_do_a_share_is_a_share(times: list[tuple[float, float]]) -> None:
    samples = [
        Sample(
            float(i),
            cpus={0: CpuTimes(total, idle, idle)},
            cpu_s=total,
            pressure_s={"psi_some_cpu": idle},
            queue=RunQueue(idle, int(total)),
            memory_bytes=idle,
        )
        for i, (total, idle) in enumerate(times)
    ]
    for name, track in record(samples).tracks().items():
        assert (track.value >= 0).all(), name
        if metric_spec(name).unit == "1" and name not in ("cpu_cores", "runqueue_waiting"):
            assert (track.value <= 1).all(), name


def moving(seconds: int, *still: int) -> list[Sample]:
    """Samples of four CPUs, idle for a second each; those that stand still have other values."""
    return [
        Sample(
            100.0 + at,
            cpus={
                cpu: CpuTimes(50.0, 50.0, 0.0) if cpu in still else CpuTimes(at + 1.0, at + 1.0, 0)
                for cpu in range(4)
            },
        )
        for at in range(seconds + 1)
    ]


def test_counters_that_stand_still_say_nothing_of_the_host() -> None:
    recorder = record(moving(20, 1, 2))
    assert (lacking := recorder.stillness.lacking) is not None
    assert lacking.why.startswith("the counters of CPUs 1-2 in /proc/stat stood still")
    assert "50 %" in lacking.why
    assert "--pid" in lacking.enable
    assert set(recorder.cpu_tracks()) == {0, 3}
    everything = record(moving(20, 0, 1, 2, 3))
    assert everything.stillness.share == 1.0
    assert "cpu_busy" not in everything.tracks()


def test_a_counter_that_stood_still_once_is_left_out_and_counted() -> None:
    samples = moving(20)
    was = dict(samples[10].cpus)
    samples[10] = Sample(samples[10].at_s, cpus={**was, 3: samples[9].cpus[3]})
    recorder = record(samples)
    assert recorder.stillness.lacking is None
    assert recorder.stillness.note == (
        "the counters of CPU 3 stood still in 1 of 80 samples, which are left out"
    )
    assert record(moving(20)).stillness.note is None


def test_values_that_no_machine_can_have_are_none() -> None:
    """An idle time that has run over, as lxcfs gives it, grows by more than any CPU can rest."""
    huge = 11732815868058135187 / 100
    samples = moving(20, 0)
    for at, sample in enumerate(samples):
        sample.cpus[0] = CpuTimes(huge + at * 1e4, huge + at * 1e4, 0.0)  # type: ignore[index]
    recorder = record(samples)
    assert recorder.stillness.still == {0: 20}
    np.testing.assert_allclose(recorder.tracks()["cpu_busy"].value, 0.0)


@pytest.fixture
def host_of(tmp_path: Path) -> Callable[[str], Result]:
    """Observe a host whose /proc/stat is this."""

    def observed(stat: str) -> Result:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/stat").write_text(stat)
        (tmp_path / "sys").symlink_to("/sys")
        observation = Observation(HeadroomOptions(duration_s=0.1), tmp_path, interval_s=0.05)
        observation.measure(ProgressObserver(None, None))
        found = observation.findings()
        assert found is not None
        return document("headroom", found)

    return observed


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ("0 0 0 0", "this kernel gives no CPU times: all in /proc/stat are 0, as gVisor has them"),
        ("7 0 0 900", "the counters of CPUs 0-1 in /proc/stat stood still"),
    ],
)
def test_a_kernel_without_cpu_times_is_named_with_what_would_tell_more(
    host_of: Callable[[str], Result], ticks: str, expected: str
) -> None:
    lines = [f"cpu{name} {ticks} 0 0 0 0 0 0" for name in (" ", 0, 1)]
    result = host_of("\n".join([*lines, "ctxt 0", ""]))
    (claim,) = result.claims
    assert (claim.id, claim.verdict) == ("headroom.idle", "unavailable")
    assert expected in claim.reason
    assert "(--pid, --cgroup)" in claim.reason
    assert "--duration" not in claim.reason
    assert "cpu_busy" in [lack.what for lack in result.unavailable]


def test_a_process_uses_cores_and_a_share_of_the_node() -> None:
    recorder = record([Sample(0.0, cpu_s=5.0), Sample(2.0, cpu_s=8.0)], cpus=4)
    assert recorder.tracks()["cpu_cores"].value == pytest.approx([1.5])
    assert recorder.tracks()["cpu_busy"].value == pytest.approx([0.375])


def use(used_s: float | None, stopped: int = 0, cpus: float = 0.2) -> QuotaUse:
    limit = CpuLimit(cpus, 0.1, "cpu.max", Group(2, "/box"))
    return QuotaUse(limit, used_s, Throttled(10 * stopped, stopped, 0.08 * stopped))


BOX, POD = Group(2, "/pod/box"), Group(2, "/pod")


def test_a_group_with_a_quota_is_as_busy_as_it_uses_that_and_not_the_node() -> None:
    recorder = Recorder(Sample(0.0, cpu_s=5.0), 2, {BOX: use(5.0), POD: use(7.0, cpus=1.0)})
    recorder.add(Sample(1.0, cpu_s=5.2), {BOX: use(5.2, 9), POD: use(7.3, cpus=1.0)})
    # What others in the group above use of its quota is not there to be used.
    recorder.add(Sample(2.0, cpu_s=5.2), {BOX: use(5.2, 9), POD: use(7.9, cpus=1.0)})
    tracks = recorder.tracks()
    assert tracks["cpu_cores"].value == pytest.approx([0.2, 0.0])
    assert tracks["cpu_busy"].value == pytest.approx([1.0, 0.6])
    assert "quota_busy" not in tracks
    assert recorder.limit is not None
    assert recorder.limit.cpus == 0.2
    assert recorder.throttled == Throttled(90, 9, pytest.approx(0.72))


def test_beside_a_host_stands_what_this_container_may_use_of_it() -> None:
    recorder = Recorder(cpus(0, c0=0, c1=0), 2, {BOX: use(None)})
    recorder.add(cpus(1, c0=0.1, c1=0.1), {BOX: use(None, 5)})
    tracks = recorder.tracks()
    assert tracks["cpu_busy"].value == pytest.approx([0.1])
    # Nothing counts its CPU time: it has used up five of ten periods at least.
    assert tracks["quota_busy"].value == pytest.approx([0.5])


def test_a_quota_of_more_than_the_node_has_binds_nobody() -> None:
    recorder = Recorder(Sample(0.0, cpu_s=0.0), 2, {BOX: use(0.0, cpus=2.0)})
    recorder.add(Sample(1.0, cpu_s=1.0), {BOX: use(1.0, cpus=2.0)})
    assert recorder.tracks()["cpu_busy"].value == pytest.approx([0.5])
    assert recorder.limit is None


def test_run_queues_that_are_asked_less_often_have_longer_spans() -> None:
    recorder = record(
        [
            Sample(0.0, queue=RunQueue(1.0, 100)),
            Sample(1.0),
            Sample(2.0, queue=RunQueue(2.0, 150)),
            Sample(3.0, queue=RunQueue(2.0, 150)),
        ]
    )
    track = recorder.tracks()["runqueue_waiting"]
    np.testing.assert_allclose(track.span_s, [2, 1])
    np.testing.assert_allclose(track.value, [0.5, 0.0])
    assert recorder.turns == [25.0, 0.0]


@pytest.fixture(scope="module")
def observed() -> Result:
    run = Observation(HeadroomOptions(duration_s=0.6), interval_s=0.1)
    run.measure(ProgressObserver(None, None))
    found = run.findings()
    assert found is not None
    assert set(found.raw) >= {"spans_s", "cpu", "cpu_busy", "track/cpu_busy"}
    return document("headroom", found)


def test_observing_this_host_gives_a_valid_document(observed: Result) -> None:
    Result.model_validate_json(observed.model_dump_json(by_alias=True))
    assert observed.command == "headroom"
    busy = observed.metric("cpu_busy", "host")
    assert busy is not None
    assert busy.estimate is not None
    assert 0 <= busy.estimate <= 1
    cpus = [
        metric.labels["cpu"] for metric in observed.select("cpu_busy") if "cpu" in metric.labels
    ]
    assert cpus == sorted(set(cpus))
    assert cpus
    (line,) = (one for one in observed.series if one.name == "cpu_busy")
    assert (line.x_unit, line.y_unit) == ("s", "1")
    assert line.x[-1] == pytest.approx(0.6, abs=0.3)


def test_what_observing_costs_is_in_the_document(observed: Result) -> None:
    share = observed.metric("sampler_cpu_share", "sampler")
    assert share is not None
    assert share.estimate is not None
    assert share.estimate > 0


def test_less_than_a_window_gives_no_verdict(observed: Result) -> None:
    (claim,) = observed.claims
    assert claim.verdict == "unavailable"
    assert "window of 10 s" in claim.reason or "a bench made load" in claim.reason
    peak = observed.metric("cpu_busy_peak", "host")
    assert peak is not None
    assert peak.estimate is None


def test_a_process_that_ends_leaves_what_was_seen_of_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run = Observation(HeadroomOptions(duration_s=120, pid=child.pid), interval_s=0.05)

        def end_it_once_seen() -> None:
            while run.findings() is None:
                time.sleep(0.05)
            child.kill()

        killer = threading.Thread(target=end_it_once_seen)
        killer.start()
        run.measure(ProgressObserver(None, None))
        killer.join()
    found = run.findings()
    assert found is not None
    result = document("headroom", found)
    assert result.partial
    assert f"process {child.pid} ended before the time was up" in result.rounds[0].notes[0]
    assert result.metric("cpu_cores", "pid") is not None
    assert result.claims[0].verdict == "unavailable"


def test_a_process_that_ends_at_once_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run = Observation(HeadroomOptions(duration_s=30, pid=child.pid), interval_s=0.5)
        child.kill()
        child.wait()
        with pytest.raises(InputError, match="ended before anything could be observed"):
            run.measure(ProgressObserver(None, None))
        assert run.findings() is None


def test_observing_loads_no_torch() -> None:
    script = "import sys, lorabench.experiments.headroom.observe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_long_track_is_drawn_with_fewer_points() -> None:
    begin = 10.0 * np.arange(9001)
    line = drawn("cpu_busy", Case("host"), Track(begin, begin + 10, np.arange(9001) % 2 / 10))
    assert len(line.x) <= 3600
    assert np.mean(line.y) == pytest.approx(0.05, abs=0.001)
    assert line.x[-1] == pytest.approx(90_010)
