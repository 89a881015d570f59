"""What makes two documents no pair: other runs, other machines."""

import pytest
from documents import MACHINE, document

from lorabench.results.sameness import differences, only_in_one
from lorabench.results.schema import Program

VALUES = {("auc", "solo"): [0.7, 0.8]}


def told(one, other) -> list[str]:
    return list(map(str, differences([one], [other])))


def configured(version: str = "0.1.0", **experiment):
    config = {"experiment": {"load": 0.5, "seed": 0} | experiment}
    return document(VALUES, config=config, lorabench=Program(version=version))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kernel": "6.2.0"}, "kernel: release: 6.1.0 and 6.2.0"),
        ({"cpu": {"brand_raw": "Other"}}, "machine: processor: A processor and Other"),
        ({"topology": {"nodes": [], "cores": []}}, "machine: NUMA nodes: 1 and 0"),
        (
            {"pages": {"method": "4k", "workers": [{"huge_fraction": 0.0}]}},
            "pages: tables on huge pages: 100% and 0%",
        ),
        (
            {"instruction_set": "avx512"},
            "instruction set: of the hot path: avx2 and avx512",
        ),
    ],
)
def test_another_machine_is_a_difference(change: dict, expected: str) -> None:
    other = document(VALUES, environment=MACHINE | change)
    assert expected in told(document(VALUES), other)
    assert told(other, other) == []


def test_a_hair_less_on_huge_pages_is_the_same_machine() -> None:
    other = document(
        VALUES,
        environment=MACHINE
        | {"pages": {"method": "collapse", "workers": [{"huge_fraction": 0.98}]}},
    )
    assert told(document(VALUES), other) == []


def test_another_configuration_is_a_difference_and_another_seed_is_none() -> None:
    assert told(configured(), configured(load=0.6)) == [
        "configuration: experiment.load: 0.5 and 0.6"
    ]
    assert told(configured(), configured(seed=3)) == []


def test_an_option_that_another_version_did_not_have_is_noted_and_no_difference() -> None:
    old, new = configured(), configured("0.2.0", fresh=True)
    assert told(old, new) == []
    assert only_in_one(old, new) == ["experiment.fresh = True only in head"]
    assert told(configured(), configured(fresh=True)) == [
        "configuration: experiment.fresh: nothing and True"
    ]


def test_another_command_is_the_one_difference_that_is_told() -> None:
    other = document(VALUES, command="freshness", environment={}, config={})
    assert told(document(VALUES), other) == ["configuration: command: colocate and freshness"]


def test_runs_of_a_side_have_to_be_alike_too() -> None:
    found = differences([configured(), configured(load=0.6)], [configured()])
    assert list(map(str, found)) == ["configuration: experiment.load: 0.5 and 0.6"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"cpu": None},
        {"cpu": [1]},
        {"topology": 3},
        {"pages": []},
        {"pages": {"2m": 1}},
        {"pages": {"workers": [None, {"huge_fraction": "x"}]}},
    ],
)
def test_an_environment_of_any_form_can_be_held_against_another(environment: dict) -> None:
    assert isinstance(told(document(VALUES), document(VALUES, environment=environment)), list)


def test_long_values_are_cut() -> None:
    (line,) = told(configured(), configured(x="y" * 500))
    assert len(line) < 200
