"""The command: sides from files and folders, formats, refusals, and how it ends."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from documents import MACHINE, document

from lorabench.documents.compare import COMMAND
from lorabench.documents.compare.options import CompareOptions, CompareOutput
from lorabench.documents.compare.run import run
from lorabench.errors import GateError, InputError, UndecidedError
from lorabench.results.files import write_result
from lorabench.results.schema import Sequential

NOISE = [0.99, 1.01, 1.0, 1.02, 0.98, 1.0]


def written(path: Path, scale: float = 1.0, number: int = 0, **changes) -> str:
    values = {("latency_p99", "solo"): [1e-3 * scale * one for one in NOISE]}
    write_result(document(values, number=number, **changes), path)
    return str(path)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path / "base.json"), written(tmp_path / "head.json", 1.2, 1)


TEXT = CompareOutput()


def compare(*sides: str, output: CompareOutput = TEXT, **options) -> None:
    run(COMMAND, CompareOptions(*sides, **options), output)


def test_without_a_gate_a_difference_is_shown_and_is_no_failure(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    compare(*sides)
    shown = capsys.readouterr().out
    assert "1.200 [1.1" in shown
    assert "worse" in shown


def test_a_gate_fails_passes_or_cannot_tell(sides: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"latency_p99\[solo\]=5% fail: head / base 1\.200"):
        compare(*sides, gate=("latency_p99=5%",))
    compare(*sides, gate=("latency_p99=50%",))
    compare(*reversed(sides), gate=("latency_p99=5%",))
    once = tuple(
        written(tmp_path / f"{n}.json", 1.0 + n, n, metrics=_single(1.0 + n)) for n in (0, 1)
    )
    with pytest.raises(UndecidedError, match=r"latency_p99\[solo\]=5% unknown: of one value"):
        compare(*once, gate=("latency_p99=5%",))
    compare(*once, gate=("latency_p99=5%",), on_unknown="pass")
    assert (GateError.exit_code, UndecidedError.exit_code) == (1, 4)


@pytest.mark.parametrize("name", ["base.json", "head.json"])
def test_a_comparison_does_not_replace_a_side(
    sides: tuple[str, str], tmp_path: Path, name: str
) -> None:
    before = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match="found what is read"):
        compare(*sides, output=CompareOutput("json", str(tmp_path / name)))
    assert (tmp_path / name).read_bytes() == before


def _single(scale: float):
    return document({("latency_p99", "solo"): [1e-3 * scale]}).metrics


def test_a_folder_is_repeated_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, scale in (("base", 1.0), ("head", 2.0)):
        (tmp_path / side).mkdir()
        for n in range(3):
            written(tmp_path / side / f"{n}.json", scale * (1 + n / 100), n)
        # Of kernels, which writes a suite for pyperf beside its result.
        (tmp_path / side / "0.pyperf.json").write_text("{}")
    compare(str(tmp_path / "base"), str(tmp_path / "head"))
    shown = capsys.readouterr().out
    assert "3 runs" in shown
    assert "The unit is the run." not in shown  # of one row nothing is expected by chance
    assert "2.000 [1.9" in shown


def test_documents_that_took_turns_are_compared_within_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = Sequential(boundary="pocock", alpha=0.025, looks=[6], level=0.01, ended="known")
    pair = {"environment": MACHINE | {"pair": "a-pair"}, "sequential": looks}
    sides = [written(tmp_path / f"{n}.json", 1.0 + n / 5, n, **pair) for n in (0, 1)]
    compare(*sides)
    shown = capsys.readouterr().out
    # Within pairs nothing varies, and the interval is that of all looks.
    assert "1.200 [1.200..1.200]" in shown
    assert "change [98 %]" in shown
    assert "measured on its own" not in shown
    other = written(
        tmp_path / "other.json", 1.2, 2, environment=MACHINE | {"pair": "another"}, sequential=looks
    )
    compare(sides[0], other)
    assert "measured on its own" in capsys.readouterr().out


def blocks(folder: Path, scale: float, number: int, of: range, *, pair: str = "a-pair") -> str:
    """Write documents of blocks that were runs of their own, as versions without turns leave."""
    for n in of:
        told = {"pair": pair, "pair_block": n + 1, "pair_level": 0.01}
        values = _single(scale * (1 + n / 10))
        # Numbers of one digit and of two: their names are not in the order of blocks.
        written(
            folder / f"{n + 1}.json", 1.0, number + n, environment=MACHINE | told, metrics=values
        )
    return str(folder)


def test_blocks_that_were_runs_of_their_own_are_compared_within_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = blocks(tmp_path / "base", 1.0, 0, range(12))
    head = blocks(tmp_path / "head", 1.2, 50, range(11))
    compare(base, head)
    shown = capsys.readouterr().out
    assert "1.200 [1.200..1.200]" in shown
    assert "change [98 %]" in shown
    assert "A version takes no turns" in shown
    assert "no pair and are left out: 1." in shown
    assert "measured on its own" not in shown
    compare(base, blocks(tmp_path / "other", 1.2, 50, range(11), pair="another"))
    assert "measured on its own" in capsys.readouterr().out


def test_what_is_no_side_is_refused(tmp_path: Path, sides: tuple[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    for base, expected in (
        (str(tmp_path / "empty"), "found no result document"),
        (str(tmp_path / "none.json"), "expected a result document"),
        ("", "BASE: found nothing, expected a result or a folder"),
    ):
        with pytest.raises(InputError, match=expected):
            compare(base, sides[1])


def test_runs_that_differ_in_more_than_their_version_are_refused_or_listed(
    tmp_path: Path, sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other.json", environment=MACHINE | {"kernel": "6.2.0"})
    with pytest.raises(InputError, match=r"\(kernel: release: 6\.1\.0 and 6\.2\.0\)"):
        compare(sides[0], other)
    compare(sides[0], other, allow_different=True)
    assert "different: kernel: release: 6.1.0 and 6.2.0" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["text", "markdown", "junit", "json", "benchmark"])
def test_every_format_is_printed_or_written(
    form: str, sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = ("latency_p99=50%",)
    compare(*sides, output=CompareOutput(format=form), gate=gate)
    printed = capsys.readouterr().out
    path = tmp_path / "out"
    compare(*sides, output=CompareOutput(format=form, output=str(path)), gate=gate)
    assert capsys.readouterr().out == ""
    text = path.read_text()
    assert "latency" in text
    if form != "text":
        assert text == printed
    if form == "junit":
        assert ElementTree.fromstring(text).tag == "testsuites"
    if form in ("json", "benchmark"):
        assert json.loads(text)


def test_a_report_is_written_before_a_gate_fails(sides: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "gates.xml"
    with pytest.raises(GateError):
        compare(
            *sides, output=CompareOutput(format="junit", output=str(path)), gate=("latency_p99=5%",)
        )
    assert 'failures="1"' in path.read_text()


@pytest.mark.parametrize(
    ("output", "options", "expected"),
    [
        (CompareOutput(format="xml"), {}, "--format: found 'xml', expected one of text, markdown"),
        (CompareOutput(format="junit", as_json=True), {}, "--json: found --format junit beside it"),
        (CompareOutput(format="junit"), {}, "--format junit: found no --gate, expected one"),
        (CompareOutput(metric=("auc",)), {}, "--metric: found 'auc', expected one of latency_p99"),
        (CompareOutput(), {"gate": ("auc",)}, "--gate: found 'auc', expected METRIC=X%"),
        (CompareOutput(), {"gate": ("latency_p99=5%",) * 2}, "expected each once"),
        (CompareOutput(), {"on_unknown": "maybe"}, "--on-unknown: found 'maybe'"),
        (CompareOutput(), {"arguments": ("colocate",)}, "found 'colocate' beside BASE and HEAD"),
        (CompareOutput(), {"keep": Path("x")}, "--keep: found it without --run"),
        (
            CompareOutput(),
            {"run": True, "arguments": ("colocate",), "gate": ("latency_impact=5%",)},
            "--gate latency_impact=5%: found a metric that may lie on either side of zero",
        ),
        (CompareOutput(), {"run": True}, "--run: found nothing to run, expected it after --"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    output: CompareOutput, options: dict, expected: str, sides: tuple[str, str]
) -> None:
    with pytest.raises(InputError) as error:
        compare(*sides, output=output, **options)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
