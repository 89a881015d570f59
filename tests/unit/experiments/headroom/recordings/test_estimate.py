"""Whatever columns stand side by side, they are read or asked about, and what comes is sound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lorabench.errors import InputError
from lorabench.experiments.headroom.recordings.interpretation import Asked
from lorabench.experiments.headroom.trace import parse_trace
from lorabench.results.windows import peak

NAMES = st.sampled_from(
    (
        *("idle", "user", "system", "iowait", "irq", "web1", "web2", "busy", "busy %", "load1"),
        *("mem", "a idle", "a user", "web1-idle", "cpu0", "cpu1", "ranker-7c9f", "cores used"),
        *("value", "host", "mode", "cpu", "instance:node_cpu_utilisation:rate5m"),
        *('{instance="a",mode="idle"}', '{instance="a",mode="user"}', '{pod="x"}'),
        'node_cpu_seconds_total{cpu="0",mode="idle"}',
        '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))',
    )
)
# A column of one kind, with cells that are missing or odd now and then.
COLUMNS = st.tuples(
    NAMES,
    st.sampled_from(["share", "percent", "counter", "few", "words"]),
    st.floats(0, 1),
    st.dictionaries(st.integers(0, 19), st.sampled_from(["", "NaN", "-0.05", "1.3", "9"])),
)
ASKED = st.builds(
    Asked,
    unit=st.sampled_from(["", "share", "percent", "cores", "seconds"]),
    cpus=st.none() | st.integers(1, 4),
    host_label=st.none() | st.sampled_from(["host", "instance"]),
    range_s=st.sampled_from([0.0, 5.0, 15.0, 300.0]),
)


def cell(kind: str, level: float, row: int) -> str:
    wave = level * (0.8 + 0.2 * np.sin(row))
    return {
        "share": f"{wave:.3f}",
        "percent": f"{100 * wave:.2f}",
        "counter": f"{1000 + 10 * level * row:.2f}",
        "few": str(row % 3),
        "words": ("a", "b", "idle")[row % 3],
    }[kind]


@given(
    st.lists(COLUMNS, min_size=1, max_size=5, unique_by=lambda column: column[0]),
    st.lists(st.sampled_from([0, 1, 10, 10, 10, 15, 60]), max_size=20),
    ASKED,
)
def test_tables_are_read_or_asked_about(columns, steps: list[int], asked: Asked) -> None:
    names = ['"' + name.replace('"', '""') + '"' for name, *_ in columns]
    lines = [",".join(("Time", *names))]
    at = 1_714_982_400
    for row, step in enumerate(steps):
        at += step
        cells = [odd.get(row, cell(kind, level, row)) for _, kind, level, odd in columns]
        lines.append(",".join((str(at), *cells)))
    told = ""
    try:
        trace = parse_trace("\n".join(lines), "x.csv", asked)
    except InputError as error:
        told = str(error)
    if told:
        assert "expected" in told
        assert "\n" not in told
        return
    assert trace.reading
    for track in (*trace.hosts.values(), *trace.cpus.values()):
        assert (track.span_s > 0).all()
        assert (track.begin_s[1:] >= track.end_s[:-1]).all()
        assert ((track.value >= 0) & (track.value <= 1)).all()
        bound = peak(track, 10.0)
        assert bound is None or 0.0 <= bound.low <= bound.high <= 1.0 + 1e-9


def test_a_mode_without_a_value_at_first_is_left_to_the_others() -> None:
    rows = "".join(f"{15 * i},{'' if i < 3 else 0.3},0.6,0.1\n" for i in range(20))
    track = parse_trace(f"Time,user,idle,system\n{rows}", "x.csv").hosts["x.csv"]
    np.testing.assert_allclose(track.value, 0.4)
    assert len(track.value) == 20
