"""What does a handle say, how is it made, and do its reads run beside each other?"""

from __future__ import annotations

import asyncio
import datetime as dt
import pickle
import threading
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import polars as pl
import pytest
import rasterio
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, FileFormatError, UsageError
from polars_rasteret.testing import MemorySource
from tests.support import recorded
from tests.support.range_server import RangeServer

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio's own code
CRS = recorded.EPSG


@pytest.fixture
def scenes() -> pl.LazyFrame:
    return pr.testing.example_scenes()


@pytest.mark.parametrize(
    "name", ["COG_u16_zstd_b128.tif", "u8x4_zstd_pixel_p1.tif", "i32_lzw_p2_BE_sep.tif", "i16_scale_offset.tif"]
)
def test_facts_are_those_of_rasterio(name, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    with in_rasterio(real_file(name)) as dataset:
        assert handle.id == Path(name).stem
        assert len(handle.bands) == dataset.count
        assert handle.crs == dataset.crs.to_string()
        assert handle.bounds == pytest.approx(tuple(dataset.bounds), rel=1e-12)
        for at, band in enumerate(handle.bands):
            one = handle.metadata(band)
            assert (one.height, one.width) == dataset.shape
            assert (one.tile_height, one.tile_width) == dataset.block_shapes[at]
            assert one.dtype == np.dtype(dataset.dtypes[at])
            assert one.nodata == dataset.nodata
            assert one.transform == pytest.approx(tuple(dataset.transform)[:6], rel=1e-12)
            assert one.resolution == pytest.approx(dataset.res, rel=1e-12)
            levels = range(len(dataset.overviews(at + 1)))
            assert one.overviews == tuple(
                rasterio.open(real_file(name), overview_level=level).shape for level in levels
            )
            assert ((one.scale or 1), (one.offset or 0)) == (dataset.scales[at], dataset.offsets[at])
            assert one.is_interleaved == (dataset.interleaving.name == "pixel" or dataset.count == 1)
            assert one.band_index == at


def test_a_handle_of_a_row_asks_for_nothing_until_pixels_are_read():
    store = recorded.Store()
    pixels = recorded.noise(3)
    rows = [
        {"id": f"r{at}", "datetime": None, "image": store.put(f"{at}.tif", recorded.tiff(pixels + at)), "cloud": at}
        for at in range(3)
    ]
    scenes = recorded.build(store, rows, {"red": "image"})
    handles = list(scenes.raster.iter_rasters())
    handles += [
        pr.open(scenes.collect()[1]),
        pr.open(scenes.filter(id="r1")),
        pr.open(scenes.collect().row(1, named=True)),
    ]
    for at, handle in zip((0, 1, 2, 1, 1, 1), handles, strict=True):
        assert handle.id == f"r{at}"
        assert handle.record["cloud"] == at
        assert (handle.bands, handle.datetime, handle.crs) == (["red"], None, f"EPSG:{CRS}")
        assert handle.geometry.covers(shapely.from_wkb(scenes.collect()["geometry"][at]))
        assert handle.intersects(handle.geometry)
        assert not handle.intersects(shapely.Point(0, 0))
        assert "r" in repr(handle)
    assert store.requests == []
    for at, handle in zip((0, 1, 2, 1, 1, 1), handles, strict=True):
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(handle)).read("red", window=(5, 9, 2, 4)), pixels[0, 5:9, 2:4] + at
        )
    store.close()


def test_iter_rasters_takes_bands_and_rows_in_order(scenes):
    assert [one.id for one in scenes.raster.iter_rasters()] == ["first", "second"]
    first = next(scenes.raster.iter_rasters("nir"))
    assert first.bands == ["nir"]
    assert first.datetime == dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)
    with pytest.raises(UsageError, match="record 'first' has no band red; it has nir"):
        first.read("red")
    with pytest.raises(UsageError, match="no column is a raster column"):
        scenes.select("id").raster.iter_rasters()
    many = pl.concat([scenes] * 1_100)  # more rows than are held at once
    assert sum(1 for _ in many.raster.iter_rasters()) == 2_200


def test_a_band_that_a_record_lacks_is_none_of_its_bands(scenes):
    without = scenes.with_columns(pl.when(pl.col("id") == "first").then(pl.col("nir")).alias("nir"))
    first, second = without.raster.iter_rasters()
    assert (first.bands, second.bands) == (["red", "nir"], ["red"])
    with pytest.raises(UsageError, match="record 'second' has no band nir; it has red"):
        second.read(["red", "nir"])
    empty = pr.open(scenes.head(1).with_columns(pl.lit(None, scenes.collect_schema()["red"]).alias("red")).drop("nir"))
    assert empty.bands == []
    with pytest.raises(UsageError, match="record 'first' has no raster in any band"):
        empty.read()


def test_bands_of_several_crs_have_no_common_crs(scenes):
    row = scenes.head(1).with_columns(pl.col("nir").struct.with_fields(crs=pl.lit("EPSG:32633")))
    handle = pr.open(row)
    with pytest.raises(UsageError, match=r"band red is in EPSG:32632, band nir in EPSG:32633; ask .metadata"):
        _ = handle.crs
    assert handle.metadata("nir").crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ("memory://example-scenes/gone.tif", FetchError, "no such file"),
        (7, UsageError, "got a int; expected a path, a URL, a frame with one row"),
        ({"id": "x"}, UsageError, "the row has no raster column; it has id"),
    ],
)
def test_what_is_no_record_is_an_error(scenes, given, error, told):
    with pytest.raises(error, match=told):
        pr.open(given)
    with pytest.raises(UsageError, match=r"the frame has several records; expected one.*iter_rasters"):
        pr.open(scenes)
    with pytest.raises(UsageError, match="the frame has no records"):
        pr.open(scenes.head(0))
    with pytest.raises(UsageError, match=r"storage_options .* are for a path or URL"):
        pr.open(scenes.head(1), storage_options={"region": "x"})


def test_a_damaged_file_is_an_error_of_its_format(tmp_path):
    (tmp_path / "page.tif").write_bytes(b"<html>not found</html>" * 40)
    with pytest.raises(FileFormatError, match=r"page.tif"):
        pr.open(tmp_path / "page.tif")
    with pytest.raises(UsageError, match=r"bands is a dict, which is for a path or URL"):
        pr.open(pr.testing.example_scenes().head(1), bands={"red": 0})


def test_a_file_of_the_callers_own_source_of_bytes_is_read_like_any_other(real_file):
    path = real_file("COG_u16_zstd_b128.tif")

    class OwnSource:
        def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> bytes:
            assert href == "archive://vault/image.tif"
            return path.read_bytes()[byte_start:byte_stop]

    pr.configure_store("archive://vault/", store=OwnSource())
    try:
        np.testing.assert_array_equal(pr.open("archive://vault/image.tif").read(), pr.open(path).read())
    finally:
        pr.configure_store("archive://vault/")


def test_a_file_in_an_obstore_store_is_read_in_one_line(real_file):
    from obstore.store import MemoryStore

    path, store = real_file("COG_u16_zstd_b128.tif"), MemoryStore()
    store.put("deep/image.tif", path.read_bytes())
    pr.configure_store("s3://own/", store=store)
    try:
        np.testing.assert_array_equal(pr.open("s3://own/deep/image.tif").read(), pr.open(path).read())
    finally:
        pr.configure_store("s3://own/")


def test_one_window_of_one_url_costs_its_header_and_its_tiles(real_file):
    path = real_file("COG_u16_zstd_b128.tif")
    with RangeServer({"image.tif": path.read_bytes()}) as server, pr.profile() as profile:
        href = server.url("image.tif")
        got = pr.open(href).read("b1", window=(0, 10, 0, 10))
        np.testing.assert_array_equal(got, pr.open(path).read("b1")[:10, :10])
        assert len(server.requests) <= 3
    assert profile.errors == []


def test_points_are_those_of_rasterio_and_null_outside(real_file, in_rasterio):
    handle = pr.open(real_file("COG_u16_zstd_b128.tif"))
    with in_rasterio(real_file("COG_u16_zstd_b128.tif")) as dataset:
        rng = np.random.default_rng(5)
        left, bottom, right, top = dataset.bounds
        x, y = rng.uniform(left, right, 50), rng.uniform(bottom, top, 50)
        want = [one[0] for one in dataset.sample(zip(x, y, strict=True), masked=True)]
    found = handle.sample_points(x, y, crs=handle.crs)
    assert found.columns == ["x", "y", "b1"]
    assert found["b1"].to_list() == [None if one is np.ma.masked else int(one) for one in want]
    assert handle.sample_points(left - 1, top + 1, crs="native")["b1"].to_list() == [None]
    assert asyncio.run(handle.sample_points_async(x, y, crs=handle.crs)).equals(found)
    with pytest.raises(UsageError, match="as many of both"):
        handle.sample_points([1, 2], [1], crs=4326)


def test_load_gives_one_answer_per_geometry_in_every_form(scenes):
    handle = next(scenes.raster.iter_rasters())
    fields = gpd.GeoDataFrame(
        {"plot": ["a", "far", "b"]},
        geometry=[
            shapely.box(500_005, 4_999_980, 500_020, 5_000_000),
            shapely.box(0, 0, 1, 1),
            shapely.Point(500_205, 4_999_805).buffer(30),
        ],
        crs=CRS,
    )
    arrays = handle.load(fields, coverage="center")
    datasets = handle.load(fields, as_="xarray", coverage="center")
    table = handle.load(fields, as_="geopandas", coverage="center")
    assert [one is None for one in arrays] == [one is None for one in datasets] == [False, True, False]
    assert table["plot"].tolist() == ["a", "far", "b"]
    assert table.crs == fields.crs
    assert table["id"].tolist() == ["first"] * 3
    assert table["red"][1] is None
    for at in (0, 2):
        want = handle.read(geometry=fields.geometry[at], crs=CRS, coverage="center")
        np.testing.assert_array_equal(arrays[at], want)
        np.testing.assert_array_equal(datasets[at].to_array(), want)
        assert datasets[at]["red"].dtype == np.uint16
        np.testing.assert_array_equal(np.stack([table["red"][at], table["nir"][at]]), want)
        assert table["raster_crs"][at] == "EPSG:32632"
        a, _, c, _, e, f = table["transform"][at]
        assert datasets[at]["x"][0] == c + a / 2
        assert datasets[at]["y"][0] == f + e / 2
    assert asyncio.run(handle.load_async(fields, coverage="center"))[2].shape == arrays[2].shape
    masked = handle.load(fields.geometry[2], "red", crs=CRS, coverage="center", masked=True)
    assert 0 < masked[0].mask.sum() < masked[0].size
    with pytest.raises(UsageError, match="the table has columns red, which the answer has, too"):
        handle.load(fields.rename(columns={"plot": "red"}), as_="geopandas")


@pytest.mark.parametrize(
    "form", ["shapely", "wkb", "geojson", "wkt", "box", "series", "geoseries", "arrow", "list of boxes"]
)
def test_geometries_come_in_many_forms(scenes, form):
    handle = next(scenes.raster.iter_rasters())
    area = shapely.box(500_010, 4_999_950, 500_040, 4_999_980)
    given = {
        "shapely": area,
        "wkb": shapely.to_wkb(area),
        "geojson": {**shapely.geometry.mapping(area), "crs": {"type": "name", "properties": {"name": f"EPSG:{CRS}"}}},
        "wkt": area.wkt,
        "box": area.bounds,
        "series": pl.Series([shapely.to_wkb(area)]),
        "geoseries": gpd.GeoSeries([area], crs=CRS),
        "arrow": gpd.GeoDataFrame(geometry=[area], crs=CRS).to_arrow(),
        "list of boxes": [area.bounds],
    }[form]
    (got,) = handle.load(given, "red", crs=CRS)
    np.testing.assert_array_equal(got, handle.read(["red"], window=(2, 5, 1, 4)))


def test_what_is_no_geometry_is_an_error(scenes):
    handle = next(scenes.raster.iter_rasters())
    for given, told in (
        (7, "geometries is a int"),
        ([7], "geometries is a list; expected"),
        ([(5, 0, 1, 1)], "antimeridian"),
        (pl.DataFrame({"x": [1.0], "y": [2.0]}), "expected a column of geometries"),
    ):
        with pytest.raises(UsageError, match=told):
            handle.load(given, crs=CRS)
    with pytest.raises(UsageError, match="as_='torch'; expected one of"):
        handle.load(shapely.box(0, 0, 1, 1), as_="torch", crs=CRS)
    assert handle.load([], crs=CRS) == []
    assert handle.load([], crs=CRS, as_="geopandas").empty


def test_a_dataset_has_the_attributes_that_rioxarray_reads(scenes):
    pytest.importorskip("rioxarray")
    handle = next(scenes.raster.iter_rasters())
    area = shapely.box(500_010, 4_999_950, 500_040, 4_999_980)
    (dataset,) = handle.load(area, as_="xarray", crs=CRS)
    assert dataset.rio.crs.to_epsg() == CRS
    assert tuple(dataset.rio.transform())[:6] == (10, 0, 500_010, 0, -10, 4_999_980)
    assert dataset["red"].rio.nodata == 0
    assert dataset["time"].values == np.datetime64("2024-05-01T10:00:00")
    assert dataset["record_id"].item() == "first"
    assert dataset["red"].rio.reproject(4326).dtype == np.uint16
    (masked,) = handle.load(
        shapely.Point(500_105, 4_999_905).buffer(30), "red", as_="xarray", crs=CRS, coverage="center", masked=True
    )
    assert masked["red"].dtype == np.float32
    assert masked["red"].isnull().any()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_a_dataset_comes_back_from_zarr_as_it_was(scenes, tmp_path, version, masked):
    pytest.importorskip("zarr")
    xarray = pytest.importorskip("xarray")
    handle = next(scenes.raster.iter_rasters())
    area = shapely.Point(500_105, 4_999_905).buffer(30)
    (dataset,) = handle.load(area, as_="xarray", crs=CRS, coverage="center", masked=masked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Zarr, which has no specification for strings
        dataset.to_zarr(tmp_path / "one.zarr", zarr_format=version, consolidated=False)
        words = {"engine": "zarr", "decode_coords": "all", "consolidated": False}
        back = xarray.open_dataset(tmp_path / "one.zarr", mask_and_scale=masked, **words).load()
    xarray.testing.assert_identical(back, dataset)


class Meeting(MemorySource):
    """A source that answers only when several requests wait together."""

    def __init__(self, files, n):
        super().__init__(files)
        self.barrier = threading.Barrier(n)
        self.is_open = True

    def get(self, href, byte_start, byte_stop, *, etag):
        if not self.is_open:
            self.barrier.wait(timeout=20)
        return super().get(href, byte_start, byte_stop, etag=etag)


def test_many_reads_overlap_and_the_event_loop_goes_on():
    n = 12
    pixels = recorded.noise(7)
    source = Meeting({f"memory://meeting/{at}.tif": recorded.tiff(pixels + at) for at in range(n)}, n)
    pr.configure_store("memory://meeting/", store=source)
    try:
        handles = [pr.open(href) for href in source.files]
        source.is_open = False
        turns = 0

        async def turning():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def together():
            other = asyncio.create_task(turning())
            # Each read waits until all of them have asked: one after another would never end.
            found = await asyncio.gather(*(one.read_async("b1", window=(0, 2, 0, 2)) for one in handles))
            other.cancel()
            return found

        with pr.options(cache_bytes=0, retries=0):
            found = asyncio.run(together())
        for at, one in enumerate(found):
            np.testing.assert_array_equal(one, pixels[0, :2, :2] + at)
        assert turns > 1
    finally:
        pr.configure_store("memory://meeting/")


def test_options_and_profiles_of_the_caller_hold_in_background(scenes):
    handle = next(scenes.raster.iter_rasters())

    async def refused():
        with pr.options(max_answer_bytes=10):
            return await handle.read_async("red")

    with pytest.raises(UsageError, match="max_answer_bytes"):
        asyncio.run(refused())
    with pr.options(cache_bytes=0), pr.profile() as profile:
        asyncio.run(handle.read_async("red", window=(0, 1, 0, 1)))
    assert "requests" in str(profile.summary())


def test_a_cancelled_read_ends_and_leaves_no_thread_behind():
    entered, gate = threading.Event(), threading.Event()

    class Gated(MemorySource):
        is_open = True

        def get(self, href, byte_start, byte_stop, *, etag):
            if not self.is_open:
                entered.set()
                gate.wait(20)
            return super().get(href, byte_start, byte_stop, etag=etag)

    source = Gated({"memory://gated/a.tif": recorded.tiff(recorded.noise(1))})
    pr.configure_store("memory://gated/", store=source)
    try:
        handle = pr.open("memory://gated/a.tif")
        source.is_open = False

        async def cancelled():
            task = asyncio.create_task(handle.read_async())
            await asyncio.to_thread(entered.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
    finally:
        gate.set()
        pr.configure_store("memory://gated/")
