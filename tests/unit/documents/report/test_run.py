"""What is asked for is read, put together and written, or refused in one line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import colocate_samples as samples
import pytest

from lorabench.documents.report import COMMAND
from lorabench.documents.report.options import ReportOptions, ReportOutput
from lorabench.documents.report.run import MOST_RESULTS, run
from lorabench.errors import InputError

DOCUMENTS = Path(__file__).parents[3] / "data/schema1"
DOCTOR = DOCUMENTS / "doctor.json"


def made(*paths: Path, percentiles: tuple[float, ...] = (50.0, 99.0), **how: Any) -> None:
    run(COMMAND, ReportOptions(tuple(paths), percentiles), ReportOutput(**how))


def test_a_page_lies_beside_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "one.json"
    document.write_bytes(DOCTOR.read_bytes())
    made(document)
    page = tmp_path / "one.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.fixture
def with_raw(tmp_path: Path) -> Path:
    """A document of colocate with the raw samples of some of its conditions."""
    path = samples.write(tmp_path / "raw.json", samples.arrays())
    document = json.loads((DOCUMENTS / "colocate.json").read_text())
    document["raw"] = json.loads(path.read_text())["raw"]
    path.write_text(json.dumps(document))
    return path


def test_percentiles_are_those_that_were_asked_for(
    with_raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(with_raw, percentiles=(75.0, 99.5), format="md")
    text = capsys.readouterr().out
    assert "| condition | queries | p75, ms | p99.5, ms |" in text
    assert "| sham | 15,120 | " in text


def test_samples_of_another_run_are_not_shown_and_the_page_says_so(
    with_raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_raw.with_suffix(".npz").write_bytes(b"another")
    made(with_raw, format="md")
    text = capsys.readouterr().out
    assert "Not shown: raw.npz: found sha256" in text
    assert "these are the samples of another run" in text


@pytest.mark.parametrize("folder", [False, True])
def test_a_report_does_not_replace_what_it_is_of(tmp_path: Path, folder: bool) -> None:
    document = tmp_path / "one.json"
    document.write_bytes(DOCTOR.read_bytes())
    with pytest.raises(InputError, match="found what is read"):
        made(tmp_path if folder else document, format="md", output=document)
    assert document.read_bytes() == DOCTOR.read_bytes()


def test_numbers_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    made(DOCTOR, DOCUMENTS / "profile.json", format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["document"] for row in rows} == {"doctor.json", "profile.json"}


def test_plots_are_written_as_images(tmp_path: Path) -> None:
    made(DOCUMENTS / "freshness.json", format="png", output=tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names[0] == "01-auc-over-the-stream.png"
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (tmp_path / "plots").iterdir())


def test_a_folder_has_an_index(tmp_path: Path) -> None:
    for name in ("doctor", "kernels"):
        (tmp_path / f"{name}.json").write_bytes((DOCUMENTS / f"{name}.json").read_bytes())
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "kernels.pyperf.json").write_text("{}")
    made(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "Results, newest first" in page
    assert page.index("kernels.json") < page.index("doctor.json")
    assert "Left out: " in page
    assert "pyperf" not in page


@pytest.mark.parametrize(
    ("options", "output", "message"),
    [
        ({"results": (Path("missing.json"),)}, {}, "missing.json: No such file"),
        ({"results": (DOCUMENTS, DOCTOR)}, {}, "found a folder beside other results"),
        ({"results": (DOCTOR,) * (MOST_RESULTS + 1)}, {}, f"expected at most {MOST_RESULTS}"),
        ({"results": (DOCTOR,), "percentiles": (100.0,)}, {}, "--percentiles: found 100.0"),
        ({"results": (DOCTOR,), "percentiles": ()}, {}, "--percentiles: found 0, expected 1 to 12"),
        ({"results": (DOCTOR,)}, {"format": "pdf"}, "--format: found 'pdf', expected one of html"),
        ({"results": (DOCTOR,)}, {"format": "png"}, "found png without -o"),
        ({"results": (DOCTOR,)}, {"format": "png", "output": Path("a.png")}, "expected a folder"),
        ({"results": (DOCTOR,)}, {"output": DOCUMENTS}, "found a folder"),
        ({"results": (DOCTOR,)}, {"format": "md", "interactive": True}, "beside --format md"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    options: dict[str, Any], output: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(COMMAND, ReportOptions(**options), ReportOutput(**output))


def test_a_page_that_is_too_large_without_a_plot_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabench.documents.report.run.LARGE_PAGE", 1000)
    with pytest.raises(InputError, match=r"page has 0\.0 MB without a plot, expected at most"):
        made(DOCTOR, output=tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"found no result documents, expected some; .*bad\.json"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]
