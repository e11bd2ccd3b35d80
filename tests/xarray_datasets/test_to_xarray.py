"""Is a Dataset of a collection what was written into its files, for every key, and is it read only when it is used?"""

from __future__ import annotations

import asyncio
import pickle

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
import rasterio.features
import shapely
import xarray as xr
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.recorded import Store, noise, tiff

SIZE, TILE = 512, 128
DAYS = ["2024-01-15T10:00:00Z", "2024-02-15T10:00:00Z", "2024-02-20T23:30:00Z"]


def scl(at):
    return (noise(10 + at, height=SIZE, width=SIZE) % 12).astype(np.uint8)


@pytest.fixture(scope="module")
def archive():
    store = Store()
    rows = []
    for at, day in enumerate(DAYS):
        red = tiff(noise(at, height=SIZE, width=SIZE), tile=TILE, nodata=0)
        rows.append(
            {
                "id": f"r{at}",
                "datetime": day,
                "orbit": "ab"[at % 2],
                "red": store.put(f"r{at}-red.tif", red),
                "scl": store.put(f"r{at}-scl.tif", tiff(scl(at), tile=TILE)),
            }
        )
    yield store, scenes_of(rows)
    store.close()


def scenes_of(rows):
    table = pl.DataFrame(rows).with_columns(pl.col("datetime").str.to_datetime("%+", time_zone="UTC", time_unit="us"))
    bands = {name: f"href_{name}" for name in ("red", "scl") if name in table.columns}
    table = table.rename({name: f"href_{name}" for name in bands})
    return pr.build_from_table(table, bands=bands, on_error="raise").collect().lazy()


@pytest.fixture
def store(archive):
    """The files, of which nothing is cached."""
    archive[0].clear()
    with pr.options(cache_bytes=0):
        yield archive[0]


@pytest.fixture(scope="module")
def cube(archive):
    return archive[1].raster.to_xarray()


RED = np.stack([noise(at, height=SIZE, width=SIZE)[0] for at in range(3)])
SCL = np.stack([scl(at)[0] for at in range(3)])


def test_all_records_without_bounds_have_their_pixels_dtypes_times_and_ids(cube):
    assert dict(cube.sizes) == {"time": 3, "y": SIZE, "x": SIZE}
    np.testing.assert_array_equal(cube.red.values, RED)
    np.testing.assert_array_equal(cube.scl.values, SCL)
    assert (cube.red.dtype, cube.scl.dtype) == (np.uint16, np.uint8)
    assert cube.time.values.astype(str).tolist() == [
        "2024-01-15T10:00:00.000000",
        "2024-02-15T10:00:00.000000",
        "2024-02-20T23:30:00.000000",
    ]
    assert cube.record_id.values.tolist() == ["r0", "r1", "r2"]
    assert cube.x.values[[0, -1]].tolist() == [500_005.0, 500_000.0 + SIZE * 10 - 5]
    assert cube.y.values[[0, -1]].tolist() == [4_999_995.0, 5_000_000.0 - SIZE * 10 + 5]
    assert cube.red.attrs["_FillValue"] == 0
    assert isinstance(cube.red.attrs["_FillValue"], np.uint16)
    assert "_FillValue" not in cube.scl.attrs
    assert cube.scl_valid.values.all()


def test_looking_reads_nothing_and_a_small_box_of_one_time_reads_its_own_tiles(store, archive):
    cube = archive[1].raster.to_xarray(bands=["red"])
    repr(cube), cube._repr_html_()
    small = cube.sel(time="2024-02-15T10:00:00", x=slice(500_000, 500_600), y=slice(5_000_000, 4_999_400)).squeeze()
    assert small.red.shape == (60, 60)
    assert store.requests == []
    np.testing.assert_array_equal(small.red.values, RED[1, :60, :60])
    assert store.names == {"r1-red.tif"}
    assert store.bytes == TILE * TILE * 2


indices = st.one_of(
    st.integers(-SIZE, SIZE - 1),
    st.builds(
        slice,
        st.none() | st.integers(-600, 600),
        st.none() | st.integers(-600, 600),
        st.none() | st.sampled_from([-70, -3, -1, 1, 2, 5, 90]),
    ),
    st.lists(st.integers(-SIZE, SIZE - 1), max_size=5).map(lambda one: np.array(one, np.int64)),
)
times = st.one_of(
    st.integers(-3, 2), st.just(slice(None)), st.just(slice(None, None, -1)), st.just(np.array([2, 0, 0]))
)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(time=times, y=indices, x=indices)
def test_every_key_along_axes_gives_what_numpy_gives(cube, time, y, x):
    expected = RED[time]
    for axis, key in ((-2, y), (-1, x)):
        index = np.arange(SIZE)[key]
        expected = np.take(expected, index, axis=axis) if np.ndim(index) else np.take(expected, [index], axis=axis)
    found = cube.red.isel(time=time, y=y, x=x).values
    shape = [len(one) for one in (np.arange(3)[time], np.arange(SIZE)[y], np.arange(SIZE)[x]) if np.ndim(one)]
    np.testing.assert_array_equal(found, expected.reshape(shape))


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    places=st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), max_size=6),
    time=st.one_of(st.integers(0, 2), st.just(slice(None)), st.just(slice(2, None, -2))),
)
def test_pointwise_keys_give_what_numpy_gives(cube, places, time):
    rows, cols = (np.array([one[axis] for one in places], np.int64) for axis in (0, 1))
    found = cube.red.isel(time=time, y=xr.DataArray(rows, dims="place"), x=xr.DataArray(cols, dims="place"))
    expected = RED[:, rows, cols][time]
    np.testing.assert_array_equal(found.transpose(..., "place").values, expected)


def test_pointwise_keys_of_time_too_and_of_two_axes_give_what_numpy_gives(cube):
    rng = np.random.default_rng(5)
    time, row, col = (xr.DataArray(rng.integers(0, one, (3, 4)), dims=("a", "b")) for one in RED.shape)
    np.testing.assert_array_equal(
        cube.red.isel(time=time, y=row, x=col).values, RED[time.values, row.values, col.values]
    )
    found = cube.red.isel(y=row, x=col).transpose("time", "a", "b")
    np.testing.assert_array_equal(found.values, RED[:, row.values, col.values])
    half = cube.red.isel(y=xr.DataArray([3, 9], dims="a"), time=xr.DataArray([2, 1], dims="a")).transpose("a", "x")
    np.testing.assert_array_equal(half.values, RED[[2, 1], [3, 9]])


def test_distant_rows_and_places_read_their_tiles_and_not_the_box_around_them(store, archive):
    cube = archive[1].raster.to_xarray(bands=["red"]).isel(time=0)
    np.testing.assert_array_equal(cube.red.isel(y=[0, 511], x=[511, 0]).values, RED[0][np.ix_([0, 511], [511, 0])])
    assert store.bytes == 4 * TILE * TILE * 2
    store.clear()
    corners = xr.DataArray([70, 130], dims="place")
    np.testing.assert_array_equal(cube.red.isel(y=corners, x=corners).values, RED[0][[70, 130], [70, 130]])
    assert store.bytes == 2 * TILE * TILE * 2


def test_months_days_columns_and_no_group_make_time_steps(archive):
    scenes = archive[1]
    month = scenes.raster.to_xarray(bands=["red"], group_by="month", mosaic="max")
    assert month.time.values.astype("datetime64[D]").astype(str).tolist() == ["2024-01-01", "2024-02-01"]
    np.testing.assert_array_equal(month.red.values, [RED[0], RED[1:].max(axis=0)])
    assert month.record_id.dims == ("time", "record")
    assert month.record_id.values.tolist() == [["r0", ""], ["r1", "r2"]]
    orbit = scenes.raster.to_xarray(bands=["red"], group_by="orbit", mosaic="last_valid")
    assert orbit.orbit.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(orbit.red.values, [RED[2], RED[1]])
    # The scenes lie at 9 degrees east, where 23:30 in UTC is the next day.
    solar = scenes.raster.to_xarray(bands=["red"], group_by="solar_day")
    assert solar.time.values.astype("datetime64[D]").astype(str).tolist() == ["2024-01-15", "2024-02-15", "2024-02-21"]
    counted = scenes.raster.to_xarray(bands=["scl"], group_by="month", mosaic="count", valid=pl.col("scl") > 5)
    np.testing.assert_array_equal(counted.scl.values, [SCL[0] > 5, (SCL[1:] > 5).sum(axis=0)])
    assert counted.scl.dtype == np.uint32


def test_masked_cubes_are_nan_where_a_pixel_does_not_count(archive):
    cube = archive[1].raster.to_xarray(bands=["red"], masked=True, valid=pl.col("scl") > 5)
    assert cube.red.dtype == np.float32
    np.testing.assert_array_equal(cube.red.values, np.where(SCL > 5, RED, np.nan).astype(np.float32))
    assert np.isnan(cube.red.encoding["_FillValue"])
    assert "_FillValue" not in cube.red.attrs


def test_areas_have_an_axis_and_one_grid_and_pixels_as_rasterio_burns_them(store, archive):
    shapes = [
        shapely.Point(500_700, 4_999_300).buffer(215),
        shapely.box(502_000, 4_997_600, 502_333, 4_997_900),
    ]
    table = pl.DataFrame({"field": ["round", "square"], "geometry": [shapely.to_wkb(one) for one in shapes]})
    for coverage, all_touched in (("center", False), ("all_touched", True)):
        cube = archive[1].raster.to_xarray(table, ["red"], crs=32632, coverage=coverage)
        assert cube.red.dims == ("geometry", "time", "y", "x")
        assert cube.field.values.tolist() == ["round", "square"]
        left, top = round((cube.x.values[0] - 5 - 500_000) / 10), round((5_000_000 - cube.y.values[0] - 5) / 10)
        grid = Affine(10, 0, 500_000 + 10 * left, 0, -10, 5_000_000 - 10 * top)
        height, width = cube.sizes["y"], cube.sizes["x"]
        for at, shape in enumerate(shapes):
            burnt = rasterio.features.rasterize(
                [(shape, 1)], (height, width), transform=grid, all_touched=all_touched
            ).astype(bool)
            expected = np.where(burnt, RED[:, top : top + height, left : left + width], 0)
            np.testing.assert_array_equal(cube.red.isel(geometry=at).values, expected)
            where = {"y": xr.DataArray([10, 30], dims="p"), "x": xr.DataArray([9, 20], dims="p")}
            np.testing.assert_array_equal(cube.red.isel(geometry=at, **where).values, expected[:, [10, 30], [9, 20]])
    store.clear()
    archive[1].raster.to_xarray(table, ["red"], crs=32632).isel(geometry=1, time=0).load()
    assert store.names == {"r0-red.tif"}
    assert store.bytes == TILE * TILE * 2


def test_one_geometry_is_its_bounds_and_its_coverage(archive):
    shape = shapely.Point(500_700, 4_999_300).buffer(215)
    cube = archive[1].raster.to_xarray(bands=["red"], geometry=shape, crs=32632)
    np.testing.assert_array_equal(cube.red.values, RED[:, 48:92, 48:92])
    cut = archive[1].raster.to_xarray(bands=["red"], geometry=shape, crs=32632, coverage="center", masked=True)
    grid = Affine(10, 0, 500_480, 0, -10, 4_999_520)
    burnt = rasterio.features.rasterize([(shape, 1)], (44, 44), transform=grid).astype(bool)
    np.testing.assert_array_equal(cut.red.values, np.where(burnt, RED[:, 48:92, 48:92], np.nan).astype(np.float32))


def test_bounds_beyond_the_images_are_filled(archive):
    cube = archive[1].raster.to_xarray((499_950, 4_999_980, 500_020, 5_000_050), crs=32632)
    assert cube.red.shape == (3, 7, 7)
    expected = np.zeros((3, 7, 7), np.uint16)
    expected[:, 5:, 5:] = RED[:, :2, :2]
    np.testing.assert_array_equal(cube.red.values, expected)
    np.testing.assert_array_equal(cube.scl_valid.values[0], expected[0] > 0)


def test_a_cube_travels_as_hrefs_and_reads_in_dask_threads_and_event_loops(archive):
    cube = archive[1].raster.to_xarray(bands=["red"])
    sent = pickle.dumps(cube)
    assert len(sent) < 40_000
    np.testing.assert_array_equal(pickle.loads(sent).red.values, RED)
    chunked = archive[1].raster.to_xarray(bands=["red"], chunks={"time": 1, "y": 100})
    assert chunked.red.chunks is not None
    np.testing.assert_array_equal(chunked.red.max("time").values, RED.max(axis=0))
    np.testing.assert_array_equal(asyncio.run(cube.isel(y=slice(3, 70)).load_async()).red.values, RED[:, 3:70])


def test_several_crs_are_refused_with_the_way_out(archive):
    store = Store()
    rows = []
    for at, epsg in enumerate((32632, 32632, 32633)):
        href = store.put(f"c{at}.tif", tiff(noise(at, height=64, width=64), epsg=epsg, tile=64))
        rows.append({"id": f"c{at}", "datetime": DAYS[at], "red": href})
    scenes = scenes_of(rows)
    with pytest.raises(pr.errors.UsageError, match=r"EPSG:32632 \(2 records\), EPSG:32633 \(1 records\).*target_crs"):
        scenes.raster.to_xarray()
    cube = scenes.raster.to_xarray(target_crs=3857, resolution=30)
    assert cube.sizes["time"] == 3
    assert (cube.red.isel(time=slice(0, 2)).max(("y", "x")) > 0).all()
    assert float(cube.x[0] % 30) == 15
    store.close()


def test_what_cannot_be_read_is_listed_and_no_step_disappears(archive):
    store = Store()
    rows = [
        {
            "id": f"f{at}",
            "datetime": DAYS[at],
            "red": store.put(f"f{at}.tif", tiff(noise(at, height=64, width=64), tile=64)),
        }
        for at in range(2)
    ]
    scenes = scenes_of(rows)
    del store.files.by_name["f1.tif"]
    cube = scenes.raster.to_xarray(on_error="null")
    values = cube.red.values
    np.testing.assert_array_equal(values[0], noise(0, height=64, width=64)[0])
    assert (values[1] == cube.red.attrs.get("_FillValue", 0)).all()
    assert len(cube.attrs["read_errors"]) == 1
    assert "f1" in cube.attrs["read_errors"][0]
    with pytest.raises(pr.errors.FetchError):
        scenes.raster.to_xarray().red.load()
    store.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"bounds": (0, 0, 1, 1)}, "crs"),
        ({"bounds": (500_000, 4_999_000, 499_000, 5_000_000), "crs": 32632}, "minx < maxx"),
        ({"crs": 4326}, "target_crs"),
        ({"group_by": "week"}, "group_by"),
        ({"mosaic": "best"}, "mosaic"),
        ({"bands": ["nir"]}, "nir"),
        ({"grid": "blue"}, "grid"),
        ({"coverage": "exact"}, "coverage"),
        ({"bounds": (20.0, 10.0, 21.0, 11.0), "crs": 4326}, "no record"),
        ({"bounds": (0, 0, 1, 1), "geometry": shapely.box(0, 0, 1, 1), "crs": 4326}, "both"),
    ],
)
def test_wrong_words_are_told(archive, words, said):
    with pytest.raises(pr.errors.UsageError, match=said):
        archive[1].raster.to_xarray(**words)


@pytest.mark.parametrize(
    ("words", "key", "bound"),
    [
        ({"bands": ["red"]}, {"time": 1, "x": slice(0, 60), "y": slice(100, 200)}, "exact"),
        ({}, {"time": slice(0, 2), "x": [0, 511], "y": slice(5, 9)}, "exact"),
        (
            {"bands": ["red"], "masked": True},
            {"x": xr.DataArray([3, 300], dims="p"), "y": xr.DataArray([9, 9], dims="p")},
            "exact",
        ),
        ({"bands": ["red"], "valid": pl.col("scl") > 5}, {"time": 0, "x": slice(0, 60), "y": slice(0, 60)}, "upper"),
    ],
)
def test_an_estimate_of_a_part_of_a_cube_is_what_loading_it_reads(archive, words, key, bound):
    store, scenes = archive
    part = scenes.raster.to_xarray(**words).isel(key)
    store.clear()
    with pr.options(cache_bytes=100_000_000):
        clear_cache()
        cost = pr.estimate(part)
        assert store.requests == []
        assert cost.bound == bound
        pickle.loads(pickle.dumps(part)).load()
    if bound == "exact":
        assert (cost.bytes, cost.requests) == (store.bytes, len(store.requests))
    assert cost.bytes >= store.bytes > 0


def test_an_estimate_of_a_cube_far_beyond_the_memory_takes_none(archive):
    cube = archive[1].raster.to_xarray((0, 4_000_000, 1_000_000, 5_000_000), ["red"], crs=32632)
    assert cube.nbytes > 5e10
    cost = pr.estimate(cube)
    assert (cost.tiles, cost.bytes) == (3 * 16, 3 * SIZE * SIZE * 2)
    loaded = cube.isel(time=0, x=slice(0, 2), y=slice(0, 2)).load()
    assert pr.estimate(loaded).bytes == 0
