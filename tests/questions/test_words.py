"""Do words that say the same thing in another way give the same answer, and wrong ones an error that helps?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import polars_rasteret as pr
from tests.support import check_answers as check
from tests.support import small_worlds as small
from tests.support.oracle import points as eager

WORLD = small.rich_world()


def asked(**words: Any) -> eager.Question:
    return eager.Question(
        **{"bands": ("red", "temp"), "crs": WORLD.crs, "record_columns": small.RECORD_COLUMNS, **words}
    )


def reference(question: eager.Question, records: list[eager.Record] | None = None) -> pl.DataFrame:
    records = WORLD.eager if records is None else records
    return eager.answer(question, WORLD.caller, records, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)


def query(question: eager.Question, lf: pl.LazyFrame = WORLD.collection, **other: Any) -> pl.LazyFrame:
    words = question.words() | other
    caller = words.pop("caller", WORLD.caller)
    return lf.raster.sample_points(caller, list(words.pop("bands")), **words)


AT: dict[str, Any] = {
    "column": pl.col("visited"),
    "computed": pl.col("visited").dt.offset_by("1d") - pl.duration(days=1),
    "berlin_ms": "visited_berlin",
    "nanoseconds": pl.col("visited").dt.cast_time_unit("ns"),
}


@pytest.mark.parametrize("match", ["latest", "nearest", "all"])
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_an_instant_may_be_worded_in_many_ways(at: Any, match: str, engine: str):
    question = asked(match=match, at="visited", tolerance="1d12h")
    check.assert_same(query(question, at=at).collect(engine=engine), reference(question))


def test_an_instant_may_be_one_for_all(engine: str):
    when = small.day(2, 22)
    caller = WORLD.caller.with_columns(visited=pl.lit(when))
    question = asked(match="nearest", at="visited")
    wanted = eager.answer(question, caller, WORLD.eager, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)
    got = query(question, at=pl.lit(when)).collect(engine=engine)
    check.assert_same(got.drop("visited"), wanted.drop("visited"))


def test_a_day_is_what_lies_between_its_midnights(engine: str):
    """Records at the first and the last instant of a day overlap it; the next midnight is one microsecond away."""
    day = dt.date(2024, 5, 2)
    start = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
    times = [start - eager.TICK, start, start + dt.timedelta(days=1) - eager.TICK, start + dt.timedelta(days=1)]
    lf = pr.testing.example_scenes().head(1)
    lf = pl.concat([lf.with_columns(id=pl.lit(f"r{at}"), datetime=pl.lit(time)) for at, time in enumerate(times)])
    points = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0], "day": [day]})

    def chosen(**words: Any) -> list[str]:
        got = lf.raster.sample_points(points, ["red"], crs=32632, at="day", **words).collect(engine=engine)
        return got["record_id"].to_list()

    assert chosen(match="latest") == ["r2"]
    assert chosen(match="earliest") == ["r1"]
    assert chosen(match="nearest") == ["r1"]
    assert chosen(tolerance="0s") == ["r1", "r2"]
    assert chosen(tolerance="1us") == ["r0", "r1", "r2", "r3"]


TIME_TYPES = {
    "ms": pl.col("datetime").dt.cast_time_unit("ms"),
    "ns": pl.col("datetime").dt.cast_time_unit("ns"),
    "zone": pl.col("datetime").dt.convert_time_zone("America/Lima"),
}


@pytest.mark.parametrize("time", TIME_TYPES.values(), ids=TIME_TYPES)
def test_times_of_records_may_have_any_unit_and_zone(time: pl.Expr, engine: str):
    # Milliseconds would move the record at the last microsecond of a day.
    question = asked(match="nearest", at="visited", record_columns=("id", "serial"))
    lf = WORLD.collection.with_columns(pl.col("datetime").dt.truncate("1ms")).with_columns(time)
    records = [
        eager.Record(
            {
                **one.columns,
                "datetime": (t := one.columns["datetime"]) and t.replace(microsecond=t.microsecond // 1000 * 1000),
            },
            one.planes,
        )
        for one in WORLD.eager
    ]
    check.assert_same(query(question, lf).collect(engine=engine), reference(question, records))


@pytest.mark.parametrize("match", ["all", "latest", "earliest"])
def test_a_collection_without_times_chooses_by_id(match: str, engine: str):
    question = asked(match=match, record_columns=("id", "serial"))
    lf = WORLD.collection.drop("datetime", "start_datetime", "end_datetime")
    records = [
        eager.Record({"id": one.columns["id"], "serial": one.columns["serial"]}, one.planes) for one in WORLD.eager
    ]
    check.assert_same(query(question, lf).collect(engine=engine), reference(question, records))


def test_a_collection_without_times_has_no_latest_before_a_visit(engine: str):
    lf = WORLD.collection.drop("datetime", "start_datetime", "end_datetime")
    got = query(asked(match="latest", at="visited", record_columns=("id",)), lf).collect(engine=engine)
    assert got["record_id"].null_count() == got.height == WORLD.caller.height


@pytest.mark.parametrize("match", ["all", "latest"])
def test_validity_may_ask_columns_that_are_not_in_the_answer(match: str, engine: str):
    question = asked(match=match, valid=small.clear_or_few_clouds, record_columns=("serial",))
    check.assert_same(query(question).collect(engine=engine), reference(question))
    few = query(question).select("red").collect(engine=engine)
    assert few["red"].to_list() == reference(question)["red"].to_list()
    limited = asked(match=match, valid=small.below_limit, record_columns=())
    got = query(limited).select("point", "temp").collect(engine=engine)
    assert got.rows() == reference(limited).select("point", "temp").rows()


def test_a_record_filter_before_the_verb_is_the_way_to_restrict_the_choice(engine: str):
    question = asked(match="latest", valid=small.clear)
    got = query(question, WORLD.collection.filter(pl.col("serial") != 2)).collect(engine=engine)
    check.assert_same(got, reference(question, [one for one in WORLD.eager if one.columns["serial"] != 2]))


def test_the_order_of_the_collection_breaks_the_last_ties(engine: str):
    question = asked(match="latest", record_columns=("id", "serial"))
    lf = WORLD.collection.with_columns(datetime=pl.lit(small.day(1)), id=pl.lit("same")).drop(
        "start_datetime", "end_datetime"
    )
    same = [
        eager.Record({"id": "same", "datetime": small.day(1), "serial": one.columns["serial"]}, one.planes)
        for one in WORLD.eager
    ]
    check.assert_same(query(question, lf).collect(engine=engine), reference(question, same))
    backwards = query(question, lf.reverse()).collect(engine=engine)
    check.assert_same(backwards, reference(question, same[::-1]))
    assert backwards["serial"].to_list() != reference(question, same)["serial"].to_list()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nearest_without_at": ({"match": "nearest"}, "at"),
    "tolerance_without_at": ({"match": "latest", "tolerance": "2d"}, "at"),
    "naive_at": ({"match": "latest", "at": pl.col("visited").dt.replace_time_zone(None)}, "replace_time_zone"),
    "at_is_text": ({"match": "latest", "at": pl.lit("2024-05-01")}, "at"),
    "at_is_unknown": ({"match": "latest", "at": "nowhere"}, "nowhere"),
    "tolerance_is_no_duration": ({"match": "nearest", "at": "visited", "tolerance": "soon"}, "soon"),
    "match_is_unknown": ({"match": "newest"}, "newest"),
    "valid_names_nothing_known": ({"valid": pl.col("cloudiness") < 3}, "cloudiness"),
    "valid_is_no_boolean": ({"valid": pl.col("red") + 1}, "valid"),
    "distance_is_negative": ({"max_distance_pixels": -1}, "max_distance_pixels"),
    "grid_is_unknown": ({"valid": pl.col("red") > 1, "grid": "finer"}, "finer"),
    "unmatched_is_unknown": ({"unmatched": "keep"}, "keep"),
    "neighbourhood_is_unknown": ({"return_neighbourhood": "sometimes"}, "sometimes"),
    "method_is_unknown": ({"method": "lanczos"}, "lanczos"),
    "layout_is_unknown": ({"layout": "tall"}, "tall"),
}


def _raised(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


@pytest.mark.parametrize(("words", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_word_is_refused_by_name_before_any_pixel(words: dict[str, Any], named: str):
    error = _raised(
        lambda: WORLD.collection.raster.sample_points(
            WORLD.caller, ["red", "temp"], **{"x": "x", "y": "y", "crs": 32632, **words}
        ).collect_schema()
    )
    assert isinstance(error, pr.errors.UsageError | pl.exceptions.ColumnNotFoundError), repr(error)
    assert named in str(error)


@pytest.mark.parametrize("words", [{}, {"match": "latest"}, {"max_distance_pixels": 2}, {"method": "bilinear"}])
def test_right_and_lower_edges_are_outside(words: dict[str, Any], engine: str):
    """The example scenes are 64 pixels of 10 m each way from (500000, 5000000)."""
    inside = [(0, 0), (0, 630), (630, 0), (639.5, 639.5), (320, 0)]
    outside = [(640, 0), (0, 640), (640, 640), (640, 320), (320, 640), (-0.5, 0), (0, -0.5)]
    points = pl.DataFrame(
        [(500_000.0 + x, 5_000_000.0 - y) for x, y in inside + outside], schema=["x", "y"], orient="row"
    )
    lf = pr.testing.example_scenes()
    for target in (points, points.reverse()):
        got = lf.raster.sample_points(target, ["red"], crs=32632, **words).collect(engine=engine)
        answered = got.filter(pl.col("record_id").is_not_null()).unique(["x", "y"]).height
        unanswered = got.filter(pl.col("record_id").is_null() & pl.col("red").is_null()).height
        assert (answered, unanswered) == (len(inside), len(outside))
