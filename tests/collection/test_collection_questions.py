"""Do the questions give exactly the records that a geometry library and a clock would give?"""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from polars_rasteret.collection.queries.describe import describe
from polars_rasteret.collection.queries.extent import bands, bounds, crs, with_places
from polars_rasteret.collection.queries.periods import period_of
from polars_rasteret.collection.queries.spatial import intersects
from polars_rasteret.collection.queries.subset import subset
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.writing.sink import sink_collection
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import example_scenes
from tests.support.collection_frames import grid_of_scenes, raster_column
from tests.support.object_server import ObjectServer

SCENES = with_places(grid_of_scenes())
"""1 x 1 degree at every 10 degrees; the western column lies at -180..-179, the eastern at 170..171."""


def ids(frame: pl.LazyFrame) -> list[str]:
    return sorted(frame.select("id").collect().to_series())


def expected_ids(shape: shapely.Geometry) -> list[str]:
    hit = shapely.intersects(shape, shapely.from_wkb(SCENES["geometry"].to_list()))
    return sorted(SCENES.filter(pl.Series(hit))["id"])


WITHOUT = {
    "all": SCENES.lazy(),
    "no bbox": SCENES.lazy().drop("bbox"),
    "no geometry": SCENES.lazy().drop("geometry"),
    "only rasters": SCENES.lazy().select("id", "red"),
}


@pytest.mark.parametrize("kind", WITHOUT)
@pytest.mark.parametrize(
    "box", [(-5, -5, 25, 25), (0.5, 0.5, 0.6, 20), (170.5, -90, 179, 90), (-180, -90, 180, 90), (1, 1, 2, 2)]
)
def test_a_box_finds_the_records_it_meets(kind, box):
    assert ids(intersects(WITHOUT[kind], box)) == expected_ids(shapely.box(*box))


@pytest.mark.parametrize("kind", WITHOUT)
@pytest.mark.parametrize("box", [(165, -20, -175, 20), (165, -20, 185, 20), (-195, -20, -175, 20)])
def test_a_box_across_the_antimeridian_finds_both_sides(kind, box):
    both = shapely.union(shapely.box(165, -20, 180, 20), shapely.box(-180, -20, -175, 20))
    assert ids(intersects(WITHOUT[kind], box)) == expected_ids(both) != []


@pytest.mark.parametrize("box", [(-179.9, 0, -179.8, 1), (179.8, 0, 179.9, 1), (175, 0, -175, 1), (100, 0, 179.9, 1)])
@pytest.mark.parametrize("far", [(-179.5, 0, -179.4, 1), (179, 0, 179.4, 1), (0, 0, 10, 1)])
def test_a_record_across_the_antimeridian_is_found_from_both_sides(box, far):
    frame = with_places(pl.DataFrame({"id": ["x"], "red": raster_column("red", [(179.5, 1.0)])}))
    assert frame["bbox"][0] == pytest.approx({"xmin": 179.5, "ymin": 0.0, "xmax": -179.5, "ymax": 1.0})
    for lf in (frame.lazy(), frame.lazy().drop("bbox"), frame.lazy().select("id", "red")):
        assert ids(intersects(lf, box)) == ["x"]
        assert ids(intersects(lf, far)) == (["x"] if far == (-179.5, 0, -179.4, 1) else [])
    assert bounds(frame.lazy()) == pytest.approx((179.5, 0, -179.5, 1))


def test_the_footprint_decides_and_not_its_box():
    # A 45 degree strip: its box meets many records that it does not.
    strip = shapely.buffer(shapely.LineString([(-60, -60), (60, 60)]), 1)
    found = ids(intersects(SCENES.lazy(), strip))
    assert found == expected_ids(strip)
    assert len(found) < len(ids(intersects(SCENES.lazy(), shapely.bounds(strip).tolist())))


@pytest.mark.parametrize(
    "form",
    [
        lambda g: g,
        shapely.to_wkb,
        shapely.to_wkt,
        lambda g: g.__geo_interface__,
        lambda g: {"type": "Feature", "geometry": g.__geo_interface__},
    ],
)
def test_geometries_of_every_form_are_taken(form):
    triangle = shapely.Polygon([(-31, -31), (41, -31), (0, 42)])
    assert ids(intersects(SCENES.lazy(), form(triangle))) == expected_ids(triangle)


def test_points_and_lines_are_geometries_too():
    assert ids(intersects(SCENES.lazy(), shapely.Point(0.5, -0.5))) == expected_ids(shapely.Point(0.5, -0.5)) != []
    assert ids(intersects(SCENES.lazy(), (0.5, -0.5, 0.5, -0.5))) == expected_ids(shapely.Point(0.5, -0.5))


@pytest.mark.parametrize("code", [32632, "EPSG:3857", 3413])
def test_another_crs_is_transformed_with_its_edges(code):
    forward = Transformer.from_crs("OGC:CRS84", code, always_xy=True)
    x, y = forward.transform([0.5, 22, 14], [39.5, 45, 62])
    triangle = shapely.Polygon(list(zip(x, y, strict=True)))
    dense = shapely.segmentize(triangle, triangle.length / 2000)
    back = Transformer.from_crs(code, "OGC:CRS84", always_xy=True)
    expected = shapely.transform(dense, lambda xy: np.stack(back.transform(xy[:, 0], xy[:, 1]), axis=1))
    assert ids(intersects(SCENES.lazy(), triangle, crs=code)) == expected_ids(expected) != []
    box = triangle.bounds
    dense = shapely.segmentize(shapely.box(*box), (box[2] - box[0]) / 500)
    expected = shapely.transform(dense, lambda xy: np.stack(back.transform(xy[:, 0], xy[:, 1]), axis=1))
    assert ids(intersects(SCENES.lazy(), box, crs=code)) == expected_ids(expected)


def test_a_projected_box_over_the_antimeridian_finds_both_sides():
    forward = Transformer.from_crs("OGC:CRS84", 3832, always_xy=True)  # Pacific Mercator, centred on 150 E
    x, y = forward.transform([165, 185], [-20, 20])
    both = shapely.union(shapely.box(165, -20, 180, 20), shapely.box(-180, -20, -175, 20))
    assert ids(intersects(SCENES.lazy(), (x[0], y[0], x[1], y[1]), crs=3832)) == expected_ids(both)
    assert ids(intersects(SCENES.lazy(), shapely.box(x[0], y[0], x[1], y[1]), crs=3832)) == expected_ids(both)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 359), st.floats(0, 90))
def test_any_box_finds_what_shapely_finds(west, south, width, height):
    east, north = west + width, min(south + height, 90)
    shape = shapely.box(west, south, east, north)
    turned = [shapely.transform(shape, lambda xy, turn=turn: xy - [turn, 0]) for turn in (0, 360)]
    found = ids(intersects(SCENES.lazy(), (west, south, east if east <= 180 else east - 360, north)))
    hit = np.zeros(SCENES.height, dtype=bool)
    sure = np.zeros(SCENES.height, dtype=bool)
    footprints = shapely.from_wkb(SCENES["geometry"].to_list())
    for one in turned:
        hit |= shapely.intersects(one.buffer(1e-7), footprints)
        sure |= shapely.intersects(one.buffer(-1e-7), footprints)
    assert set(SCENES.filter(pl.Series(sure))["id"]) <= set(found) <= set(SCENES.filter(pl.Series(hit))["id"])


@pytest.mark.parametrize(
    "value",
    [
        (1, 2, 3),
        (1, 2, 3, "x"),
        (0, 5, 1, 2),
        (500_000, 5_000_000, 510_000, 5_010_000),
        5,
        "no wkt",
        shapely.Polygon(),
        (0, 0, float("nan"), 1),
    ],
)
def test_what_is_no_place_is_a_usage_error(value):
    with pytest.raises(UsageError):
        intersects(SCENES.lazy(), value)


def test_the_bbox_part_lands_in_the_scan_and_the_query_stays_lazy_and_can_be_pickled(tmp_path):
    sink_collection(SCENES, tmp_path / "a.parquet", row_group_size=16)
    query = intersects(scan_collection(tmp_path / "a.parquet"), (-5, -5, 25, 25))
    plan = query.select("id").explain()
    assert "xmin" in plan.split("SELECTION", 1)[1]
    assert ids(pickle.loads(pickle.dumps(query))) == ids(query)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_row_groups_elsewhere_are_not_fetched(tmp_path, engine):
    frame = SCENES.with_columns(noise=pl.Series([np.random.default_rng(n).bytes(3000) for n in range(SCENES.height)]))
    sink_collection(frame, tmp_path / "b.parquet", row_group_size=16)
    with ObjectServer() as server:
        server.files["bucket/b.parquet"] = (tmp_path / "b.parquet").read_bytes()
        scan = scan_collection(f"{server.origin}/bucket/b.parquet")

        def bytes_of(query):
            query.collect(engine=engine)  # the footer is remembered by Polars
            server.clear()
            found = query.collect(engine=engine)
            return found.height, server.n_bytes

        n_all, everything = bytes_of(scan.select("id", "noise"))
        assert n_all == SCENES.height
        n_some, some = bytes_of(intersects(scan, (-5, -5, 25, 25)).select("id", "noise"))
        assert 0 < n_some < 20
        assert some < everything / 4
        n_east, east = bytes_of(intersects(scan, (165, -20, -175, 20)).select("id", "noise"))
        assert 0 < n_east < 20
        assert east < everything / 3
        n_time, _ = bytes_of(subset(scan, datetime="2020-01-05").select("id", "noise"))
        assert n_time == 1


def day(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("given", "first", "last"),
    [
        ("2020-02", "2020-02-01", "2020-02-29"),
        ("2020", "2020-01-01", "2020-12-31"),
        ("2020-12", "2020-12-01", "2020-12-31"),
        ("2020-03-05", "2020-03-05", "2020-03-05"),
        ("2020-03-05/2020-03-09", "2020-03-05", "2020-03-09"),
        (("2020-03-05", "2020-04"), "2020-03-05", "2020-04-30"),
        ((dt.date(2020, 3, 5), dt.date(2020, 3, 9)), "2020-03-05", "2020-03-09"),
        (dt.date(2020, 3, 5), "2020-03-05", "2020-03-05"),
        ("2020-03-05T00:00:00Z/2020-03-09T00:00:00Z", "2020-03-05", "2020-03-09"),
        ((day("2020-03-05"), day("2020-03-09")), "2020-03-05", "2020-03-09"),
        ("2020-03-05T12:00:00Z/2020-03-09T12:00:00Z", "2020-03-06", "2020-03-09"),
        ("2021-06-01/..", "2021-06-01", "2099-01-01"),
        ((None, "2020-01-03"), "1999-01-01", "2020-01-03"),
        (["2020-03-05", "2020-03-06"], "2020-03-05", "2020-03-06"),
    ],
)
def test_periods_hold_their_last_day(given, first, last):
    expected = sorted(SCENES.filter(pl.col("datetime").is_between(day(first), day(last)))["id"])
    assert expected
    assert ids(subset(SCENES.lazy(), datetime=given)) == expected


@pytest.mark.parametrize("time", ["2020-01-31T23:59:59.999999", "2020-01-01T00:00:00"])
def test_the_end_day_counts_to_its_last_moment(time):
    frame = SCENES.head(1).with_columns(datetime=pl.lit(day(time)))
    assert subset(frame.lazy(), datetime="2020-01-01/2020-01-31").collect().height == 1
    assert subset(frame.lazy(), datetime="2020-02-01/2020-02-28").collect().height == 0


@pytest.mark.parametrize(
    "given",
    [
        "soon",
        "2020-13",
        "2020-02-30",
        "2020/2021/2022",
        (1, 2, 3),
        dt.datetime(2020, 1, 1),
        "2020-01-01T00:00:00",
        "2021/2020",
        "..",
        (None, None),
        2.5,
    ],
)
def test_what_is_no_period_is_a_usage_error(given):
    with pytest.raises(UsageError, match="datetime is"):
        subset(SCENES.lazy(), datetime=given)


def test_records_with_an_interval_are_selected_by_overlap():
    frame = SCENES.head(4).with_columns(
        datetime=pl.Series([None, day("2020-06-01"), day("2020-06-01"), None], dtype=pl.Datetime("us", "UTC")),
        start_datetime=pl.Series([day("2020-01-01"), None, day("2020-01-01"), None], dtype=pl.Datetime("us", "UTC")),
        end_datetime=pl.Series(
            [day("2020-12-31"), day("2020-12-31"), day("2020-02-01"), None], dtype=pl.Datetime("us", "UTC")
        ),
        id=pl.Series(["year", "instant", "winter", "never"]),
    )
    assert ids(subset(frame.lazy(), datetime="2020-06")) == ["instant", "year"]
    assert ids(subset(frame.lazy(), datetime="2020-02-01")) == ["winter", "year"]
    assert ids(subset(frame.lazy(), datetime="2020-01")) == ["winter", "year"]
    assert ids(subset(frame.lazy(), datetime="2019")) == []


def test_hive_folders_of_other_months_are_not_opened(tmp_path):
    sink_collection(SCENES, tmp_path / "c", partition_by=["year", "month"])
    lf = scan_collection(tmp_path / "c")
    for words in ("2020-03", "2020-03-15/2020-04-10", "2020-12-31/2021-01-01", "2021-02/..", "2021", "../2020-02-10"):
        query = subset(lf, datetime=words)
        assert ids(query) == ids(subset(SCENES.lazy(), datetime=words))
    plan = subset(lf, datetime="2020-03").select("id").explain()
    assert "month=3" in plan
    assert "other sources" not in plan


def test_hive_folders_do_not_hide_records_with_an_interval(tmp_path):
    frame = SCENES.head(2).with_columns(
        datetime=pl.lit(day("2020-01-01")),
        start_datetime=pl.Series([day("2020-01-01"), None]),
        end_datetime=pl.Series([day("2020-12-31"), None]),
    )
    sink_collection(frame, tmp_path / "c", partition_by=["year", "month"])
    assert subset(scan_collection(tmp_path / "c"), datetime="2020-09").collect().height == 1


def test_cloud_cover_and_split_and_all_words_together():
    frame = SCENES.with_columns(split=pl.Series(["train", "val", "test", None] * (SCENES.height // 4)))
    lf = frame.lazy()
    assert ids(subset(lf, cloud_cover_lt=5)) == sorted(frame.filter(pl.col("eo:cloud_cover") < 5)["id"])
    assert ids(subset(lf, split="val")) == sorted(frame.filter(pl.col("split") == "val")["id"])
    assert ids(subset(lf, split=["val", "test"])) == sorted(frame.filter(pl.col("split").is_in(["val", "test"]))["id"])
    assert ids(subset(lf.rename({"split": "fold"}), split="val", split_column="fold")) == ids(subset(lf, split="val"))
    together = subset(lf, bbox=(-180, 0, 180, 90), datetime="2020", cloud_cover_lt=50, split="train")
    each = [
        subset(lf, bbox=(-180, 0, 180, 90)),
        subset(lf, datetime="2020"),
        subset(lf, cloud_cover_lt=50),
        subset(lf, split="train"),
    ]
    assert set(ids(together)) == set.intersection(*(set(ids(one)) for one in each)) != set()


def test_many_geometries_are_one_test(tmp_path):
    rng = np.random.default_rng(3)
    points = shapely.points(rng.uniform(-180, 180, 20_000), rng.uniform(-80, 80, 20_000))
    expected = expected_ids(shapely.multipoints(points))
    assert ids(subset(SCENES.lazy(), geometries=list(points))) == expected != []
    assert ids(subset(SCENES.lazy(), geometries=shapely.to_wkb(points).tolist())) == expected
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(geometry=points, crs="OGC:CRS84")
    assert ids(subset(SCENES.lazy(), geometries=frame)) == expected
    box = geopandas.GeoSeries([shapely.box(-5, 10, 25, 25)], crs=4326)
    assert ids(subset(SCENES.lazy(), geometries=box.to_crs(3857))) == expected_ids(shapely.box(-5, 10, 25, 25))
    assert ids(subset(SCENES.lazy(), geometries=shapely.box(-5, 10, 25, 25))) == expected_ids(
        shapely.box(-5, 10, 25, 25)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "without a filter"),
        ({"cloud_cover_lt": "5"}, "percent"),
        ({"split": "train"}, "no column 'split'"),
        ({"geometries": []}, "no geometry"),
        ({"geometries": 5}, "geometries"),
        ({"bbox": (1, 2)}, "four numbers"),
    ],
)
def test_wrong_filter_words_are_usage_errors(words, message):
    with pytest.raises(UsageError, match=message):
        subset(SCENES.lazy(), **words)


@pytest.mark.parametrize("kind", WITHOUT)
def test_bounds_are_those_of_all_records(kind):
    assert bounds(WITHOUT[kind]) == pytest.approx((-180, -71, 171, 80))
    with pytest.raises(UsageError, match="has a place"):
        bounds(WITHOUT[kind].head(0))


def test_bounds_cross_the_antimeridian_only_when_a_record_does():
    origins = [(179.5, 1.0), (170.0, 5.0), (-175.0, 3.0)]
    frame = pl.DataFrame({"id": list("abc"), "red": raster_column("red", origins)}).lazy()
    assert bounds(frame) == pytest.approx((170, 0, -174, 5))
    assert bounds(frame.filter(pl.col("id") != "a")) == pytest.approx((-175, 2, 171, 5))


def test_bands_and_crs_are_those_of_the_rasters():
    frame = SCENES.head(3).with_columns(nir=raster_column("nir", [(0.0, 0.0), None, (0.0, 0.0)], crs="EPSG:32632"))
    assert bands(frame.lazy()) == ["red", "nir"]
    assert crs(frame.lazy()) == ["EPSG:32632", "EPSG:4326"]
    coded = frame.with_columns(pl.Series("proj:code", ["EPSG:4326", None, "EPSG:3857"]))
    assert crs(coded.lazy()) == ["EPSG:3857", "EPSG:4326"]


def test_a_description_prints_as_a_table_and_renders_as_html():
    frame = SCENES.with_columns(nir=pl.lit(None, dtype=SCENES.schema["red"]), header_error=pl.lit("nir: <b>bad</b>"))
    told = describe(frame.lazy())
    assert told.n_records == SCENES.height
    assert told.bounds == pytest.approx((-180, -71, 171, 80))
    assert told.n_missing == {"red": 0, "nir": SCENES.height}
    text = str(told)
    assert "576" in text
    assert "2020-01-01 to 2021-07-29" in text
    assert "EPSG:4326" in text
    assert "UInt8" in text
    assert "<table>" in told._repr_html_()
    assert describe(frame.lazy().select("id", "red")).bounds == pytest.approx((-180, -71, 171, 80))
    assert describe(frame.lazy().head(0)).n_records == 0


def test_a_period_says_where_it_ends():
    assert period_of("2020-01").stop == day("2020-02-01")
    assert not period_of("2020-01").closed
    assert period_of("2020-01-01T05:00:00+01:00").start == day("2020-01-01T04:00:00")


def test_a_collection_of_places_that_are_none_is_described():
    nowhere = example_scenes().with_columns(geometry=pl.lit(shapely.to_wkb(shapely.Point()))).drop("bbox")
    assert describe(nowhere).bounds is None
