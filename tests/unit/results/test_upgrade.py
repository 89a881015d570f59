"""Documents of schema 1: labels are read out of the text, and nothing else is touched."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.results.schema import SCHEMA
from lorabench.results.upgrade import SCHEMA_1, upgrade

NAMES = st.from_regex(r"[a-z]+(\+[a-z]+)?", fullmatch=True)
# What json.loads may give.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


def labels(command: str, condition: str) -> Any:
    metric = {"name": "latency_p99", "condition": condition, "unit": "s"}
    document = {"schema": SCHEMA_1, "command": command, "metrics": [metric], "series": [metric]}
    found = upgrade(document)
    assert found["schema"] == SCHEMA
    assert found["metrics"] == found["series"]
    return found["metrics"][0]["labels"]


@given(NAMES, st.floats(0, 1))
def test_a_duty_is_read_as_it_was_written(condition: str, duty: float) -> None:
    text = f"{condition}@{duty:g}"
    assert labels("headroom", text) == {"condition": condition, "duty": float(f"{duty:g}")}


@given(st.integers(1, 99) | st.none(), st.integers(0, 999))
def test_a_cpu_is_read_with_its_host(host: int | None, cpu: int) -> None:
    whose = "host" if host is None else f"host{host}"
    text = f"cpu{cpu}" if host is None else f"{whose}/cpu{cpu}"
    assert labels("headroom", text) == {"condition": whose, "cpu": cpu}


@given(st.integers(1, 999) | st.none(), st.from_regex(r"C[0-9]+|all", fullmatch=True))
def test_a_table_is_read_with_its_dim(dim: int | None, table: str) -> None:
    if dim is None:
        assert labels("profile", table) == {"table": table}
    else:
        assert labels("profile", f"D{dim}/{table}") == {"table": table, "dim": dim}


@pytest.mark.parametrize(
    ("command", "condition"),
    [
        ("headroom", "cpu" + "9" * 5000),
        ("headroom", "pinned@1e999"),
        ("headroom", "pinned@nan"),
        ("profile", f"D{'9' * 5000}/C3"),
        ("kernels", "1e999 GiB"),
        ("kernels", f"batch {'9' * 5000}"),
    ],
)
def test_a_number_that_is_none_is_no_label(command: str, condition: str) -> None:
    assert labels(command, condition) in (
        {"condition": condition},
        {"batch": "9" * 5000},
    )


@given(st.text())
@pytest.mark.parametrize("command", ["colocate", "headroom", "profile", "kernels", "no-such"])
def test_any_text_gives_some_label(command: str, text: str) -> None:
    assert labels(command, text)


@given(JSON, JSON, JSON)
def test_whatever_a_document_holds_the_rest_of_it_stays(command, metrics, rest) -> None:
    document = {"schema": SCHEMA_1, "command": command, "metrics": metrics, "rest": rest}
    found = upgrade(document)
    assert (found["command"], found["rest"]) == (command, rest)
    assert set(found) == set(document)


@given(JSON)
def test_a_name_that_is_none_stays_for_validation_to_refuse(name: Any) -> None:
    metric = {"name": name, "condition": "pinned", "unit": name}
    document = {"schema": SCHEMA_1, "command": "kernels", "metrics": [metric]}
    assert upgrade(document)["metrics"][0]["name"] == name


@given(JSON)
def test_another_schema_is_left_alone(rest: Any) -> None:
    document = {"schema": SCHEMA, "metrics": rest}
    assert upgrade(document) is document


def test_names_and_units_that_changed_are_brought_along() -> None:
    metric = {"name": "rerank_p99_ratio", "condition": "pinned", "unit": "ratio"}
    document = {"schema": SCHEMA_1, "command": "colocate", "metrics": [metric]}
    assert upgrade(document)["metrics"] == [
        {
            "name": "rank_change_p99_ratio",
            "condition": "pinned",
            "unit": "1",
            "labels": {"condition": "pinned"},
        }
    ]
