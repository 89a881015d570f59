"""The workload spec: presets hold, and every mistake is one line that names its place."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lorabench.errors import InputError
from lorabench.workload.generator import Generator
from lorabench.workload.spec import WorkloadSpec, load_spec, parse_spec, preset_names, with_rows

SPEC = """
name = "three"
rows = 1000
pretrain_rows = 100
rows_per_s = 10.0
[sparse]
cardinality = [3, 10, 2147483646]
zipf = [0.0, 1.0, 1.05]
missing = 0.1
[dense]
count = 2
missing = 0
location = [1.0, 2.0]
scale = 0.5
[labels]
base_rate = 0.25
strength = 1.35
rank = 4
[model]
dim = 8
bottom = [16]
top = []
"""


def parsed(old: str = "", new: str = "") -> WorkloadSpec:
    assert old in SPEC
    return parse_spec(SPEC.replace(old, new, 1).encode(), "spec.toml")


def test_a_scalar_stands_for_every_feature() -> None:
    spec = parsed()
    assert spec.sparse.missing == (0.1, 0.1, 0.1)
    assert spec.dense.missing == (0.0, 0.0)
    assert spec.dense.scale == (0.5, 0.5)


def test_each_table_has_a_row_more_than_ids() -> None:
    spec = parsed()
    assert spec.table_rows == (4, 11, 2**31 - 1)
    assert spec.table_bytes == (4 + 11 + 2**31 - 1) * 8 * 4
    assert (spec.num_sparse, spec.num_dense) == (3, 2)


def test_the_digest_tells_workloads_apart_but_not_spellings() -> None:
    assert parsed().digest == parsed("missing = 0.1", "missing = [0.1, 0.1, 0.1]").digest
    assert parsed().digest == parsed('name = "three"', 'name="three"\ndescription="x"').digest
    assert parsed().digest != parsed("strength = 1.35", "strength = 1.36").digest


def test_a_transform_is_a_part_of_the_digest_and_log1p_is_said_by_nothing() -> None:
    plain, same, one, other = (
        parsed("scale = 0.5", f'scale = 0.5\ntransform = "{told}')
        for told in (
            'log1p"',
            'identity"',
            'standardise"\nmean = 1.0\ndeviation = 2',
            'standardise"\nmean = 2.0\ndeviation = 2',
        )
    )
    assert plain.digest == parsed().digest
    assert plain.model_dump() == parsed().model_dump()
    assert parsed().dense.transform == ("log1p", "log1p")
    assert len({plain.digest, same.digest, one.digest, other.digest}) == 4
    for spec in (plain, same, one):
        assert WorkloadSpec.model_validate_json(spec.model_dump_json()).digest == spec.digest
    assert one.dense.mean == (1.0, 1.0)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed().rows = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 10,", "[3, -10,", "sparse.cardinality[1]: found -10, expected greater than 0"),
        (
            "2147483646",
            "2147483647",
            "sparse.cardinality[2]: found 2147483647, expected less than 2147483647",
        ),
        (
            "cardinality = [3, 10, 2147483646]",
            "cardinality = 3",
            "sparse.cardinality: found 3, expected a list",
        ),
        ("[3, 10,", "[3, true,", "sparse.cardinality[1]: found True, expected a valid integer"),
        (
            "zipf = [0.0, 1.0, 1.05]",
            "zipf = [1.0]",
            "sparse.zipf: found a list of 1, expected one value, or a list of 3 (one a feature)",
        ),
        (
            "zipf = [0.0, 1.0, 1.05]",
            "zipf = -1",
            "sparse.zipf[0]: found -1, expected greater than or equal to 0",
        ),
        (
            "scale = 0.5",
            'scale = "wide"',
            "dense.scale: found 'wide', expected a number, or a list of 2 numbers",
        ),
        ("missing = 0.1", "missing = 1.0", "sparse.missing[0]: found 1.0, expected less than 1"),
        ("strength = 1.35", "", "labels.strength: found nothing, expected a value"),
        (
            "rank = 4",
            "rnk = 4",
            "labels.rnk: found an unknown key, expected one of base_rate, strength, "
            "rank, shares, delay_s",
        ),
        (
            "scale = 0.5",
            "scale = 1e39",
            "dense.scale[0]: found 1e+39, expected less than or equal to 100",
        ),
        (
            "strength = 1.35",
            "strength = nan",
            "labels.strength: found nan, expected less than or equal to 100",
        ),
        (
            "rows = 1000",
            "rows = 99999999999999",
            "rows_per_s: found 10.0, expected at least 31710, so that rows = 99999999999999 end "
            "within a century",
        ),
        (
            "scale = 0.5",
            'scale = 0.5\ntransform = "log"',
            "dense.transform[0]: found 'log', expected 'log1p', 'identity' or 'standardise'",
        ),
        (
            "scale = 0.5",
            "scale = 0.5\ntransform = 1",
            "dense.transform: found 1, expected a word, or a list of 2 words",
        ),
        (
            "scale = 0.5",
            'scale = 0.5\nmean = 1.0\ntransform = ["log1p", "standardise"]',
            "dense.transform: found 'standardise' (i2) alone, expected dense.mean and "
            "dense.deviation beside it",
        ),
        (
            "scale = 0.5",
            "scale = 0.5\ndeviation = 0",
            "dense.deviation[0]: found 0, expected greater than 0",
        ),
        (
            "pretrain_rows = 100",
            "pretrain_rows = 1000",
            "pretrain_rows: found 1000, expected fewer than rows = 1000, so that some are served",
        ),
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_what_was_expected(
    old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        parsed(old, new)
    assert str(caught.value) == f"spec.toml: {message}"


def test_another_length_keeps_half_to_serve_and_is_held_to_the_same_rules() -> None:
    spec = parsed()
    assert (with_rows(spec, 150).rows, with_rows(spec, 150).pretrain_rows) == (150, 75)
    assert with_rows(spec, 5000).pretrain_rows == 100
    assert with_rows(spec, 5000).digest != spec.digest
    for rows, words in ((0, "rows: found 0, expected greater"), (10**15, "rows_per_s: found 10.0")):
        with pytest.raises(InputError, match=rf"^three of {rows} rows: {words}"):
            with_rows(spec, rows)


def test_broken_toml_is_one_line_with_its_place() -> None:
    with pytest.raises(InputError, match=r"^spec\.toml: .*line \d+, column \d+.*TOML$") as caught:
        parsed("rows = 1000", "rows = [")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_the_users_error() -> None:
    with pytest.raises(InputError, match=r"^spec\.toml: .*expected a workload spec in TOML"):
        parse_spec(b"name = '\xff'", "spec.toml")


def test_an_unknown_preset_lists_the_presets() -> None:
    with pytest.raises(InputError, match="'nope'; expected one of avazu, criteo-1tb, criteo-kagg"):
        load_spec("nope")


def test_a_path_is_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(InputError, match=r"mine\.toml: No such file"):
        load_spec(str(path))
    path.write_text(SPEC)
    assert load_spec(str(path)) == parsed()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_its_data_sets_shape_and_its_own_name(name: str) -> None:
    spec = load_spec(name)
    shape = {"avazu": (22, 0), "tiny-multihot": (10, 4)}.get(name, (26, 13))
    assert (spec.name, (spec.num_sparse, spec.num_dense)) == (name, shape)


def test_the_criteo_preset_has_the_published_number_of_rows() -> None:
    assert sum(load_spec("criteo-kaggle").sparse.cardinality) == 33_762_577


def test_tables_without_a_row_for_missing_ids_have_as_many_rows_as_ids() -> None:
    content = load_spec("tiny").model_dump()
    content["sparse"]["missing_row"] = False
    spec = WorkloadSpec.model_validate(content)
    assert spec.table_rows == spec.sparse.cardinality
    assert WorkloadSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert spec.digest != load_spec("tiny").digest
    assert "missing_row" not in load_spec("tiny").model_dump()["sparse"]
    with pytest.raises(InputError, match="missing_row = false"):
        Generator(spec, 0)
