"""Are wrong arguments refused in words, before anything is read?"""

from __future__ import annotations

import datetime as dt
import os
from concurrent.futures import ThreadPoolExecutor

import geopandas as gpd
import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.options import current_options

POINT = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})


@pytest.fixture
def scenes():
    return pr.testing.example_scenes()


@pytest.mark.parametrize("nodata", [5.5, -1, 70_000, float("nan")])
def test_nodata_that_no_pixel_can_have_is_refused(scenes, nodata):
    with pytest.raises(UsageError, match="does not fit"):
        scenes.with_columns(pl.col("red").raster.with_metadata(nodata=nodata)).collect()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"tolerance": "1d"}, "needs at="),
        ({"match": "nearest"}, "needs at="),
        ({"at": pl.col("t")}, "not found"),
        ({"at": "x"}, "expected a Date"),
        ({"at": dt.datetime(2024, 5, 1)}, "replace_time_zone"),
        ({"at": 5}, "expected a column"),
        ({"at": dt.date(2024, 5, 1), "tolerance": "-1d"}, "zero or more"),
        ({"at": dt.date(2024, 5, 1), "tolerance": "soon"}, "a duration"),
        ({"match": "newest"}, "expected one of"),
        ({"valid": True}, "expected a Polars expression"),
        ({"valid": pl.col("SCL") == 4}, "no band"),
        ({"valid": pl.col("red") + 1}, "expected one Boolean"),
        ({"max_distance_pixels": -1}, "whole number"),
        ({"max_distance_pixels": 1.5}, "whole number"),
        ({"method": "bilinear", "max_distance_pixels": 1}, "method='nearest'"),
        ({"grid": "B99"}, "grid="),
        ({"resampling": "cubic"}, "method="),
        ({"layout": "long", "record_columns": "all"}, "record_columns"),
    ],
)
def test_words_that_do_not_fit_are_refused_when_written(scenes, words, said):
    with pytest.raises(UsageError, match=said):
        scenes.raster.sample_points(POINT, crs=32632, **words)


def test_long_columns_do_not_overwrite_the_callers(scenes):
    with pytest.raises(UsageError, match="value"):
        scenes.raster.sample_points(POINT.with_columns(value=1), crs=32632, layout="long")


@pytest.mark.parametrize("fill", ["x", True])
def test_a_fill_that_is_no_number_is_refused(scenes, fill):
    with pytest.raises(UsageError, match="fill_value"):
        scenes.raster.read_windows(POINT, shape=(3, 3), crs=32632, fill_value=fill)


def test_a_fill_beyond_the_pixel_dtype_is_refused(scenes):
    with pytest.raises(UsageError, match="does not fit"):
        scenes.raster.read_windows(POINT, shape=(3, 3), crs=32632, fill_value=70_000).collect()


def test_numpy_numbers_are_numbers(scenes):
    window = tuple(np.array([0, 2, 0, 2]))
    chip = scenes.select(pl.col("red").raster.read_window(window=window)).unnest("red").collect()
    assert chip["pixels"][0].to_list() == [1000, 1001, 1064, 1065]
    assert scenes.raster.read_windows(POINT, shape=(np.int64(1), np.int64(1)), crs=32632).collect().height == 2


@pytest.mark.parametrize(
    "change", [{"timeout_s": "x"}, {"timeout_s": None}, {"budget_bytes": 1.5}, {"progress": "x"}, {"retries": -1}]
)
def test_options_of_another_kind_are_refused(change):
    with pytest.raises(UsageError):
        pr.options(**change)


def test_a_geoseries_is_taken_with_its_crs(scenes):
    points = gpd.GeoSeries([shapely.Point(500_005, 4_999_995)], crs=32632)
    assert scenes.raster.sample_points(points, ["red"]).collect()["red"].to_list() == [1000, 2000]


def test_a_geodataframe_keeps_its_crs_in_intersects(scenes):
    box = gpd.GeoDataFrame(geometry=[shapely.box(500_000, 4_999_900, 500_100, 5_000_000)], crs=32632)
    assert scenes.raster.intersects(box).collect().height == 2
    with pytest.raises(UsageError, match="pass its crs"):
        scenes.raster.intersects(box.geometry.iloc[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_instead_of_hanging(scenes):
    scenes.raster.sample_points(POINT, ["red"], crs=32632).collect()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            scenes.raster.sample_points(POINT, ["red"], crs=32632)
        except UsageError as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_options_of_threads_do_not_leak_into_the_process():
    before = current_options()

    def set_and_leave(number):
        for _ in range(200):
            with pr.options(
                on_error="null" if number % 2 else "raise", timeout_s=1 + number, cache_bytes=1000 + number
            ):
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(set_and_leave, range(4)))
    assert current_options() == before


def test_options_set_for_good_hold_until_they_are_set_again():
    before = current_options().retries
    pr.options(retries=before + 1)
    try:
        with pr.options(retries=9):
            assert current_options().retries == 9
        assert current_options().retries == before + 1
    finally:
        pr.options(retries=before)
    assert current_options().retries == before


@pytest.mark.parametrize("lon", [243.6, -116.4])
def test_a_grid_from_0_to_360_is_found_from_either_longitude(lon):
    pixels = np.arange(80 * 100, dtype=np.uint16).reshape(80, 100)
    cog = pr.testing.make_cog(pixels, epsg=4326, transform=(3.6, 0, 0, 0, -2.25, 90))
    pr.configure_store("memory://globe/", store=pr.testing.MemorySource({"memory://globe/a.tif": cog}))
    globe = pr.build_from_files(["memory://globe/a.tif"], bands=["v"])
    place = pl.DataFrame({"lon": [lon], "lat": [33.0]})
    wanted = pixels[int((90 - 33.0) // 2.25), int(243.6 // 3.6)]
    assert globe.raster.sample_points(place, crs=4326).collect()["v"].to_list() == [wanted]
    assert globe.select(pl.col("v").raster.sample_points(lon, 33.0, crs=4326)).collect()["v"].to_list() == [wanted]


def test_columns_in_units_refuse_to_look_at_other_rows(scenes):
    with pytest.raises(UsageError, match="other rows"):
        scenes.raster.with_columns(first=pl.col("id").shift())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.filterwarnings("ignore:build_from_files. none")
def test_a_pipe_is_a_header_error_and_no_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    built = pr.build_from_files([tmp_path / "pipe.tif"]).collect()
    assert "not a regular file" in built["header_error"][0]
