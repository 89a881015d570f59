"""What all rows of a plot say is said once."""

from lorabench.report.sections.reader import _without_common


def test_what_all_rows_say_is_taken_out_of_each() -> None:
    found = _without_common(["torch, D=16, zipf", "fbgemm, D=16, zipf", "D=16, zipf"])
    assert found == (
        "D=16, zipf",
        {
            "torch, D=16, zipf": "torch",
            "fbgemm, D=16, zipf": "fbgemm",
            "D=16, zipf": "D=16, zipf",
        },
    )
    assert _without_common(["torch, D=16"]) == ("", {"torch, D=16": "torch, D=16"})


def test_names_of_very_many_parts_are_read() -> None:
    parts = ", ".join(map(str, range(200_000)))
    common, own = _without_common([f"a, {parts}", f"b, {parts}"])
    assert (common, list(own.values())) == (parts, ["a", "b"])
