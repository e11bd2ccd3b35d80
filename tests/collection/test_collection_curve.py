"""Does the curve visit every cell once, step by step?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.collection.writing.hilbert import BITS, hilbert_index, hilbert_order


@given(st.integers(1, 6))
def test_the_curve_visits_every_cell_once_and_steps_to_a_neighbour(bits):
    side = 1 << bits
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(side), np.arange(side)))
    position = hilbert_index(column, row, bits=bits)
    assert sorted(position.tolist()) == list(range(side * side))
    order = np.argsort(position)
    steps = np.abs(np.diff(column[order])) + np.abs(np.diff(row[order]))
    assert (steps == 1).all()


@given(st.lists(st.tuples(st.integers(0, 2**BITS - 1), st.integers(0, 2**BITS - 1)), min_size=1, max_size=20))
def test_a_finer_curve_keeps_the_order_of_the_coarser_one(cells):
    column, row = np.array(cells).T
    fine = hilbert_index(column, row)
    coarse = hilbert_index(column >> 8, row >> 8, bits=BITS - 8)
    assert (fine >> 16 == coarse).all()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.floats(-180, 180), st.floats(-90, 89), st.floats(-180, 180), st.just(90.0)),
            st.just((np.nan,) * 4),
        ),
        max_size=30,
    )
)
def test_the_order_is_a_permutation_with_places_before_no_places(bounds):
    array = np.array(bounds, dtype=np.float64).reshape(-1, 4)
    order = hilbert_order(array)
    assert sorted(order.tolist()) == list(range(len(array)))
    missing = np.isnan(array[order]).any(axis=1)
    assert (np.diff(missing.astype(int)) >= 0).all()


def test_records_without_a_place_and_ties_keep_their_order():
    same = np.array([[0, 0, 1, 1.0]] * 3 + [[np.nan] * 4] * 3)
    assert hilbert_order(same).tolist() == [0, 1, 2, 3, 4, 5]
