"""Every command's table prints on a terminal that is not UTF-8, with marks that it has."""

import io
from pathlib import Path

import pytest

from lorabench.experiments import COMMANDS
from lorabench.report.terminal import terminal
from lorabench.results.files import read_result

DOCUMENTS = sorted((Path(__file__).parents[3] / "data/schema2").glob("*.json"))
VIEWS = {command.name: command for command in COMMANDS if command.view}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_view_prints_in_what_the_terminal_has(path: Path, encoding: str) -> None:
    result = read_result(path)
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    VIEWS[result.command].load("view")(result, terminal(file=page, width=100))
    page.flush()
    said = page.buffer.getvalue().decode(encoding)
    assert said.strip()
    assert "\\" not in said, "a mark of our own without a plainer one"
    assert not {"─", "…", "→"} & set(said)
