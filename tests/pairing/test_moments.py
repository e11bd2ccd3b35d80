"""Do `at` and `tolerance` restrict records in every verb, and reach the scan of the collection?"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.pairing.times import may_lie_in
from polars_rasteret.schema import TIME

POINTS = pl.DataFrame(
    {
        "n": [0, 1, 2, 3],
        "x": [500_005.0] * 4,
        "y": [4_999_995.0] * 4,
        "seen": [dt.date(2024, 5, 1), dt.date(2024, 5, 28), None, dt.date(2024, 4, 30)],
    }
)
"""`example_scenes` were taken on 2024-05-01 and 2024-06-01, at 10:00."""


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    [
        ("0d", [(0, "first")]),
        ("10h", [(0, "first")]),
        ("10h1us", [(0, "first"), (3, "first")]),
        ("4d", [(0, "first"), (1, "second"), (3, "first")]),
        ("1mo", [(0, "first"), (0, "second"), (1, "first"), (1, "second"), (3, "first")]),
    ],
)
@pytest.mark.parametrize("verb", ["pair", "sample_points", "read_windows"])
def test_records_within_the_tolerance_answer(verb, tolerance, expected, engine):
    words = {} if verb == "pair" else {"bands": ["red"]}
    scenes = pr.testing.example_scenes()
    query = getattr(scenes.raster, verb)(POINTS, crs=32632, at="seen", tolerance=tolerance, unmatched="drop", **words)
    assert query.select("n", "record_id").collect(engine=engine).rows() == expected


def test_a_moment_with_a_zone_is_an_instant(engine):
    local = (
        pl.col("seen").cast(pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo")
    )  # midnight there, 15:00 UTC before
    query = pr.testing.example_scenes().raster.sample_points(
        POINTS, ["red"], crs=32632, match="latest", at=local + pl.duration(hours=19), record_columns="id"
    )
    assert query.collect(engine=engine)["record_id"].to_list() == ["first", "first", None, None]


def test_the_scan_leaves_out_what_cannot_lie_in_the_period_and_nothing_else():
    day = [dt.datetime(2024, 5, one, tzinfo=dt.UTC) for one in range(1, 6)]
    frame = pl.DataFrame(
        {
            "id": ["early", "from", "until", "late", "span", "none"],
            "datetime": [day[0], day[1], day[3], day[4], day[0], None],
            "start_datetime": [None, None, None, None, day[0], None],
            "end_datetime": [None, None, None, None, day[4], None],
        },
        schema_overrides=dict.fromkeys(("datetime", "start_datetime", "end_datetime"), TIME),
    )
    first, last = (int(one.timestamp() * 1e6) for one in (day[1], day[3]))
    kept = may_lie_in(frame.schema, first, last)
    assert frame.filter(kept)["id"].to_list() == ["from", "until", "span"]
    assert frame.filter(may_lie_in(frame.schema, None, last))["id"].to_list() == ["early", "from", "until", "span"]
    assert may_lie_in(frame.schema, None, None) is None
    assert may_lie_in({"id": pl.String()}, first, last) is None
