"""The numbers as CSV: every one of them, and none that a spreadsheet would run."""

import csv
import io
from pathlib import Path

from lorabench.report.table_csv import COLUMNS, as_csv
from lorabench.results.files import read_result

DOCUMENTS = Path(__file__).parents[2] / "data/schema1"


def test_every_number_has_a_row() -> None:
    result = read_result(DOCUMENTS / "freshness.json")
    rows = list(csv.DictReader(io.StringIO(as_csv([("a.json", result)]))))
    assert tuple(rows[0]) == COLUMNS
    kinds = [row["kind"] for row in rows]
    assert kinds.count("estimate") == len(result.metrics)
    assert kinds.count("value") == sum(len(one.values) for one in result.metrics)
    assert kinds.count("point") == sum(len(one.x) for one in result.series)
    assert kinds.count("claim") == len(result.claims)
    (area,) = result.select("auc", strategy="lora")
    (found,) = (
        row
        for row in rows
        if (row["kind"], row["name"], row["condition"]) == ("estimate", "auc", "lora")
    )
    assert float(found["value"]) == area.estimate


def test_no_text_is_a_formula() -> None:
    result = read_result(DOCUMENTS / "doctor.json")
    first = result.metrics[0].model_copy(update={"condition": "=cmd|'/c calc'!A0"})
    hostile = result.model_copy(update={"metrics": [first]})
    assert "'=cmd|" in as_csv([("=a.json", hostile)])
    assert ",=" not in as_csv([("=a.json", hostile)])
