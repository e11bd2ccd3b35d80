"""Is a bill that says it is exact the same for every way to cut a read into calls, and no bill too small?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.plan.cost import PlannedRead, expected_seconds, file_costs
from polars_rasteret.plan.requests import request_ids

GAP, CAP = 100, 1_000


def group(file, start, stop):
    return request_ids(file, start, stop, max_gap_bytes=GAP, max_request_bytes=CAP)


@st.composite
def tables(draw):
    """Give two files of tiles: where each begins and ends, sorted."""
    rows = []
    for file in range(2):
        at = 0
        for _ in range(draw(st.integers(1, 6))):
            at += draw(st.sampled_from([0, 0, 8, 60, 100, 101, 500]))
            size = draw(st.sampled_from([5, 50, 101, 150, 700]))
            rows.append((file, at, at + size))
            at += size
    return np.array(rows, np.int64)


@st.composite
def reads(draw):
    """Give a table and calls that want some of its tiles."""
    table = draw(tables())
    calls = draw(st.lists(st.sets(st.integers(0, len(table) - 1), min_size=1), min_size=1, max_size=4))
    return table, [sorted(one) for one in calls]


def planned(table, calls, *, in_batches=False, runs=None):
    return [
        PlannedRead(
            run=0 if runs is None else runs[at],
            in_batches=in_batches,
            group=group,
            max_gap_bytes=GAP,
            file=table[one, 0],
            byte_start=table[one, 1],
            byte_stop=table[one, 2],
            decoded_bytes=np.full(len(one), 7),
        )
        for at, one in enumerate(calls)
    ]


def fetched(table, calls):
    """Fetch the tiles of the calls one after another, cached ones never again: requests and bytes, tile by tile."""
    cached, n_requests, n_bytes = set(), 0, 0
    for call in calls:
        open_request = None
        for tile in call:
            if tile in cached:
                continue
            cached.add(tile)
            file, start, stop = table[tile].tolist()
            if open_request is not None:
                same, first, last = open_request
                if same == file and start - last <= GAP and stop - first <= CAP:
                    n_bytes += stop - last
                    open_request = (file, first, stop)
                    continue
            n_requests, n_bytes, open_request = n_requests + 1, n_bytes + stop - start, (file, start, stop)
    return len(cached), n_requests, n_bytes


@given(reads())
def test_calls_of_one_source_cost_what_fetching_them_in_order_does(given_reads):
    table, calls = given_reads
    bills = file_costs(planned(table, calls), 2, cache_bytes=10**9)
    assert bills.is_exact
    assert (bills.tiles.sum(), bills.requests.sum(), bills.bytes.sum()) == fetched(table, calls)
    assert bills.decoded_bytes.sum() == 7 * bills.tiles.sum()


@given(reads(), st.randoms(use_true_random=False))
def test_however_polars_cuts_batches_they_never_cost_more_than_the_bill(given_reads, random):
    table, calls = given_reads
    bills = file_costs(planned(table, calls, in_batches=True), 2, cache_bytes=10**9)
    wanted = sorted({tile for call in calls for tile in call})
    for _ in range(5):
        random.shuffle(wanted)
        cuts = sorted(random.choices(range(len(wanted) + 1), k=3))
        parts = [wanted[first:stop] for first, stop in zip([0, *cuts], [*cuts, len(wanted)], strict=True)]
        tiles, _, n_bytes = fetched(table, [sorted(part) for part in parts])
        assert tiles == bills.tiles.sum()
        assert n_bytes <= bills.bytes.sum()
        assert n_bytes == bills.bytes.sum() or not bills.is_exact


@given(reads(), st.randoms(use_true_random=False))
def test_whatever_pixels_leave_out_the_rest_never_costs_more_than_the_bill(given_reads, random):
    table, calls = given_reads
    bills = file_costs(planned(table, calls), 2, cache_bytes=10**9, is_upper=True)
    some = [[tile for tile in call if random.random() < 0.6] for call in calls]
    tiles, _, n_bytes = fetched(table, some)
    assert tiles <= bills.tiles.sum()
    assert n_bytes <= bills.bytes.sum()


@given(reads())
def test_reads_at_the_same_time_are_exact_only_where_they_share_no_file_with_gaps(given_reads):
    table, calls = given_reads
    bills = file_costs(planned(table, calls, runs=range(len(calls))), 2, cache_bytes=10**9)
    for order in (calls, calls[::-1]):
        tiles, _, n_bytes = fetched(table, order)
        assert tiles == bills.tiles.sum()
        assert n_bytes <= bills.bytes.sum()
        assert n_bytes == bills.bytes.sum() or not bills.is_exact


@given(reads())
def test_what_the_cache_cannot_keep_is_counted_each_time(given_reads):
    table, calls = given_reads
    bills = file_costs(planned(table, calls), 2, cache_bytes=0)
    alone = [fetched(table, [call]) for call in calls]
    is_repeated = sum(len(call) for call in calls) > len({tile for call in calls for tile in call})
    assert sum(one[2] for one in alone) <= bills.bytes.sum()
    assert bills.tiles.sum() == sum(one[0] for one in alone)
    assert bills.is_exact is not is_repeated


def test_nothing_costs_nothing():
    bills = file_costs([], 0, cache_bytes=10)
    assert (bills.tiles.sum(), bills.bytes.sum(), bills.is_exact) == (0, 0, True)
    assert expected_seconds([], rounds=0, decoding_s=0.0, at_once=32) == 0
