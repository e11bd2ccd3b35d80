"""Are pixels those of rasterio where a collection does not know byte order, bits, masks and overviews of its files?"""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rasterio
from rasterio.enums import Resampling

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, StaleIndexError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support import recorded
from tests.support.borrowed import with_borrowed_tables
from tests.support.engines import ENGINES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "tests" / "data" / "derived", ROOT.parent / "shared" / "data" / "derived")
FILES = [
    "i32_lzw_p2_BE_sep.tif",
    "u16_deflate_p2_BE_t64.tif",
    "f32_zstd_p3_BE_bigtiff.tif",
    "u16_nbits12_lzw.tif",
    "u8_nbits1_deflate.tif",
    "u8_nbits4_deflate.tif",
    "f16_deflate_p3.tif",
    "u8x3_maskifd_deflate.tif",
    "f32_lerc_zstd_z01.tif",
    "u8x4_lerc_deflate_pixel.tif",
    "u16_sparse_zstd.tif",
    "u16_sparse_nodata_sep_BE.tif",
    "COG_u16_zstd_b128.tif",
    "int8_deflate_p2.tif",
]
HEADER = (0, 32_768)


def file_named(name):
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    return pytest.skip(f"{name} is in ../shared/data/derived only")


@pytest.fixture
def scene():
    """Give one big-endian file of two bands in a store that writes down its requests, and its pixels."""
    store = recorded.Store()
    clear_cache()
    pixels = recorded.noise(1, n_bands=2)
    href = store.put("a.tif", recorded.tiff(pixels, ENDIANNESS="BIG"))
    scenes = recorded.build(store, [{"id": "a", "href": href}], {"b1": ("href", 0), "b2": ("href", 1)})
    yield store, with_borrowed_tables(scenes), pixels
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FILES)
def test_pixels_and_masks_are_those_of_rasterio(name, engine):
    path = file_named(name)
    scenes = with_borrowed_tables(pr.build_from_files([path], on_error="raise"))
    bands = scenes.raster.bands()
    row = scenes.select(pr.read_window(bands, masked=True).struct.unnest(), valid=pl.lit(1)).collect(engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as dataset:
            want = dataset.read(masked=True)
    for band, expected in zip(bands, want, strict=True):
        got = pl.Series(row[band].struct.field("pixels")[0])
        hidden = np.ma.getmaskarray(expected).reshape(-1) | np.isnan(expected.data.astype(np.float64)).reshape(-1)
        np.testing.assert_array_equal(got.is_null() | got.cast(pl.Float64).is_nan(), hidden)
        np.testing.assert_array_equal(got.to_numpy()[~hidden], expected.data.reshape(-1)[~hidden])


def test_resampled_windows_are_read_from_the_overview_and_statistics_and_cubes_are_those_of_the_file():
    path = file_named("COG_u16_zstd_b128.tif")
    native = pr.build_from_files([path], on_error="raise")
    with rasterio.open(path) as dataset:
        (height, width), (left, bottom, right, top), epsg = dataset.shape, dataset.bounds, dataset.crs.to_epsg()
        small = dataset.read(1, out_shape=(height // 4, width // 4), resampling=Resampling.nearest)
    box = pl.DataFrame({"xmin": [left], "ymin": [bottom], "xmax": [right], "ymax": [top]}).select(
        box=pl.struct(pl.all())
    )

    def answers(scenes):
        shape = (height // 4, width // 4)
        rows = pl.concat([scenes, box.lazy()], how="horizontal")
        window = rows.select(pl.col("b1").raster.read_window("box", crs=epsg, shape=shape)).collect().item()
        stats = (
            scenes.raster.zonal_stats([(left, bottom, right, top)], ["b1"], ["sum"], crs=epsg)
            .collect()["b1_sum"]
            .item()
        )
        step = (right - left) / (width // 4)
        cube = scenes.raster.to_xarray((left, bottom, right, top), ["b1"], crs=epsg, resolution=step)["b1"].values
        (handle,) = (
            with_borrowed_tables(scenes).raster.iter_rasters() if scenes is not native else native.raster.iter_rasters()
        )
        return np.array(window).reshape(shape), stats, cube, handle.metadata("b1").overviews, handle.read("b1")

    for got, want in zip(answers(with_borrowed_tables(native)), answers(native), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(answers(with_borrowed_tables(native))[0], small)


def test_a_header_is_read_once_by_all_threads_and_only_for_what_rows_meet(scene):
    store, scenes, pixels = scene
    far = scenes.with_columns(
        b1=pl.col("b1").struct.with_fields(href=pl.lit(store.prefix + "gone.tif")), bbox=pl.lit(None, pl.Null)
    ).with_columns(
        b1=pl.col("b1").struct.with_fields(
            transform=pl.lit([10.0, 0, 900_000, 0, -10, 9e6]).cast(pl.Array(pl.Float64, 6))
        )
    )
    both = pl.concat([scenes.select("id", "b1", "b2"), far.select("id", "b1", "b2")])
    found = {}

    def read(thread):
        place = recorded.points([(40 * thread, 30)])
        query = both.raster.sample_points(place, ["b1"], crs=recorded.EPSG, on_error="raise")
        found[thread] = query.collect()["b1"].to_list()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {thread: [pixels[0, 40 * thread, 30]] for thread in range(8)}
    headers = [request for request in store.requests if request[1] == 0]
    assert [(start, stop) for _, start, stop in headers] == [HEADER]
    assert store.names == {"a.tif"}


def test_a_header_is_not_read_for_bands_that_are_not_wanted_nor_for_references(scene):
    store, scenes, pixels = scene
    other = store.put("b.tif", recorded.tiff(pixels))
    apart = scenes.with_columns(pl.col("b2").struct.with_fields(href=pl.lit(other)))
    place = recorded.points([(3, 4)])
    assert apart.raster.pair(place, crs=recorded.EPSG).collect().height == 1
    assert store.requests == []
    query = apart.raster.sample_points(place, ["b1", "b2"], crs=recorded.EPSG)
    assert query.select("b1").collect().item() == pixels[0, 3, 4]
    assert store.names == {"a.tif"}
    assert query.select("b2").collect().item() == pixels[1, 3, 4]
    assert store.names == {"a.tif", "b.tif"}


def test_an_estimate_says_that_a_header_comes_first_and_is_exact_once_it_is_known(scene):
    store, scenes, _ = scene
    query = scenes.raster.sample_points(recorded.points([(3, 4)]), ["b1"], crs=recorded.EPSG)
    before = pr.estimate(query)
    assert store.requests == []
    assert (before.bound, before.tiles, before.requests) == ("unknown", 1, 2)
    assert before.bytes == recorded.TILE_BYTES + 32_768
    query.collect()
    assert len(store.requests) == 2
    after = pr.estimate(query)
    assert (after.bound, after.tiles, after.requests, after.bytes) == ("exact", 1, 1, recorded.TILE_BYTES)


def test_a_budget_counts_the_header(scene):
    store, scenes, _ = scene
    query = scenes.raster.sample_points(
        recorded.points([(3, 4)]), ["b1"], crs=recorded.EPSG, budget_bytes=recorded.TILE_BYTES + 100
    )
    with pytest.raises(pr.errors.BudgetError):
        query.collect()
    assert store.bytes <= recorded.TILE_BYTES + 100


def test_a_file_that_is_not_the_one_of_the_collection_is_refused(scene):
    store, scenes, pixels = scene
    place = recorded.points([(3, 4)])

    def read(data, lf=scenes):
        clear_cache()
        href = store.put(f"{len(store.files)}.tif", data)
        lf = lf.with_columns(pl.col("b1").struct.with_fields(href=pl.lit(href)))
        return lf.raster.sample_points(place, ["b1"], crs=recorded.EPSG).select("b1").collect().item()

    assert read(recorded.tiff(pixels, compress="deflate")) == pixels[0, 3, 4]
    with pytest.raises(StaleIndexError, match=r"512 x 512 pixels.*make the collection anew"):
        read(recorded.tiff(pixels[:, :256]))
    with pytest.raises(StaleIndexError, match="transform"):
        read(recorded.tiff(pixels, x=500_010.0))
    with pytest.raises(UsageError, match="int32"):
        read(recorded.tiff(pixels.astype("int32")))
    with pytest.raises(pr.errors.FileFormatError):
        read(b"no file")


def test_a_failed_header_is_a_reason_in_its_rows_and_is_tried_again(scene):
    store, scenes, pixels = scene
    data = store.files.by_name.pop("a.tif")
    query = scenes.raster.sample_points(recorded.points([(3, 4)]), ["b1"], crs=recorded.EPSG, on_error="null")
    row = query.collect()
    assert row["b1"].to_list() == [None]
    assert row["read_error"].item().startswith("b1: memory://")
    with pytest.raises(FetchError):
        scenes.select(pl.col("b1").raster.read_window()).collect()
    store.put("a.tif", data)
    assert query.collect()["b1"].item() == pixels[0, 3, 4]


def test_a_file_that_changes_later_is_stale_once_and_then_read_anew(tmp_path):
    first, second = recorded.noise(1), recorded.noise(2)
    path = tmp_path / "a.tif"
    path.write_bytes(recorded.tiff(first))
    scenes = with_borrowed_tables(pr.build_from_files([path]))
    query = scenes.raster.sample_points(recorded.points([(3, 4)]), ["b1"], crs=recorded.EPSG)
    assert query.collect()["b1"].item() == first[0, 3, 4]
    clear_cache()
    path.write_bytes(recorded.tiff(second, compress="deflate"))
    os.utime(path, (1, 1))
    with pytest.raises(StaleIndexError):
        query.collect()
    assert query.collect()["b1"].item() == second[0, 3, 4]


def test_the_flag_is_no_part_of_the_digest_and_overviews_are_unknown(scene):
    store, scenes, _ = scene
    tiles = scenes.collect()["b1"].struct.field("tiles").item()
    own = bytes([tiles[0] & ~8]) + tiles[1:]
    from polars_rasteret.tiff.tile_table import unpack

    assert unpack(tiles).is_borrowed
    assert not unpack(own).is_borrowed
    assert unpack(own).digest == unpack(tiles).digest
    assert scenes.select(pl.col("b1").raster.overviews()).collect().item() is None
    flagged = scenes.select(pl.col("b1").raster.with_metadata(nodata=None)).collect()["b1"].struct.field("tiles").item()
    assert (flagged[0], flagged[1:]) == (tiles[0] | 1, tiles[1:])
    assert store.requests == []
