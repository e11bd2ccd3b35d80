"""Are arguments taken in the forms in which a Polars user writes them?"""

from __future__ import annotations

import datetime as dt

import polars as pl
import polars.selectors as cs
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import AnswerTooLargeError, UsageError

FRAME = pl.DataFrame(
    {
        "n": [0, 1],
        "east": [500_005.0, 500_015.0],
        "north": [4_999_995.0, 4_999_985.0],
        "where": [shapely.to_wkb(shapely.Point(500_005, 4_999_995)), shapely.to_wkb(shapely.Point(500_015, 4_999_985))],
    }
)
RED = [1000, 2000, 1065, 2065]


@pytest.fixture(scope="module")
def scenes():
    return pr.testing.example_scenes()


@pytest.mark.parametrize(
    "words",
    [
        {"x": "east", "y": "north"},
        {"x": pl.col("east"), "y": pl.col("north")},
        {"x": cs.by_name("east"), "y": cs.starts_with("nor")},
        {"x": cs.contains("east"), "y": pl.col("north") + 0},
        {"x": pl.col("east").max() - 10 + pl.col("n") * 10, "y": "north"},
        {"geometry": pl.col("where")},
        {"geometry": cs.binary()},
        {"geometry": pl.coalesce(pl.col("where"), pl.col("where"))},
    ],
)
def test_coordinates_are_names_columns_selectors_or_expressions(scenes, words, engine):
    got = scenes.raster.sample_points(FRAME, ["red"], crs=32632, **words)
    assert got.collect_schema().names() == [*FRAME.columns, "record_id", "datetime", "red"]
    assert got.collect(engine=engine)["red"].to_list() == RED
    assert got.filter(pl.col("n") == 1).collect(engine=engine)["red"].to_list() == RED[2:]
    assert got.head(2).collect(engine=engine)["red"].to_list() == RED[:2]
    chips = scenes.raster.read_windows(FRAME, ["red"], crs=32632, shape=(1, 1), **words).collect(engine=engine)
    assert chips["red"].to_list() == [[[one]] for one in RED]
    assert scenes.raster.pair(FRAME, crs=32632, **words).select("n").collect(engine=engine)["n"].to_list() == [
        0,
        0,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"x": cs.float(), "y": "north"}, "expected one"),
        ({"x": pl.col("nowhere"), "y": "north"}, "points: x="),
        ({"x": 5, "y": "north"}, "the name of a column, or an expression"),
        ({"x": pl.col("east") + 1}, "only one of x and y"),
    ],
)
def test_other_coordinates_are_refused_in_words_of_points(scenes, words, said):
    with pytest.raises(UsageError, match=said) as told:
        scenes.raster.sample_points(FRAME, ["red"], crs=32632, **words)
    assert not any(word in str(told.value) for word in ("target", "area", "Resolved plan", "\0"))


@pytest.mark.parametrize("what", [5, "x", None])
def test_points_are_called_points(scenes, what):
    with pytest.raises(UsageError, match="sample_points: points is") as told:
        scenes.raster.sample_points(what, ["red"], crs=32632)
    assert "target" not in str(told.value)
    with pytest.raises(UsageError, match=r"sample_points: points: the CRS"):
        scenes.raster.sample_points(FRAME, ["red"], x="east", y="north")
    with pytest.raises(UsageError, match="read_windows: aois is"):
        scenes.raster.read_windows(what, ["red"], crs=32632)


def test_record_columns_may_be_renamed(scenes, engine):
    words = {"x": "east", "y": "north", "crs": 32632}
    got = scenes.raster.sample_points(
        FRAME, ["red"], record_columns={"datetime": "scene_time", "id": "scene", "proj:code": "n"}, **words
    )
    assert got.collect_schema().names() == [*FRAME.columns, "scene_time", "scene", "n_right", "red"]
    frame = got.filter(pl.col("scene") == "second", pl.col("scene_time").dt.month() == 6).collect(engine=engine)
    assert frame["red"].to_list() == RED[1::2]
    assert frame["n_right"].to_list() == ["EPSG:32632"] * 2
    clear = scenes.raster.sample_points(
        FRAME, ["red"], record_columns={"datetime": "scene_time"}, valid=pl.col("scene_time").dt.month() == 5, **words
    )
    assert clear.collect(engine=engine)["red"].to_list() == [1000, None, 1065, None]
    for wrong in ({"datetime": "a", "id": "a"}, {"datetime": 5}, {"nowhere": "a"}):
        with pytest.raises(UsageError, match="record_columns"):
            scenes.raster.sample_points(FRAME, ["red"], record_columns=wrong, **words)


@pytest.mark.parametrize("days", [0, 1, 13.5, 31, 40])
def test_a_tolerance_may_be_a_timedelta(scenes, days, engine):
    moment = dt.datetime(2024, 5, 2, 10, tzinfo=dt.UTC)
    words = {"x": "east", "y": "north", "crs": 32632, "at": moment}
    got = scenes.raster.sample_points(FRAME, ["red"], tolerance=dt.timedelta(days=days), **words)
    expected = scenes.raster.sample_points(FRAME, ["red"], tolerance=f"{int(days * 24)}h", **words)
    assert got.collect(engine=engine).equals(expected.collect(engine=engine))
    with pytest.raises(UsageError, match="zero or more"):
        scenes.raster.sample_points(FRAME, ["red"], tolerance=-dt.timedelta(hours=1), **words)


def errors_of(query, engine):
    with pytest.raises(AnswerTooLargeError) as told:
        query.collect(engine=engine)
    return str(told.value)


WINDOW = {"window": (0, 64, 0, 64)}


@pytest.mark.parametrize("shape", [None, (64, 64), (96, 96)])
def test_one_row_that_is_too_large_says_so_in_every_face(scenes, engine, shape):
    one = scenes.head(1)
    point = FRAME.head(1)
    with pr.options(max_answer_bytes=5_000):
        read = pl.col("red").raster.read_window(**WINDOW, shape=shape)
        asked = [one.raster.with_columns(chip=read), one.with_columns(chip=read)]
        asked.append(one.raster.read_windows(point, ["red"], x="east", y="north", crs=32632, shape=shape or (64, 64)))
        for query in asked:
            told = errors_of(query, engine)
            assert "a single row" in told
            assert "raster.with_columns" not in told
        assert "occurred in" not in errors_of(asked[0], engine)
        several = scenes.with_columns(chip=read)
        if engine == "in-memory":
            assert "lf.raster.with_columns" in errors_of(several, engine)


@pytest.mark.parametrize("shape", [None, (64, 64), (96, 96)])
def test_rows_that_fit_one_by_one_are_read_whatever_was_guessed(scenes, engine, shape):
    read = pl.col("red").raster.read_window(**WINDOW, shape=shape)
    expected = scenes.with_columns(chip=read).select("id", "chip").collect(engine=engine)
    with pr.options(max_answer_bytes=30_000):  # one window with what is in hand for it, not two
        got = scenes.raster.with_columns(chip=read).select("id", "chip").collect(engine=engine)
    assert got.equals(expected)


def test_windows_that_grow_are_read_in_smaller_units(scenes, engine):
    frame = (
        pl.concat([scenes] * 20).with_row_index("n").with_columns(stop=pl.when(pl.col("n") < 30).then(2).otherwise(64))
    )
    read = pl.col("red").raster.read_window(window=(0, pl.col("stop"), 0, pl.col("stop")))
    expected = frame.with_columns(chip=read).select("n", "chip").collect(engine=engine)
    with pr.options(max_answer_bytes=20_000):
        got = frame.raster.with_columns(chip=read).select("n", "chip").collect(engine=engine)
    assert got.equals(expected)


def test_all_bands_are_sampled_where_none_is_named(scenes, engine):
    one = scenes.head(1)
    for bands in ({}, {"bands": None}):
        got = one.select("id", pr.sample_points(**bands, x=500_005, y=4_999_995, crs=32632)).collect(engine=engine)
        assert got.schema["pixels"] == pl.Struct({"red": pl.UInt16, "nir": pl.UInt16})
        assert got["pixels"].to_list() == [{"red": 1000, "nir": 3000}]
    stack = one.select(pr.sample_points(None, 500_005, 4_999_995, crs=32632, stack=True))
    assert stack.collect_schema()["pixels"] == pl.Array(pl.UInt16, 2)
    assert stack.collect(engine=engine)["pixels"].to_list() == [[1000, 3000]]
    scaled = one.select(pr.sample_points(None, 500_005, 4_999_995, crs=32632, unscale=True)).collect(engine=engine)
    assert scaled.schema["pixels"] == pl.Struct({"red": pl.Float64, "nir": pl.Float64})
    made = one.raster.with_columns(pr.sample_points(None, 500_005, 4_999_995, crs=32632)).collect(engine=engine)
    assert made["pixels"].to_list() == [{"red": 1000, "nir": 3000}]
    with pytest.raises(UsageError, match="x is None"):
        pr.sample_points()


@pytest.mark.parametrize("bands", [cs.by_name("red"), pl.col("red"), 5, [], ["red", 5]])
def test_bands_that_are_no_names_are_refused_in_words(scenes, bands):
    for asked in (
        lambda: pr.sample_points(bands, 500_005, 4_999_995, crs=32632),
        lambda: pr.read_window(bands, **WINDOW),
        lambda: scenes.raster.sample_points(FRAME, bands, x="east", y="north", crs=32632),
        lambda: scenes.raster.read_windows(FRAME, bands, x="east", y="north", crs=32632),
    ):
        with pytest.raises(UsageError, match="expected names of raster columns"):
            asked()


@pytest.mark.parametrize("areas", [[], (), [shapely.Point()]])
def test_intersects_needs_a_geometry(scenes, areas):
    with pytest.raises(UsageError, match=r"the list is empty|holds no geometry"):
        scenes.raster.intersects(areas)
