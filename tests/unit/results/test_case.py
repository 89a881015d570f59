"""A case is told from others by its labels, and named by its text."""

from lorabench.results.case import Case


def test_a_text_alone_is_its_condition() -> None:
    assert Case("solo").labels == {"condition": "solo"}
    assert str(Case("solo")) == "solo"


def test_more_labels_give_a_longer_name() -> None:
    case = Case("pinned", {"condition": "pinned"}).also("spike", window="spike")
    assert case.text == "pinned, spike"
    assert case.labels == {"condition": "pinned", "window": "spike"}


def test_cases_of_one_text_are_one_key() -> None:
    assert {Case("a", {"n": 1}): 1}[Case("a", {"n": 1})] == 1
    assert Case("a") != Case("b")
