"""Does a picture show the right pixels in the right place, and does it read no more than it shows?"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings

import numpy as np
import polars as pl
import pytest
import rasterio.warp
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import from_bounds

import polars_rasteret as pr
from polars_rasteret.errors import RasteretError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support.recorded import Store

BANDS = ["red", "green", "blue"]
SIZE = 512
NODATA = 0


@pytest.fixture(autouse=True)
def _cold_and_closed():
    process_scheduler().clear_cache()
    yield
    plt.close("all")


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def cog(pixels, *, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), overviews=(2, 4), nodata=NODATA, epsg=32632):
    count, height, width = pixels.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        profile = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "none"}
        with memory.open(
            **profile,
            width=width,
            height=height,
            count=count,
            dtype=pixels.dtype.name,
            crs=f"EPSG:{epsg}",
            transform=transform,
            nodata=nodata,
        ) as file:
            file.write(pixels)
            file.build_overviews(list(overviews), Resampling.average)
        return bytes(memory.getbuffer())


def noise(count=3, seed=0):
    pixels = np.random.default_rng(seed).integers(1, 4000, (count, SIZE, SIZE)).astype(np.uint16)
    pixels[:, :40, :60] = NODATA
    return pixels


def scene(store, data, name="a", bands=BANDS):
    href = store.put(f"{name}.tif", data)
    scenes = pr.build_from_files([href], bands=bands, on_error="raise").collect().lazy()
    store.clear()
    return scenes


def shown(ax):
    """Give the array of the only image on the axes, as it was handed to matplotlib."""
    (image,) = ax.images
    return image.get_array()


def overview_of(data, level):
    with MemoryFile(data) as memory, memory.open(overview_level=level) as file:
        return file.read(masked=True)


def test_a_picture_reads_the_overview_of_its_size(store):
    data = cog(noise())
    scenes = scene(store, data)
    (ax,) = scenes.raster.plot("red", pixels=128)
    overview = overview_of(data, 1)
    assert overview.shape == (3, 128, 128)
    drawn = shown(ax)
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn), np.ma.getmaskarray(overview[0]))
    np.testing.assert_array_equal(drawn.filled(0), overview[0].filled(0))
    # One tile of 128 x 128 x 3 bands, of two bytes each: that of the second overview, and nothing else.
    assert store.bytes == 128 * 128 * 3 * 2
    assert len(store.requests) == 1


@pytest.mark.parametrize(("pixels", "side"), [(200, 256), (256, 256), (320, 512)])
def test_more_pixels_read_a_larger_overview(store, pixels, side):
    data = cog(noise())
    scenes = scene(store, data)
    scenes.raster.plot("red", pixels=pixels)
    assert store.bytes == side * side * 3 * 2


def test_outlines_read_no_pixel(store):
    scenes = scene(store, cog(noise()))
    ax = scenes.raster.plot()
    assert store.requests == []
    (outlines,) = [one for one in ax.collections if isinstance(one, PolyCollection)]
    corners = np.array([(500_000, 5_000_000), (505_120, 5_000_000), (505_120, 4_994_880), (500_000, 4_994_880)])
    lon, lat = rasterio.warp.transform("EPSG:32632", "EPSG:4326", *corners.T)
    ring = outlines.get_paths()[0].vertices
    for corner in zip(lon, lat, strict=True):
        assert np.abs(ring - corner).max(axis=1).min() < 1e-9


def test_three_bands_are_stretched_between_percentiles_and_nodata_is_transparent(store):
    pixels = noise()
    scenes = scene(store, cog(pixels))
    (ax,) = scenes.raster.plot(BANDS, pixels=SIZE, percentiles=(5, 95))
    image = shown(ax)
    is_valid = (pixels != NODATA).all(axis=0)
    np.testing.assert_array_equal(image[..., 3], np.where(is_valid, 255, 0))
    for band in range(3):
        low, high = np.percentile(pixels[band][is_valid].astype(np.float64), (5, 95))
        expected = np.clip((pixels[band] - low) / (high - low), 0, 1) * 255
        difference = np.abs(image[..., band].astype(float) - expected)[is_valid]
        assert difference.max() <= 0.51  # rounded to whole colours


def test_one_band_is_drawn_with_the_colour_map_and_limits_given(store):
    scenes = scene(store, cog(noise()))
    (ax,) = scenes.raster.plot("green", pixels=64, limits=(100, 900), cmap="magma")
    (image,) = ax.images
    assert image.get_clim() == (100, 900)
    assert image.get_cmap().name == "magma"
    assert len(ax.figure.axes) == 2  # the picture and its colour bar


def test_pictures_share_a_stretch_unless_each_has_its_own(store):
    dark, bright = np.full((1, 512, 512), 10, np.uint16), np.full((1, 512, 512), 3000, np.uint16)
    dark[0, :256], bright[0, :256] = 20, 3300
    hrefs = [store.put(f"{name}.tif", cog(one)) for name, one in (("dark", dark), ("bright", bright))]
    scenes = pr.build_from_files(hrefs, bands=["red"])
    together = [ax.images[0].get_clim() for ax in scenes.raster.plot("red", pixels=64, percentiles=(0, 100))]
    each = [
        ax.images[0].get_clim() for ax in scenes.raster.plot("red", pixels=64, percentiles=(0, 100), stretch="each")
    ]
    assert together == [(10, 3300)] * 2
    assert each == [(10, 20), (3000, 3300)]


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(Affine(10, 0, 500_000, 0, -10, 5_000_000), id="north-up"),
        pytest.param(Affine(10, 0, 500_000, 0, 10, 4_990_000), id="south-up"),
        pytest.param(Affine(10, 0, 500_000, 0, -10, 5_000_000) @ Affine.rotation(30), id="rotated"),
    ],
)
def test_a_picture_lies_where_the_transform_of_its_record_says(store, transform):
    scenes = scene(store, cog(noise(), transform=transform))
    (ax,) = scenes.raster.plot("red", pixels=128)
    (image,) = ax.images
    pixel_to_map = image.get_transform() - ax.transData
    decimation = SIZE / 128
    for row, col in ((0, 0), (128, 0), (0, 128), (32, 96)):
        expected = transform @ (col * decimation, row * decimation)
        np.testing.assert_allclose(pixel_to_map.transform((col, row)), expected, rtol=0, atol=1e-6)
    bottom, top = ax.get_ylim()
    assert bottom < top  # north is up whichever way the rows run
    left, right = ax.get_xlim()
    assert left < right


def test_on_the_map_each_pixel_is_the_one_of_the_record_at_its_longitude_and_latitude(store):
    pixels = noise(1)
    scenes = scene(store, cog(pixels), bands=["red"])
    ax = scenes.raster.plot("red", on_map=True, pixels=SIZE)
    (image,) = ax.images
    west, east, south, north = image.get_extent()
    drawn = image.get_array()
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, drawn.shape[0], (2, 500))
    lon = west + (cols + 0.5) / drawn.shape[1] * (east - west)
    lat = north - (rows + 0.5) / drawn.shape[0] * (north - south)
    x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32632", lon, lat)
    n_inside = 0
    for number, (east_m, north_m) in enumerate(zip(x, y, strict=True)):
        col, row = int((east_m - 500_000) // 10), int((5_000_000 - north_m) // 10)
        got = drawn[rows[number], cols[number]]
        if 0 <= row < SIZE and 0 <= col < SIZE and pixels[0, row, col] != NODATA:
            assert got == pixels[0, row, col]
            n_inside += 1
        else:
            assert got is np.ma.masked
    assert n_inside > 300


def test_bounds_show_their_window_of_the_records_that_meet_them(store):
    data = cog(noise())
    there = Affine(10, 0, 700_000, 0, -10, 5_000_000)
    hrefs = [store.put("here.tif", data), store.put("there.tif", cog(noise(seed=1), transform=there))]
    scenes = pr.build_from_files(hrefs, bands=BANDS)
    store.clear()
    bounds = (501_000, 4_997_000, 502_000, 4_998_000)
    axes = scenes.raster.plot("red", bounds=bounds, crs=32632)
    (ax,) = axes
    assert ax.get_title() == "here"
    with MemoryFile(data) as memory, memory.open() as file:
        window = from_bounds(*bounds, file.transform)
        np.testing.assert_array_equal(shown(ax).filled(0), file.read(1, window=window))
    assert store.names == {"here.tif"}
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((501_000, 502_000, 4_997_000, 4_998_000))


def test_bounds_on_the_map_show_that_part_in_all_its_pixels(store):
    pixels = noise(1)
    scenes = scene(store, cog(pixels), bands=["red"])
    ax = scenes.raster.plot("red", on_map=True, bounds=(501_000, 4_997_000, 502_000, 4_998_000), crs=32632)
    (image,) = ax.images
    drawn = image.get_array()
    assert drawn.shape == (100, 100)
    west, east, south, north = image.get_extent()
    x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32632", [west, east], [south, north])
    assert (
        np.abs(np.array([*x, *y]) - [501_000, 502_000, 4_997_000, 4_998_000]).max() < 60
    )  # the box is turned a little
    # The middle of the map is the pixel of the record there.
    x, y = rasterio.warp.transform(
        "EPSG:4326", "EPSG:32632", [west + 50.5 / 100 * (east - west)], [north - 50.5 / 100 * (north - south)]
    )
    assert drawn[50, 50] == pixels[0, int((5_000_000 - y[0]) // 10), int((x[0] - 500_000) // 10)]
    left, right = ax.get_xlim()
    assert right - left < 1.2 * (east - west)


def test_a_map_across_the_antimeridian_has_a_picture_on_either_side(store):
    there = Affine(10, 0, 818_000, 0, -10, 10_000_000 - 1_800_000)
    scenes = scene(store, cog(noise(1), transform=there, epsg=32760), bands=["red"])
    ax = scenes.raster.plot("red", on_map=True, pixels=64)
    (west, _, _, _), (_, east, _, _) = sorted(image.get_extent() for image in ax.images)
    assert (west, east) == (-180, 180)
    assert all(image.get_array().count() > 50 for image in ax.images)


def test_a_record_that_cannot_be_read_has_an_empty_picture_when_errors_become_null(store):
    scenes = pr.build_from_files([store.put("a.tif", cog(noise())), store.put("b.tif", cog(noise()))], bands=BANDS)
    scenes = scenes.collect().lazy()
    del store.files.by_name["b.tif"]
    with pytest.raises(RasteretError, match=r"b\.tif"):
        scenes.raster.plot(BANDS)
    with pytest.warns(RuntimeWarning, match="1 value"):
        first, second = scenes.raster.plot(BANDS, on_error="null")
    assert not first.texts
    assert [one.get_text() for one in second.texts] == ["no valid pixel"]
    assert (shown(second)[..., 3] == 0).all()


def test_axes_given_are_drawn_on(store):
    scenes = scene(store, cog(noise()))
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert scenes.raster.plot(ax=left) is left
    assert list(scenes.raster.plot("red", ax=right)) == [right]
    assert figure.axes == [left, right]  # no colour bar takes their room
    assert plt.get_fignums() == []


def test_a_dataframe_and_the_typed_function_draw_too(store):
    scenes = scene(store, cog(noise()))
    assert len(scenes.collect().raster.plot("red", pixels=32)) == 1
    assert len(pr.raster(scenes).plot("red", pixels=32)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": "purple"}, "no band is named purple; the collection has red, green, blue"),
        ({"bands": ["red", "green"]}, "2 bands are given"),
        ({"bands": "red", "limits": (9, 1)}, "limits"),
        ({"bands": "red", "percentiles": (2, 200)}, "percentiles"),
        ({"bands": "red", "stretch": "log"}, "stretch='log'"),
        ({"bands": "red", "pixels": 0}, "pixels=0"),
        ({"bands": "red", "bounds": (0, 0, 1, 1)}, "without crs"),
        ({"bands": "red", "bounds": (0, 0, 1, 1), "crs": 4326}, r"no record has red within the bounds"),
        ({"bands": "red", "bounds": (1, 0, 0, 1), "crs": 32632}, "empty"),
        ({"bands": "red", "label": "name"}, "label='name'"),
        ({"bands": "red", "ax": "here"}, "ax is a str"),
        ({"bands": "red", "max_pictures": 1}, "more than 1 records"),
        ({"bands": "red", "ax": Figure().subplots()}, "one Axes, but there are 2 pictures"),
        ({"bands": "red", "resampling": "sharp"}, "resampling"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_read(store, arguments, message):
    hrefs = [store.put(f"{name}.tif", cog(noise())) for name in "ab"]
    scenes = pr.build_from_files(hrefs, bands=BANDS).collect().lazy()
    store.clear()
    with pytest.raises(UsageError, match=message):
        scenes.raster.plot(**arguments)
    assert store.requests == [] or "ax" in arguments


def test_a_collection_without_a_place_has_no_map_but_pictures(store):
    scenes = scene(store, _unplaced(), bands=["red"])
    (ax,) = scenes.raster.plot("red", pixels=64)
    assert shown(ax).shape == (64, 64)
    with pytest.raises(UsageError, match="no record has a place on the map"):
        scenes.raster.plot()


def _unplaced():
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        with memory.open(driver="GTiff", width=64, height=64, count=1, dtype="uint8") as file:
            file.write(np.arange(4096).reshape(1, 64, 64).astype(np.uint8))
        return bytes(memory.getbuffer())


def test_without_matplotlib_the_extra_is_named_and_the_import_of_the_package_stays_free_of_it():
    code = """
        import sys
        sys.modules["matplotlib"] = None
        import polars_rasteret as pr
        try:
            pr.testing.example_scenes().raster.plot("red")
        except pr.errors.UsageError as error:
            print(error)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert 'pip install "polars-rasteret[plot]"' in done.stdout
    code = "import sys, polars_rasteret; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_a_table_of_many_outlines_is_one_collection_of_matplotlib(store):
    scenes = scene(store, cog(noise())).collect()
    many = pl.concat([scenes] * 200)
    ax = many.raster.plot()
    assert len([one for one in ax.collections if isinstance(one, PolyCollection)]) == 1
    assert len(ax.texts) == 0  # too many to be read
