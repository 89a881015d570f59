"""Free-form parts of documents are read whatever is in them."""

from lorabench.results.nested import flat, within


def test_a_configuration_is_flattened() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {"a.b.c": 1, "a.d": {}, "e": [1]}


def test_what_lies_at_a_path_is_found_or_nothing_is() -> None:
    nested = {"a": {"b": {"c": 1}}, "d": [1]}
    assert within(nested, "a", "b", "c") == 1
    assert within(nested) == nested
    assert [within(nested, *path) for path in (("a", "x"), ("d", "0"), ("d", "a", "b"))] == [
        None
    ] * 3
