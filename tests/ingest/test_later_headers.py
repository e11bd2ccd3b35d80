"""Does a build that reads no header give what an eager build gives, and ask only for files that a query needs?"""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, FileFormatError, UsageError
from polars_rasteret.schema import raster_dtype
from tests.support.engines import ENGINES
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene

BANDS = {"red": "href_red", "nir": ("href_nir", 1)}


@pytest.fixture
def archive(tmp_path):
    """Three scenes in one place and one elsewhere, two files each, on a server."""
    files = {}
    for number in range(4):
        origin = (500_000.0 + 50_000 * (number == 3), 5_400_000.0)
        files[f"r{number}.tif"] = write_scene(tmp_path / f"r{number}.tif", origin=origin, scales=(0.5,), offsets=(1.0,))
        files[f"n{number}.tif"] = write_scene(
            tmp_path / f"n{number}.tif", origin=origin, count=2, dtype="int16", pixel=20
        )
    eager = pr.build_from_files([files[f"r{number}.tif"] for number in range(4)], bands=["x"]).collect()
    with RangeServer(files) as server:
        table = pl.DataFrame(
            {
                "id": [f"s{number}" for number in range(4)],
                "datetime": [f"2024-0{number + 1}-01" for number in range(4)],
                "geometry": eager["geometry"],
                "eo:cloud_cover": [5.0, 50.0, 10.0, 1.0],
                "href_red": [server.url(f"r{number}.tif") for number in range(4)],
                "href_nir": [server.url(f"n{number}.tif") if number != 2 else None for number in range(4)],
            }
        )
        yield server, table


def _later(table, **words):
    dtypes = {"red": pl.UInt16, "nir": "int16"}
    return pr.build_from_table(table, bands=BANDS, read_headers=False, **{"pixel_dtypes": dtypes, **words})


def _asked(server):
    return sorted({seen.path for seen in server.requests})


@pytest.mark.parametrize("engine", ENGINES)
def test_the_build_asks_nobody_and_its_rows_are_those_of_an_eager_build(archive, engine):
    server, table = archive
    later = _later(table)
    schema = later.collect_schema()
    plain = later.select(pl.exclude("red", "nir", "header_error")).collect()
    assert server.requests == []
    assert plain["eo:cloud_cover"].to_list() == [5.0, 50.0, 10.0, 1.0]
    assert schema["red"] == raster_dtype(pl.UInt16())
    found = later.collect(engine=engine)
    eager = pr.build_from_table(table, bands=BANDS).collect()
    # A box that was made of a footprint alone is not widened by the images; the CRS is known to headers only.
    unlike = ["indexed_at", "bbox", "proj:code", "proj:epsg"]
    assert_frame_equal(found.drop(unlike), eager.drop(unlike))
    assert found.columns == eager.columns


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_asks_for_the_headers_of_its_rows_and_bands_once(archive, engine):
    server, table = archive
    later = _later(table)
    points = pl.DataFrame({"lon": [9.001], "lat": [48.749]})
    query = later.filter(pl.col("eo:cloud_cover") < 20).raster.sample_points(points, ["red"], crs=4326)
    with pr.options(cache_bytes=0):
        found = query.collect(engine=engine)
        assert _asked(server) == ["r0.tif", "r2.tif"]  # the third is cloudy, the fourth elsewhere
        n_first = len(server.requests)
        again = query.collect(engine=engine)
    n_second = len(server.requests)
    eager = pr.build_from_table(table, bands=BANDS).filter(pl.col("eo:cloud_cover") < 20)
    assert_frame_equal(found, eager.raster.sample_points(points, ["red"], crs=4326).collect())
    assert found["red"].null_count() == 0
    assert_frame_equal(again, found)
    # Headers begin at the first byte; the second time only tiles are asked for.
    assert n_second > n_first
    assert all(seen.byte_start > 0 for seen in server.requests[n_first:n_second])


def test_expressions_windows_and_scales_are_those_of_an_eager_build(archive):
    _, table = archive
    eager, later = (build.head(2) for build in (pr.build_from_table(table, bands=BANDS), _later(table)))
    window = pr.read_window(["red", "nir"], window=(3, 5, 2, 4), unscale=True)
    assert_frame_equal(later.select("id", w=window).collect(), eager.select("id", w=window).collect())
    assert later.raster.crs() == eager.raster.crs() == ["EPSG:32632"]


def test_what_was_built_so_is_native_once_it_is_written(archive, tmp_path):
    server, table = archive
    _later(table).raster.sink_collection(tmp_path / "written")
    n_before = len(server.requests)
    written = pr.scan_collection(tmp_path / "written")
    assert written.select("red").collect()["red"].struct.field("width").to_list() == [64] * 4
    assert len(server.requests) == n_before


def test_rows_without_a_place_are_found_by_their_headers(archive):
    server, table = archive
    later = _later(table.with_columns(geometry=pl.when(pl.col("id") != "s1").then("geometry")))
    points = pl.DataFrame({"lon": [9.001], "lat": [48.749]})
    found = later.raster.sample_points(points, ["red"], crs=4326).collect()
    assert found["record_id"].to_list() == ["s0", "s1", "s2"]
    assert _asked(server) == ["r0.tif", "r1.tif", "r2.tif"]


def test_an_estimate_reads_headers_and_no_pixels(archive):
    server, table = archive
    points = pl.DataFrame({"lon": [9.001], "lat": [48.749]})
    query = _later(table).raster.sample_points(points, ["red"], crs=4326)
    cost = pr.estimate(query)
    assert (cost.records, cost.tiles) == (3, 3)
    assert all(seen.byte_start == 0 for seen in server.requests)
    eager = pr.build_from_table(table, bands=BANDS).raster.sample_points(points, ["red"], crs=4326)
    assert cost.bytes == pr.estimate(eager).bytes


def test_files_that_cannot_be_used_say_why_or_raise(archive, tmp_path):
    _, table = archive
    (tmp_path / "r1.tif").write_bytes(b"II no")
    table = table.with_columns(href_red=pl.col("href_red").str.replace("r0", "gone"))
    later = _later(table, pixel_dtypes={"red": pl.UInt8, "nir": pl.Int32})
    errors = later.select("header_error").collect()["header_error"].to_list()
    assert "gone.tif" in errors[0]
    assert "r1.tif" in errors[1]
    assert "pixels are uint16, and uint8 (pixel_dtypes=) does not hold them" in errors[2]
    assert all(error.startswith("red: ") for error in errors)  # int16 fits in Int32
    assert later.select(pl.col("red", "nir").is_null().sum()).collect().row(0) == (4, 1)
    failing = _later(table, on_error="raise")
    with pytest.raises((FetchError, pl.exceptions.ComputeError), match=r"gone\.tif"):
        failing.select("red").collect()
    narrow = _later(table[2:3], pixel_dtypes=pl.UInt8, on_error="raise")
    with pytest.raises((FileFormatError, pl.exceptions.ComputeError), match="pixels are uint16"):
        narrow.select("red").collect()
    assert failing.select("id").collect().height == 4


def test_the_plan_can_be_sent_elsewhere(archive):
    _, table = archive
    query = _later(table).select("red")
    sent = pl.LazyFrame.deserialize(io.BytesIO(query.serialize()))
    assert_frame_equal(sent.collect(), query.collect())


def test_a_float_dtype_holds_narrower_integers(archive):
    _, table = archive
    later = _later(table, pixel_dtypes=pl.Float64)
    assert later.collect_schema()["red"] == raster_dtype(pl.Float64())
    window = pr.read_window(["red"], window=(0, 1, 0, 3))
    pixels = later.head(1).select(w=window).collect()["w"].struct.field("red").to_numpy()
    np.testing.assert_array_equal(pixels[0], [[0.0, 1.0, 2.0]])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pixel_dtypes": None}, "pixel dtype of red, nir is not known"),
        ({"pixel_dtypes": {"red": pl.UInt16}}, "pixel dtype of nir"),
        ({"pixel_dtypes": {"red": pl.UInt16, "nir": pl.UInt16, "blue": pl.UInt8}}, "'blue'"),
        ({"pixel_dtypes": "nonsense"}, "no dtype"),
        ({"pixel_dtypes": pl.String}, "no pixel dtype|not a pixel dtype"),
        ({"into": "somewhere"}, "sink_collection"),
        ({"read_headers": True}, "of read_headers=False"),
    ],
)
def test_wrong_words_about_later_headers_are_usage_errors(archive, words, message):
    _, table = archive
    words = {"bands": BANDS, "read_headers": False, "pixel_dtypes": pl.UInt16, **words}
    with pytest.raises(UsageError, match=message):
        pr.build_from_table(table, **words)


def test_an_empty_table_has_the_schema_and_no_row(archive):
    _, table = archive
    later = _later(table.head(0))
    assert later.collect().height == 0
    assert later.collect_schema() == _later(table).collect_schema()
