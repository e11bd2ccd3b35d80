"""Which stage decides which part of a predicate, and is nothing lost between them?"""

from __future__ import annotations

import datetime as dt
import itertools

import polars as pl
import pytest

from polars_rasteret.frame.query.pushdown import (
    SplitPredicate,
    conjunction,
    holds_python,
    rejects_null_row,
    root_names,
    split_and,
    split_predicate,
)

RECORDS = {"record_id": pl.String(), "datetime": pl.Datetime("us", "UTC"), "cloud": pl.Float64(), "clear": pl.Boolean()}
TARGETS = {"plot", "planting", "harvest", "weight"}
INSTANT = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)

# A predicate, where its parts go when rows without a record are dropped, and where when they are kept as nulls.
STAGES = {
    "caller": (pl.col("plot") == "a", "targets", "targets"),
    "caller, null accepted": (pl.col("plot").is_null(), "targets", "targets"),
    "two caller columns": (pl.col("planting") < pl.col("harvest"), "targets", "targets"),
    "record": (pl.col("cloud") < 20, "records", "records"),
    "record, a range": (pl.col("datetime").is_between(INSTANT, INSTANT), "records", "records"),
    "record, is in": (pl.col("record_id").is_in(["a", "b"]), "records", "records"),
    "record, a Boolean column": (pl.col("clear"), "records", "records"),
    "record, not": (~pl.col("clear"), "records", "records"),
    "record, not null": (pl.col("record_id").is_not_null(), "records", "records"),
    "record, null": (pl.col("record_id").is_null(), "records", "pairs"),
    "record, null filled": (pl.col("cloud").fill_null(0) < 20, "records", "pairs"),
    "record, or null": ((pl.col("cloud") < 20) | pl.col("cloud").is_null(), "records", "pairs"),
    "record, not equal with nulls": (pl.col("cloud").ne_missing(3), "records", "pairs"),
    "both": (pl.col("datetime").is_between("planting", "harvest"), "pairs", "pairs"),
    "both, or": ((pl.col("cloud") < 20) | (pl.col("plot") == "a"), "pairs", "pairs"),
    "band": (pl.col("B04") > 0, "pixels", "pixels"),
    "band with record": (pl.col("B04") > pl.col("cloud"), "pixels", "pixels"),
    "band or record": ((pl.col("B04") > 0) | (pl.col("cloud") < 20), "pixels", "pixels"),
    "band with caller": (pl.col("B04") * pl.col("weight") > 3, "pixels", "pixels"),
    "band, null": (pl.col("B04").is_null(), "pixels", "pixels"),
    "no column": (pl.lit(value=True), "pixels", "pixels"),
    "python on the caller": (pl.col("plot").map_elements(bool, return_dtype=pl.Boolean), "pixels", "pixels"),
    "python on the record": (pl.col("cloud").map_batches(abs, return_dtype=pl.Boolean) > 0, "pixels", "pixels"),
}


def split(predicate, *, unmatched_rows, may_choose_records=True):
    return split_predicate(
        predicate,
        target_columns=TARGETS,
        record_columns=RECORDS,
        may_choose_records=may_choose_records,
        unmatched_rows=unmatched_rows,
    )


def stages(parts: SplitPredicate):
    return {name: getattr(parts, name) for name in ("targets", "records", "pairs", "pixels") if getattr(parts, name)}


@pytest.mark.parametrize("name", STAGES)
def test_each_kind_of_predicate_goes_to_its_stage(name):
    predicate, dropped, kept = STAGES[name]
    assert list(stages(split(predicate, unmatched_rows=False))) == [dropped]
    assert list(stages(split(predicate, unmatched_rows=True))) == [kept]


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("unmatched_rows", [True, False])
def test_a_choice_among_records_comes_before_every_predicate_on_records(name, unmatched_rows):
    predicate, dropped, _ = STAGES[name]
    parts = split(predicate, unmatched_rows=unmatched_rows, may_choose_records=False)
    assert list(stages(parts)) == ["targets" if dropped == "targets" else "pixels"]


def test_no_predicate_has_no_parts():
    assert stages(split(None, unmatched_rows=True)) == {}


def test_parts_of_a_conjunction_go_their_own_ways_and_none_is_lost():
    chosen = ["caller", "record", "both", "band", "record, null"]
    for order in itertools.permutations(chosen):
        predicates = [STAGES[name][0] for name in order]
        nested = (predicates[0] & (predicates[1] & predicates[2])) & (predicates[3] & predicates[4])
        parts = split(nested, unmatched_rows=True)
        assert {name: len(one) for name, one in stages(parts).items()} == {
            "targets": 1,
            "records": 1,
            "pairs": 2,
            "pixels": 1,
        }
        for stage, found in stages(parts).items():
            expected = [one for name, one in zip(order, predicates, strict=True) if STAGES[name][2] == stage]
            assert len(expected) == len(found)
            assert all(a.meta.eq(b) for a, b in zip(expected, found, strict=True))


NOT_ANDS = {
    "or": pl.col("cloud").gt(1) | pl.col("plot").eq("a"),
    "xor": pl.col("clear") ^ pl.col("clear"),
    "not and": ~(pl.col("clear") & (pl.col("cloud") < 2)),
    "comparison of ands": (pl.col("clear") & pl.col("clear")) == pl.col("clear"),
    "when": pl.when(pl.col("clear")).then(pl.col("cloud") < 2).otherwise(other := pl.lit(value=False)),
    "all_horizontal": pl.all_horizontal("clear", other),
    "is_between": pl.col("cloud").is_between(1, 2),
    "integers": (pl.col("a") & pl.col("b")) > 0,
}


@pytest.mark.parametrize("name", NOT_ANDS)
def test_only_a_real_and_is_split(name):
    assert len(split_and(NOT_ANDS[name])) == 1


def test_a_conjunction_of_its_parts_keeps_the_rows_that_the_predicate_keeps():
    values = [None, True, False]
    frame = pl.DataFrame(
        list(itertools.product(values, repeat=3)), schema={"a": pl.Boolean, "b": pl.Boolean, "c": pl.Boolean}, orient="row"
    )  # fmt: skip
    predicate = pl.col("a") & (pl.col("b") | pl.col("c")) & ~pl.col("c")
    again = conjunction(tuple(split_and(predicate)))
    assert len(split_and(predicate)) == 3
    assert frame.filter(again).equals(frame.filter(predicate))
    assert conjunction(()) is None


def test_python_is_seen_wherever_it_hides():
    udf = pl.col("a").map_elements(bool, return_dtype=pl.Boolean)
    assert holds_python(udf)
    assert holds_python(pl.when(pl.col("b") > 0).then(udf).otherwise(pl.lit(value=False)))
    assert holds_python((pl.col("a") > 0) | udf.fill_null(value=True))
    assert holds_python(pl.map_batches(["a", "b"], lambda one: one[0], return_dtype=pl.Boolean))
    assert not holds_python((pl.col("AnonymousFunction") > 0) & pl.col("b").is_in([1, 2]))


@pytest.mark.parametrize(
    ("predicate", "rejects"),
    [
        (pl.col("cloud") < 20, True),
        (pl.col("clear"), True),
        (~pl.col("clear"), True),
        (pl.col("record_id").str.starts_with("S2"), True),
        (pl.col("datetime").dt.year() == 2024, True),
        (pl.col("cloud").is_null(), False),
        (pl.col("cloud").is_null() | (pl.col("cloud") < 3), False),
        (pl.col("record_id").fill_null("").str.starts_with(""), False),
        (pl.col("cloud").eq_missing(None), False),
        (pl.col("record_id") < pl.col("cloud"), False),  # cannot be judged
    ],
)
def test_a_predicate_is_judged_on_a_row_of_nulls(predicate, rejects):
    assert rejects_null_row(predicate, RECORDS) == rejects


def test_the_columns_of_parts_are_named_once():
    assert root_names((pl.col("a") > pl.col("b"), pl.col("b").is_null())) == {"a", "b"}
    assert root_names(()) == set()
