"""A document is shown as its command showed it, or refused in one line."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lorabench.bench.command import NoOutput
from lorabench.documents.show import COMMAND
from lorabench.documents.show.options import ShowOptions
from lorabench.documents.show.run import run
from lorabench.errors import InputError
from lorabench.experiments.colocate.view import render
from lorabench.results.files import read_result

DOCUMENTS = Path(__file__).parents[3] / "data/schema1"


def test_it_is_the_view_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    path = DOCUMENTS / "colocate.json"
    run(COMMAND, ShowOptions(path), NoOutput())
    console = Console(file=io.StringIO(), width=80)
    render(read_result(path), console)
    heading, _, rest = capsys.readouterr().out.partition("\n\n")
    assert heading.startswith(f"{path}: lorabench colocate, version 0.1.0, 2026-")
    assert rest == console.file.getvalue()  # type: ignore[attr-defined]


def test_a_document_of_no_command_is_refused(tmp_path: Path) -> None:
    document = json.loads((DOCUMENTS / "doctor.json").read_text())
    path = tmp_path / "one.json"
    path.write_text(json.dumps(document | {"command": "generate"}))
    with pytest.raises(InputError, match="command: found 'generate', expected one of calibrate, "):
        run(COMMAND, ShowOptions(path), NoOutput())
