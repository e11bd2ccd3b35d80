"""Do units cover every row once, in order, within their bytes?"""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.frame.query.batches import pieces
from polars_rasteret.grids.pixel_grid import GridTable, PixelGrids
from polars_rasteret.grids.windows import Windows
from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.plan.batches import RAMP_FACTOR, RAMP_START_ROWS, batch_bytes, batches_of

ROW_BYTES = st.lists(st.integers(0, 1_000), max_size=300).map(lambda sizes: np.array(sizes, np.int64))


@given(ROW_BYTES, st.integers(1, 5_000), st.booleans())
def test_units_cover_every_row_once_in_order(row_bytes, max_bytes, ramps_up):
    cut = list(batches_of(row_bytes, max_bytes=max_bytes, ramps_up=ramps_up))
    rows = [row for unit in cut for row in range(unit.start, unit.stop)]
    assert rows == list(range(len(row_bytes)))
    assert all(unit.stop > unit.start for unit in cut)


@given(ROW_BYTES, st.integers(1, 5_000), st.booleans())
def test_a_unit_of_several_rows_keeps_within_its_bytes(row_bytes, max_bytes, ramps_up):
    for unit in batches_of(row_bytes, max_bytes=max_bytes, ramps_up=ramps_up):
        assert unit.stop - unit.start == 1 or row_bytes[unit].sum() <= max_bytes


@given(ROW_BYTES, st.integers(1, 5_000))
def test_without_a_ramp_a_unit_is_as_large_as_allowed(row_bytes, max_bytes):
    for unit in batches_of(row_bytes, max_bytes=max_bytes, ramps_up=False):
        assert unit.stop == len(row_bytes) or row_bytes[unit.start : unit.stop + 1].sum() > max_bytes


@given(st.integers(0, 100_000))
def test_a_ramp_starts_small_and_grows_by_its_factor(n_rows):
    sizes = [unit.stop - unit.start for unit in batches_of(np.ones(n_rows, np.int64), max_bytes=10**9, ramps_up=True)]
    assert sizes[:-1] == [RAMP_START_ROWS * RAMP_FACTOR**n for n in range(len(sizes) - 1)]


def test_a_ramp_keeps_to_the_bytes_and_no_rows_give_no_unit():
    assert list(batches_of(np.zeros(0, np.int64), max_bytes=1, ramps_up=True)) == []
    cut = list(batches_of(np.full(100, 10, np.int64), max_bytes=200, ramps_up=True))
    assert [unit.stop - unit.start for unit in cut] == [16, 20, 20, 20, 20, 4]


def test_sizes_beyond_32_bits_are_summed_right():
    huge = np.full(10, 2**40, np.int64)
    assert len(list(batches_of(huge, max_bytes=2**41, ramps_up=False))) == 5


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-1, 9)), max_size=40), st.data())
def test_taken_rows_keep_target_record_and_windows_together(pairs, data):
    target, record = (np.array([pair[at] for pair in pairs], np.int64) for at in (0, 1))
    grids = PixelGrids(table=GridTable(), grid_id=record)
    shared = Windows(
        grids=grids, row_start=target * 3, col_start=record * 5, height=target, width=record, is_met=record >= 0
    )
    rows = PairedRows(target=target, record=record, windows={"a": shared, "b": shared}, records=None)
    chosen = data.draw(st.lists(st.integers(0, max(0, len(pairs) - 1)), max_size=40)) if pairs else []
    for index in (np.array(chosen, np.int64), slice(3, 20), slice(0, len(pairs))):
        part = rows.taken(index)
        np.testing.assert_array_equal(part.target, target[index])
        np.testing.assert_array_equal(part.record, record[index])
        np.testing.assert_array_equal(part.windows["a"].row_start, target[index] * 3)
        np.testing.assert_array_equal(part.windows["b"].is_met, record[index] >= 0)
        assert part.windows["a"] is part.windows["b"]  # what is planned once stays planned once
        assert len(part) == len(target[index])


@given(st.integers(1, 3000), st.integers(1, 600_000), st.integers(1, 600_000_000))
def test_only_wide_rows_that_do_not_fit_one_unit_get_smaller_ones(n_rows, row_bytes, max_answer_bytes):
    allowed = batch_bytes(np.full(n_rows, row_bytes), max_answer_bytes)
    assert 1 <= allowed <= max_answer_bytes
    if n_rows * row_bytes <= max_answer_bytes or row_bytes < 4096:
        assert allowed == max_answer_bytes
    elif max_answer_bytes >= 4:
        assert allowed <= max_answer_bytes / 2


@given(st.integers(0, 500), st.integers(1, 3_000_000))
def test_pieces_are_the_frame_again_and_small_where_rows_are_wide(n_rows, row_bytes):
    frame = pl.DataFrame({"row": np.arange(n_rows)})
    cut = list(pieces(frame, np.full(n_rows, row_bytes)))
    assert pl.concat(cut).equals(frame)
    if row_bytes < 4096:
        assert len(cut) == 1
    assert row_bytes < 4096 or all(one.height <= max(1, 16_000_000 // row_bytes) for one in cut)
