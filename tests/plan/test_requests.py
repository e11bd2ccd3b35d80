"""Do tiles that lie together travel together, and no others?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.plan.requests import request_ids


@st.composite
def tile_tables(draw):
    """Give file_id, byte_start, byte_stop, sorted, not overlapping."""
    file_id, byte_start, byte_stop = [], [], []
    for one in range(draw(st.integers(0, 3))):
        position = 0
        for gap, size in draw(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 80)), max_size=12)):
            file_id.append(one)
            byte_start.append(position + gap)
            byte_stop.append(position := position + gap + size)
    return tuple(np.array(column, np.int64) for column in (file_id, byte_start, byte_stop))


def requests_of(tiles, request_id):
    file_id, byte_start, byte_stop = tiles
    for one in range(int(request_id[-1]) + 1 if len(request_id) else 0):
        inside = request_id == one
        assert len(set(file_id[inside].tolist())) == 1
        yield int(file_id[inside][0]), int(byte_start[inside].min()), int(byte_stop[inside].max()), int(inside.sum())


@given(tile_tables(), st.integers(0, 60), st.integers(1, 300))
def test_requests_are_dense_in_order_and_never_cross_files(tiles, gap, cap):
    request_id = request_ids(*tiles, max_gap_bytes=gap, max_request_bytes=cap)
    assert len(request_id) == len(tiles[0])
    assert sorted(set(request_id.tolist())) == list(range(len(set(request_id.tolist()))))
    assert (np.diff(request_id) >= 0).all()
    list(requests_of(tiles, request_id))


@given(tile_tables(), st.integers(0, 60), st.integers(1, 300))
def test_a_request_stays_under_the_cap_unless_it_is_one_tile(tiles, gap, cap):
    for _, start, stop, n_tiles in requests_of(tiles, request_ids(*tiles, max_gap_bytes=gap, max_request_bytes=cap)):
        assert stop - start <= cap or n_tiles == 1


@given(tile_tables(), st.integers(0, 60), st.integers(1, 300))
def test_two_requests_are_apart_because_of_the_file_the_gap_or_the_cap(tiles, gap, cap):
    file_id, byte_start, byte_stop = tiles
    request_id = request_ids(*tiles, max_gap_bytes=gap, max_request_bytes=cap)
    first_byte = {int(one): int(byte_start[request_id == one].min()) for one in request_id}
    for before, after in pairwise(range(len(request_id))):
        if request_id[before] != request_id[after]:
            assert (
                file_id[before] != file_id[after]
                or byte_start[after] - byte_stop[before] > gap
                or byte_stop[after] - first_byte[int(request_id[before])] > cap
            )


@given(tile_tables(), st.integers(0, 60))
def test_within_a_request_no_gap_is_wider_than_allowed(tiles, gap):
    _, byte_start, byte_stop = tiles
    request_id = request_ids(*tiles, max_gap_bytes=gap, max_request_bytes=1 << 40)
    together = request_id[1:] == request_id[:-1]
    assert (byte_start[1:] - byte_stop[:-1] <= gap)[together].all()


def test_tiles_that_share_or_nest_their_bytes_share_a_request():
    request_id = request_ids(
        np.zeros(4, np.int64),
        np.array([0, 0, 10, 95]),
        np.array([50, 90, 20, 99]),
        max_gap_bytes=5,
        max_request_bytes=1000,
    )
    assert request_id.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("n_tiles", [1_000_000])
def test_a_million_tiles_take_no_loop_per_tile(n_tiles):
    byte_start = np.arange(n_tiles, dtype=np.int64) * 1000
    request_id = request_ids(
        np.zeros(n_tiles, np.int64), byte_start, byte_start + 1000, max_gap_bytes=0, max_request_bytes=100_000
    )
    assert request_id[-1] == n_tiles // 100 - 1
    assert (np.bincount(request_id) == 100).all()
