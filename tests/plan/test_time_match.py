"""Are records ordered by time as the rules say, in every combination of known, unknown and overlapping times?"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.plan.time_match import Intervals, gaps, ranked_pairs, within

times = st.one_of(st.none(), st.tuples(st.integers(-5, 5), st.integers(0, 3)))
rows = st.lists(st.tuples(st.integers(0, 3), times), max_size=12)
moments = st.lists(st.one_of(st.none(), st.tuples(st.integers(-5, 5), st.integers(0, 2))), min_size=4, max_size=4)


def intervals(values) -> Intervals:
    return Intervals(
        start=np.array([0 if one is None else one[0] for one in values], np.int64),
        stop=np.array([0 if one is None else one[0] + one[1] for one in values], np.int64),
        is_known=np.array([one is not None for one in values], np.bool_),
    )


def gap(one, other) -> int:
    (a, b), (c, d) = (one[0], one[0] + one[1]), (other[0], other[0] + other[1])
    return max(0, a - d, c - b)


@given(rows, st.none() | moments, st.sampled_from(["latest", "earliest", "nearest"]))
def test_candidates_follow_the_rules_one_by_one(pairs, at, match):
    if match == "nearest" and at is None:
        return
    pairs = sorted(pairs, key=lambda pair: pair[0])
    expected = []
    for number, (target, record) in enumerate(pairs):
        moment = None if at is None else at[target]
        if at is not None and (record is None or moment is None):
            continue
        if record is None:
            key = (1,)
        else:
            start, stop = record[0], record[0] + record[1]
            if moment is not None and match == "latest" and start > moment[0] + moment[1]:
                continue
            if moment is not None and match == "earliest" and stop < moment[0]:
                continue
            order = {"latest": (-start, -stop), "earliest": (start, stop)}
            key = (0, *(order[match] if match != "nearest" else (gap(moment, record), start, stop)))
        expected.append((target, key, -number, number))  # precedence runs against the order of the pairs
    target = np.array([pair[0] for pair in pairs], np.int64)
    found = ranked_pairs(
        match,
        target,
        None if at is None else intervals([at[one] for one in target]),
        intervals([pair[1] for pair in pairs]),
        -np.arange(len(pairs)),
    )
    assert found.tolist() == [one[-1] for one in sorted(expected, key=lambda one: one[:3])]


@given(st.tuples(st.integers(-5, 5), st.integers(0, 3)), st.tuples(st.integers(-5, 5), st.integers(0, 3)))
def test_a_gap_is_the_time_between_and_a_reach_holds_what_lies_within(one, other):
    assert gaps(intervals([one]), intervals([other])).tolist() == [gap(one, other)]
    for tolerance in range(4):
        reach = intervals([(one[0] - tolerance, one[1] + 2 * tolerance)])
        assert within(intervals([one]), reach, intervals([other])).tolist() == [gap(one, other) <= tolerance]
