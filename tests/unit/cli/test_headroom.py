"""What headroom refuses before anything is observed or run, and what it prints of a recording."""

from pathlib import Path

import pytest

from lorabench.cli.headroom import headroom
from lorabench.errors import GateError, InputError
from lorabench.results.files import read_result


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pid": 1, "cgroup": "a"}, "--pid: found --cgroup beside it, expected one or the other"),
        ({"pid": 0}, "--pid: found 0, expected the number of a process"),
        ({"duration": 0.0}, "--duration: found 0.0, expected above 0"),
        ({"duration": float("nan")}, "--duration: found nan"),
        ({"pid": 1, "preset": "tiny"}, "--pid: found it with --preset or --data, expected one or"),
        ({"load": 0.5}, "--load: found it without --preset or --data, expected one of these"),
        ({"slo_ms": 5.0}, "--slo-ms: found it without --preset or --data"),
        ({"trace": Path("a.csv"), "pid": 1}, "--pid: found it with --trace, expected --trace alo"),
        ({"trace": Path("a.csv"), "preset": "tiny"}, "--preset: found it with --trace"),
        ({"trace": Path("a.csv"), "duration": 5.0}, "--duration: found it with --trace"),
        ({"trace": Path("none.csv")}, "none.csv: No such file or directory; expected an export"),
        ({"cgroup": "no/such/group"}, "--cgroup: found no group 'no/such/group'"),
        ({"pid": 2**22 + 1}, "--pid: found no process 4194305"),
    ],
)
def test_bad_options_are_told(options, expected, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        headroom(**options, output=tmp_path / "out.json")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def prometheus(folder: Path, busy: float) -> Path:
    path = folder / "prom.csv"
    path.write_text("time,web\n" + "".join(f"{10 * i},{busy}\n" for i in range(60)))
    return path


@pytest.mark.parametrize(("busy", "verdict"), [(0.1, "met"), (0.3, "missed")])
def test_a_recording_is_judged(busy: float, verdict: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "out.json"
    headroom(trace=prometheus(tmp_path, busy), output=path)
    result = read_result(path)
    (claim,) = result.claims
    assert (claim.id, claim.verdict, claim.basis) == ("headroom.idle", verdict, "measured-real")
    assert claim.measured == pytest.approx(busy)
    assert result.config["experiment"]["kind"] == "prometheus"
    assert "web" not in path.read_text()  # no name of a machine in a document
    printed = " ".join(capsys.readouterr().out.split())
    assert f"headroom.idle {verdict}: a serving node's CPU" in printed
    assert "out.json" in printed


def test_strict_fails_where_the_host_was_too_busy(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"headroom\.idle missed"):
        headroom(trace=prometheus(tmp_path, 0.3), output=tmp_path / "out.json", strict=True)
