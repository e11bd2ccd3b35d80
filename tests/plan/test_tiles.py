"""Is every wanted pixel read from exactly one place?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.plan import tiles
from polars_rasteret.plan.tiles import TileGrids, distinct_rows, pieces_of_windows

grid = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16))
window = st.tuples(
    st.integers(-1, 2), st.integers(-20, 50), st.integers(-20, 50), st.integers(0, 30), st.integers(0, 30)
)


def make_grids(sizes):
    width, height, tile_width, tile_height = np.array(sizes, np.int64).T
    return TileGrids(width=width, height=height, tile_width=tile_width, tile_height=tile_height)


def plan(grids, windows):
    columns = np.array(windows, np.int64).reshape(-1, 5).T
    sizes = columns[3] * columns[4]
    first_pixel = np.cumsum(sizes) - sizes
    return pieces_of_windows(grids, *columns, first_pixel), int(sizes.sum()), first_pixel


def expected_sources(grids, windows):
    """For every answer pixel (tile, row in tile, col in tile) or None, pixel by pixel."""
    for one, row_start, col_start, height, width in windows:
        for row in range(row_start, row_start + height):
            for col in range(col_start, col_start + width):
                if one < 0 or not (0 <= row < grids.height[one] and 0 <= col < grids.width[one]):
                    yield None
                    continue
                down, across = row // grids.tile_height[one], col // grids.tile_width[one]
                tile = grids.first_tile[one] + down * grids.tiles_across[one] + across
                yield int(tile), int(row % grids.tile_height[one]), int(col % grids.tile_width[one])


def planned_sources(pieces, n_pixels):
    sources = [None] * n_pixels
    for index, tile in enumerate(pieces.tile.tolist()):
        for piece in range(pieces.first_piece[index], pieces.first_piece[index + 1]):
            height = 1 if pieces.height is None else pieces.height[piece]
            width = 1 if pieces.width is None else pieces.width[piece]
            stride = 0 if pieces.stride is None else pieces.stride[piece]
            assert height > 0
            assert width > 0
            assert pieces.row_start[index] <= pieces.row[piece] < pieces.row[piece] + height <= pieces.row_stop[index]
            assert pieces.col[piece] + width <= pieces.col_stop[index]
            for row in range(height):
                for col in range(width):
                    destination = pieces.destination[piece] + row * stride + col
                    assert sources[destination] is None, "two pieces write one pixel"
                    sources[destination] = (tile, int(pieces.row[piece] + row), int(pieces.col[piece] + col))
    return sources


@given(st.lists(grid, min_size=3, max_size=3), st.lists(window, max_size=8))
def test_every_pixel_inside_an_image_comes_from_exactly_one_piece_and_no_other_does(sizes, windows):
    grids = make_grids(sizes)
    pieces, n_pixels, _ = plan(grids, windows)
    assert planned_sources(pieces, n_pixels) == list(expected_sources(grids, windows))


@given(st.lists(grid, min_size=3, max_size=3), st.lists(window, max_size=8))
def test_the_count_of_pixels_inside_tells_which_windows_stick_out(sizes, windows):
    grids = make_grids(sizes)
    pieces, _, first_pixel = plan(grids, windows)
    sources = list(expected_sources(grids, windows))
    for index, start in enumerate(first_pixel.tolist()):
        stop = start + windows[index][3] * windows[index][4]
        assert pieces.n_pixels[index] == sum(source is not None for source in sources[start:stop])


@given(st.lists(grid, min_size=3, max_size=3), st.lists(window, max_size=12))
def test_points_give_one_piece_each_and_their_distinct_rows_lead_back_to_them(sizes, windows):
    grids = make_grids(sizes)
    points = [(one, row, col, 1, 1) for one, row, col, _, _ in windows]
    pieces, n_pixels, _ = plan(grids, points)
    assert pieces.height is None
    assert planned_sources(pieces, n_pixels) == list(expected_sources(grids, points))
    rows = distinct_rows(pieces)
    for index in range(len(pieces.tile)):
        part = slice(pieces.first_piece[index], pieces.first_piece[index + 1])
        wanted = rows.row[rows.first_row[index] : rows.first_row[index + 1]]
        assert wanted.tolist() == sorted(set(pieces.row[part].tolist()))
        assert wanted[rows.position[part]].tolist() == pieces.row[part].tolist()


@given(st.lists(grid, min_size=3, max_size=3), st.lists(st.tuples(window, st.integers(0, 1)), max_size=12))
def test_points_mixed_with_windows_of_no_pixels_stay_points(sizes, windows):
    grids = make_grids(sizes)
    points = [(one, row, col, size, size) for (one, row, col, _, _), size in windows]
    pieces, n_pixels, _ = plan(grids, points)
    assert pieces.height is None
    assert planned_sources(pieces, n_pixels) == list(expected_sources(grids, points))


@given(st.lists(st.integers(0, 1 << 40), max_size=30), st.integers(0, 3))
def test_the_order_by_digits_is_the_stable_order(values, n_rows):
    first = np.array(values, np.int64)
    second = np.arange(len(values)) % (n_rows + 1)
    assert tiles.radix_order(first).tolist() == np.argsort(first, kind="stable").tolist()
    assert tiles.radix_order(first, second).tolist() == np.lexsort((second, first)).tolist()


def test_windows_at_the_ends_of_int64_are_outside():
    grids = make_grids([(10, 10, 4, 4)])
    ends = [np.iinfo(np.int64).min, np.iinfo(np.int64).max, -1]
    for height in (1, 2):
        columns = [np.zeros(3, np.int64), np.array(ends), np.array(ends[::-1]), np.full(3, height), np.full(3, height)]
        pieces = pieces_of_windows(grids, *columns, np.arange(3) * height**2)
        assert len(pieces.window) == 0


def test_no_references_at_all_give_no_pieces():
    grids = TileGrids.of([])
    for size in (1, 3):
        nothing = [np.full(2, -1), np.zeros(2, np.int64), np.zeros(2, np.int64), np.full(2, size), np.full(2, size)]
        pieces = pieces_of_windows(grids, *nothing, np.arange(2) * size * size)
        assert len(pieces.tile) == 0
        assert pieces.row_start.tolist() == []
        assert distinct_rows(pieces).row.tolist() == []
