"""What is sent in a trial of the link: rows come out as they went in, in as many bytes as said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabench.updates.trial import Format, decode, draw_bytes, draw_delta, encode

ROWS, DIMS, SEEDS = st.integers(1, 50), st.integers(1, 40), st.integers(0, 2**32 - 1)


@given(ROWS, DIMS, SEEDS)
def test_fp32_rows_come_out_as_they_went_in(rows: int, dim: int, seed: int) -> None:
    form, delta = Format("fp32", dim), draw_delta(rows, dim, seed)
    buffer = encode(delta, form)
    assert len(buffer) == form.size(rows) == rows * (8 + 4 * dim)
    ids, values = decode(buffer, form)
    np.testing.assert_array_equal(ids, delta.rows[0])
    np.testing.assert_array_equal(values, delta.values[0])


@given(ROWS, DIMS, SEEDS)
def test_int8_rows_come_out_within_half_a_step(rows: int, dim: int, seed: int) -> None:
    form, delta = Format("int8", dim), draw_delta(rows, dim, seed)
    buffer = encode(delta, form)
    assert len(buffer) == form.size(rows) == rows * (8 + dim + 8)
    ids, values = decode(buffer, form)
    np.testing.assert_array_equal(ids, delta.rows[0])
    step = np.ptp(delta.values[0], axis=1, keepdims=True) / 255
    assert (np.abs(values - delta.values[0]) <= step / 2 + 1e-5).all()


@given(ROWS, DIMS, SEEDS)
def test_rows_are_ascending_and_each_once(rows: int, dim: int, seed: int) -> None:
    (ids,) = draw_delta(rows, dim, seed).rows
    assert (np.diff(ids) > 0).all()


@pytest.mark.parametrize("content", ["bytes", "fp32", "int8"])
def test_no_more_rows_are_sent_than_fit(content: str) -> None:
    form = Format(content, 16)
    assert form.size(form.rows(10_000)) <= 10_000 < form.size(form.rows(10_000) + 1)


def test_content_is_drawn_anew_by_its_seed() -> None:
    assert (draw_bytes(100, 1) == draw_bytes(100, 1)).all()
    assert (draw_bytes(100, 1) != draw_bytes(100, 2)).any()
