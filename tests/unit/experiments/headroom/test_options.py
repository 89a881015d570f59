"""What headroom refuses before anything is observed or run, and what it prints of a recording."""

from pathlib import Path

import pytest

from lorabench.cli import app
from lorabench.documents.report.reproduce import command_line
from lorabench.errors import GateError, InputError
from lorabench.experiments.headroom.options import HeadroomOptions
from lorabench.results.files import read_result


def headroom(*arguments: object) -> None:
    app(["headroom", *map(str, arguments)], standalone_mode=False)


MEASURE = ("--preset", "tiny")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--pid", 1, "--cgroup", "a"), "--pid: found --cgroup beside it, expected one or the"),
        (("--pid", 0), "--pid: found 0, expected at least 1"),
        (("--duration", 0), "--duration: found 0.0, expected above 0 and at most 604800"),
        (("--duration", "nan"), "--duration: found nan"),
        (("--pid", 1, *MEASURE), "--pid: found it with --preset or --data, expected one or"),
        (("--load", 0.5), "--load: found it without --preset or --data, expected one of these"),
        (("--columns", "map.toml"), "--columns: found it without --preset or --data"),
        (("--wrap-ids",), "--wrap-ids: found it without --preset or --data"),
        (("--slo-ms", 5), "--slo-ms: found it without --preset or --data"),
        (("--trace", "a.csv", "--pid", 1), "--pid: found it with --trace, expected --trace alo"),
        (("--trace", "a.csv", "--preset", "tiny"), "--preset: found it with --trace"),
        (("--trace", "a.csv", "--duration", 5), "--duration: found it with --trace"),
        (("--trace", "a.csv", "--warmup", 5), "--warmup: found it with --trace"),
        (("--trace", "none.csv"), "none.csv: No such file or directory; expected an export"),
        (("--unit", "percent"), "--unit: found it without --trace, expected it beside a recording"),
        (("--range", "5m", *MEASURE), "--range: found it without --trace"),
        (
            ("--trace", "a.csv", "--unit", "watts"),
            "--unit: found 'watts', expected one of share, p",
        ),
        (("--trace", "a.csv", "--unit", "web=share"), "--unit: found 'web=share', expected one of"),
        (("--trace", "a.csv", "--range", "5x"), "--range: found '5x', expected a duration such as"),
        (("--trace", "a.csv", "--range", "0s"), "--range: found 0.0, expected above 0"),
        (("--trace", "a.csv", "--cpus", 0), "--cpus: found 0, expected 1 to 1000000"),
        (("--cgroup", "no/such/group"), "--cgroup: found no group 'no/such/group'"),
        (("--pid", 2**22 + 1), "--pid: found no process 4194305"),
        ((*MEASURE, "--duties", "0,0.5,1"), "--duties: found 0,0.5,1, expected 6 or more"),
        ((*MEASURE, "--duties", ".1,.2,.3,.4,.5,.6"), "expected 6 or more different ones, 0 am"),
        ((*MEASURE, "--duties", "0,.1,.1,.2,.3,1"), "expected 6 or more different ones"),
        ((*MEASURE, "--duties", "0,.1,.2,.3,.4,1.5"), "0.4,1.5, expected shares of the time"),
        ((*MEASURE, "--duties", "0,.1,.2,.3,.4,nan"), "expected shares of the time, 0 to 1"),
        ((*MEASURE, "--duties", "0,x"), "--duties: found '0,x', expected numbers"),
        ((*MEASURE, "--slo-ratio", 1), "--slo-ratio: found 1.0, expected above 1"),
        ((*MEASURE, "--slo-ratio", 1.1, "--slo-ms", 5), "--slo-ms: found --slo-ratio beside it"),
        ((*MEASURE, "--slo-ms", 0), "--slo-ms: found 0.0, expected above 0"),
        ((*MEASURE, "--rank", "x"), "--rank: found 'x', expected auto or an integer"),
        ((*MEASURE, "--conditions", "beside"), "--conditions: found 'beside', expected naive"),
        ((*MEASURE, "--conditions", "delta-apply"), "--conditions: found 'delta-apply', expected"),
        ((*MEASURE, "--rounds", 0), "--rounds: found 0, expected at least 1"),
    ],
)
def test_bad_options_are_told(arguments, expected, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        headroom(*arguments, "-o", tmp_path / "out.json")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        (HeadroomOptions(), "passive"),
        (HeadroomOptions(pid=1), "passive"),
        (HeadroomOptions(trace=Path("a.csv")), "trace"),
        (HeadroomOptions(preset="tiny"), "active"),
        (HeadroomOptions(data=Path("rows")), "active"),
    ],
)
def test_the_input_says_which_way_of_working_is_meant(options, mode) -> None:
    assert options.mode == mode
    options.check()


def prometheus(folder: Path, busy: float) -> Path:
    path = folder / "prom.csv"
    path.write_text("time,web\n" + "".join(f"{10 * i},{busy}\n" for i in range(60)))
    return path


@pytest.mark.parametrize(("busy", "verdict"), [(0.1, "met"), (0.3, "missed")])
def test_a_recording_is_judged(busy: float, verdict: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "out.json"
    headroom("--trace", prometheus(tmp_path, busy), "-o", path)
    result = read_result(path)
    (claim,) = result.claims
    assert (claim.id, claim.verdict, claim.basis) == ("headroom.idle", verdict, "measured-real")
    assert claim.measured == pytest.approx(busy)
    assert result.config["experiment"]["kind"] == "prometheus"
    assert "web" not in path.read_text()  # no name of a machine in a document
    printed = " ".join(capsys.readouterr().out.split())
    assert f"headroom.idle {verdict}: a serving node's CPU" in printed
    assert "out.json" in printed
    assert "Read as: 1 column is a busy share from 0 to 1" in printed
    assert result.config["experiment"]["reading"][0].startswith("1 column is a busy share")


def test_what_is_said_of_a_recording_is_kept_and_gives_the_command_again(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    csv = tmp_path / "cores.csv"
    csv.write_text("Time,a,b\n" + "".join(f"{10 * i},3.2,12\n" for i in range(60)))
    said = ("--unit", "cores,3=percent", "--cpus", "32", "--range", "5m")
    headroom("--trace", csv, *said, "-o", path)
    result = read_result(path)
    assert result.config["experiment"]["unit"] == ["cores", "3=percent"]
    assert result.config["experiment"]["range_s"] == 300.0
    line, _ = command_line(result)
    assert line == "lorabench headroom --trace TRACE --unit cores,3=percent --cpus 32 --range 300s"


def test_strict_fails_where_the_host_was_too_busy(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"headroom\.idle missed"):
        headroom("--trace", prometheus(tmp_path, 0.3), "-o", tmp_path / "out.json", "--strict")
