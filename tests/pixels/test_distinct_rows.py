"""Are rows told apart by their values, however many there are and wherever their texts lie?"""

from __future__ import annotations

import struct

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.pixels.rasters.distinct_values import distinct_rows

TEXTS = [None, "", "short", "a text of more than twelve letters", "a text of more than twelve lettres"]
FLOATS = [0.0, -0.0, float("nan"), float("inf"), 1.5]
ROWS = st.tuples(
    st.sampled_from(TEXTS),
    st.sampled_from([None, b"", b"\x00", b"\x00" * 40, b"\x00" * 39 + b"\x01"]),
    st.sampled_from([None, 0, 1, 255]),
    st.sampled_from([None, *[[one, two] for one in FLOATS for two in FLOATS]]),
)


def key(row):
    """What tells a row apart: floats by their bits."""
    text, data, number, pair = row
    return text, data, number, None if pair is None else struct.pack("<2d", *pair)


@given(st.lists(ROWS, max_size=12), st.integers(1, 60), st.integers(0, 5), st.booleans())
def test_rows_are_one_where_all_their_values_are(rows, times, n_cut, in_one_chunk):
    dtypes = [pl.String, pl.Binary, pl.UInt8, pl.Array(pl.Float64, 2)]
    part = pl.DataFrame([pl.Series(f"c{at}", [row[at] for row in rows], dtype=one) for at, one in enumerate(dtypes)])
    # Parts that are built apart hold equal texts in different places.
    parts = [part, *[pl.DataFrame([pl.Series(one.name, one.to_list(), dtype=one.dtype) for one in part])] * (times - 1)]
    table = pl.concat(parts, rechunk=in_one_chunk).slice(n_cut)
    keys = [key(row) for row in (rows * times)[n_cut:]]

    first, number = distinct_rows(table.get_columns(), len(table))

    numbers: dict[object, int] = {}
    assert number.tolist() == [numbers.setdefault(one, len(numbers)) for one in keys]
    assert first.tolist() == [keys.index(one) for one in numbers]
