"""Do images get one id exactly where their pixel grids are equal?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.grids.pixel_grid import GridTable, PixelGrids, first_equal, first_on_same_grid

transforms = st.tuples(*[st.sampled_from([0.0, -0.0, 1.0, float("nan")])] * 6)
images = st.tuples(st.sampled_from([None, "EPSG:4326", "EPSG:32632"]), transforms, st.integers(0, 2), st.integers(0, 2))


def added(table: GridTable, some: list) -> PixelGrids:
    crs, transform, width, height = zip(*some, strict=True) if some else ([], [], [], [])
    array = np.array(transform, np.float64).reshape(-1, 6)
    return table.add(crs, array, np.array(width, np.int64), np.array(height, np.int64))


def are_equal(one, other) -> bool:
    (crs, transform, *size), (other_crs, other_transform, *other_size) = one, other
    numbers = np.array_equal(np.array(transform), np.array(other_transform), equal_nan=True)
    return bool(crs == other_crs and numbers and size == other_size)


@given(st.lists(st.lists(images, max_size=8), max_size=4))
def test_ids_are_dense_and_equal_exactly_where_grids_are(bands):
    table = GridTable()
    columns = [added(table, some) for some in bands]
    every = [one for some in bands for one in some]
    ids = np.concatenate([np.zeros(0, np.int64), *(column.grid_id for column in columns)])
    assert set(ids.tolist()) == set(range(len(table)))
    for at, one in enumerate(every):
        for before in range(at):
            assert (ids[at] == ids[before]) == are_equal(one, every[before])
    for some, column in zip(bands, columns, strict=True):
        for at, one in enumerate(some):
            assert are_equal(column.grid(at), one)
            assert are_equal((column.crs[at], column.transform[at], column.width[at], column.height[at]), one)


@given(st.lists(images, min_size=1, max_size=8))
def test_a_lattice_is_crs_and_transform_or_without_georeferencing_crs_and_size(some):
    lattice = added(GridTable(), some).lattice_id
    for at, (crs, transform, *size) in enumerate(some):
        for before, (other_crs, other_transform, *other_size) in enumerate(some[:at]):
            is_placed, other_is_placed = np.isfinite(transform).all(), np.isfinite(other_transform).all()
            same = tuple(transform) == tuple(other_transform) if is_placed else size == other_size
            assert (lattice[at] == lattice[before]) == (crs == other_crs and is_placed == other_is_placed and same)


@given(st.lists(images, min_size=1, max_size=5), st.lists(st.lists(st.integers(-1, 4), min_size=3, max_size=3)))
def test_columns_are_alike_where_their_grids_are_whether_shared_or_copied(some, rows):
    grids = added(GridTable(), some)
    columns = [grids.taken(np.array([min(one, len(some) - 1) for one in row], np.int64)) for row in rows]
    copies = [PixelGrids(table=one.table, grid_id=one.grid_id.copy()) for one in columns]
    ids = [one.grid_id.tolist() for one in columns]
    assert first_equal(columns) == first_equal(copies) == [ids.index(one) for one in ids]
    expected = [
        [
            next((other for other in range(len(ids)) if ids[other][row] == own), -1) if own >= 0 else -1
            for row, own in enumerate(one)
        ]
        for one in ids
    ]
    assert [one.tolist() for one in first_on_same_grid(columns)] == expected


@given(st.lists(images, max_size=5), st.lists(st.integers(-1, 4), max_size=5))
def test_no_grid_has_no_place_and_no_pixels(some, index):
    grids = added(GridTable(), some)
    taken = grids.taken(np.array([one if one < len(some) else -1 for one in index], np.int64))
    nothing = taken.grid_id < 0
    assert all(one is None for one in taken.crs[nothing])
    assert np.isnan(taken.transform[nothing]).all()
    assert not taken.width[nothing].any()
    assert not taken.height[nothing].any()
    assert (taken.lattice_id[nothing] == -1).all()
