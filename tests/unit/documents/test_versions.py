"""Documents of every schema there has been, one a command: each is read, shown and exported.

Those of schema 1 were made before schema 2 existed, those of schema 2 by tiny runs of the version
that added them. They were then made small: most tables, duties and points of series are gone. What
else is promised of schema 1: tests/unit/results/test_schema1.py.
"""

import json
from pathlib import Path

import pytest
import schema_fields
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lorabench.bench.command import NoOutput
from lorabench.documents import export, show
from lorabench.documents.export.options import ExportOptions
from lorabench.documents.show.options import ShowOptions
from lorabench.errors import InputError
from lorabench.experiments import COMMANDS
from lorabench.results.files import read_result
from lorabench.results.schema import SCHEMA

DATA = Path(__file__).parents[2] / "data"
DOCUMENTS = sorted(DATA.glob("schema[0-9]*/*.json"))

all_documents = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)


def test_every_schema_and_every_command_has_its_documents() -> None:
    for folder in {path.parent for path in DOCUMENTS}:
        schemas = {json.loads(path.read_text())["schema"] for path in folder.glob("*.json")}
        assert schemas == {folder.name.replace("schema", "lorabench.result/")}
    now = [path for path in DOCUMENTS if path.parent.name == f"schema{schema_fields.NUMBER}"]
    commands = {json.loads(path.read_text())["command"] for path in now}
    assert commands == {command.name for command in COMMANDS if command.view}, (
        f"{SCHEMA} has no document of some command: add what a tiny run of it writes"
    )


def test_fields_do_not_change_without_a_new_schema() -> None:
    changed = (
        f"The fields of a document are no longer those of {SCHEMA}, and documents are out there. "
        "Where every one of them still reads the same (a new field that has a default), run "
        "python tests/support/schema_fields.py. Where not: give results.schema.SCHEMA the next "
        "number, bring this one's documents to it in results/upgrade.py, add tests/data/schemaN/ "
        "with a document of each command, and leave this schema's where they are."
    )
    assert schema_fields.fields() == json.loads(schema_fields.WRITTEN.read_text()), changed


@all_documents
def test_it_is_read_and_written_again_without_a_loss(path: Path) -> None:
    was = json.loads(path.read_text())
    result = read_result(path)
    for part in ("metrics", "claims", "series", "rounds", "unavailable"):
        assert len(getattr(result, part)) == len(was[part]), part
    if was["schema"] == SCHEMA:
        again = json.loads(result.model_dump_json(by_alias=True))
        # A field that came later has its default.
        assert {key: again[key] for key in was} == was
        assert all(again[key] in (None, []) for key in again.keys() - was.keys())


@all_documents
def test_it_is_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show.COMMAND.run(ShowOptions(path), NoOutput())
    shown = capsys.readouterr().out
    assert shown.count("\n") > 5
    for claim in read_result(path).claims:
        assert f"{claim.id} {claim.verdict}: " in shown


@all_documents
def test_it_is_exported(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export.COMMAND.run(ExportOptions((path,), openmetrics=str(target)), NoOutput())
    families = {one.name: one for one in text_string_to_metric_families(target.read_text())}
    estimates = [m.estimate for m in read_result(path).metrics if m.estimate is not None]
    gauges = [
        sample.value
        for family in families.values()
        if family.type == "gauge" and "_ci95_" not in family.name
        for sample in family.samples
        if "case" in sample.labels
    ]
    assert sorted(gauges) == sorted(estimates)


@pytest.mark.parametrize("name", ["doctor", "headroom-trace", "profile"])
def test_what_has_no_timings_says_so(name: str, tmp_path: Path) -> None:
    path = DATA / f"schema1/{name}.json"
    with pytest.raises(InputError, match="found no metric in seconds with 2 values or more, expec"):
        export.COMMAND.run(ExportOptions((path,), pyperf=str(tmp_path / "out")), NoOutput())
    assert list(tmp_path.iterdir()) == []
