"""Are resampled windows those that rasterio cuts, for expressions and the verb?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.features import geometry_mask
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.warp import reproject, transform_bounds
from rasterio.windows import from_bounds

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support.engines import ENGINES

PREFIX = "memory://resampled/"
LEFT, TOP, SIDE = 600_000.0, 5_200_000.0, 4_800.0
STEPS = {"b10": 10, "b20": 20, "b60": 60}
NODATA = {"b10": 0, "b20": 0, "b60": 0, "temp": -9_999.0, "plain": None}


@cache
def pixels(name: str) -> np.ndarray:
    """One array at 10 m; coarser bands are means of it, with holes of nodata and NaN."""
    rng = np.random.default_rng(7)
    fine = rng.integers(1, 9_000, (480, 480))
    if name == "temp":
        values = (fine / 7).astype(np.float32)
        values[rng.random(fine.shape) < 0.05] = -9_999.0
        values[300:320, 40:90] = np.nan
        return values
    if name == "plain":
        return fine.astype(np.int16)
    step = STEPS[name] // 10
    values = fine.reshape(480 // step, step, 480 // step, step).mean(axis=(1, 3)).astype(np.uint16)
    values[100 // step : 160 // step, 200 // step : 300 // step] = 0
    return values


@cache
def file_of(name: str) -> bytes:
    values = pixels(name)
    step = SIDE / values.shape[0]
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype.name, "nodata": NODATA[name], "crs": "EPSG:32632"}
    size = {"height": values.shape[0], "width": values.shape[1], "tiled": True, "blockxsize": 64, "blockysize": 64}
    with MemoryFile() as memory:
        with memory.open(**profile, **size, transform=Affine(step, 0, LEFT, 0, -step, TOP), compress="deflate") as sink:
            sink.write(values, 1)
            sink.build_overviews([2, 4, 8], Resampling.average)
        return bytes(memory.read())


def reading(name: str, **how) -> np.ndarray:
    with MemoryFile(file_of(name)) as memory, memory.open() as source:
        return source.read(1, **how)


@pytest.fixture(scope="module")
def scene() -> pl.LazyFrame:
    names = [*NODATA]
    pr.configure_store(PREFIX, store=pr.testing.MemorySource({f"{PREFIX}{name}.tif": file_of(name) for name in names}))
    table = pl.DataFrame({"id": ["one"], **{f"href_{name}": [f"{PREFIX}{name}.tif"] for name in names}})
    return pr.build_from_table(table, bands={name: f"href_{name}" for name in names}).collect().lazy()


def boxes(seed: int, n: int) -> list[tuple[float, float, float, float]]:
    """Boxes inside of the images."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(60, 2_500, (n, 2))
    corner = rng.uniform(0, 1, (n, 2)) * (SIDE - sizes)
    low = np.stack([LEFT + corner[:, 0], TOP - SIDE + corner[:, 1]], axis=1)
    return [tuple(one) for one in np.concatenate([low, low + sizes], axis=1).tolist()]


def with_boxes(scene: pl.LazyFrame, bounds) -> pl.LazyFrame:
    names = ("xmin", "ymin", "xmax", "ymax")
    return scene.join(pl.LazyFrame({"box": [dict(zip(names, one, strict=True)) for one in bounds]}), how="cross")


def cut(name: str, bounds, shape, method: str = "nearest") -> np.ndarray:
    values = pixels(name)
    step = SIDE / values.shape[0]
    window = from_bounds(*bounds, transform=Affine(step, 0, LEFT, 0, -step, TOP))
    return reading(name, window=window, out_shape=shape, resampling=Resampling[method])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*NODATA])
def test_decimated_nearest_boxes_equal_those_of_rasterio(name, engine, scene):
    bounds = boxes(1, 25)
    for shape in [(16, 16), (37, 20), (100, 120)]:
        asked = with_boxes(scene, bounds).select(pl.col(name).raster.read_window("box", crs=32632, shape=shape))
        got = asked.collect(engine=engine)[name]
        assert got.dtype == pl.Array(pl.Series(pixels(name)[0]).dtype, shape)
        np.testing.assert_array_equal(got.to_numpy(), np.stack([cut(name, one, shape) for one in bounds]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_shapes_of_overviews_give_the_overviews(factor, engine, scene):
    shape = (480 // factor, 480 // factor)
    got = scene.select(pl.col("b10").raster.read_window(shape=shape)).collect(engine=engine)["b10"]
    np.testing.assert_array_equal(got.to_numpy()[0], reading("b10", out_shape=shape))
    with pr.profile() as profile:
        clipped = (LEFT + 640, TOP - 3200, LEFT + 3200, TOP - 640)
        one = scene.select(pl.col("plain").raster.read_window(clipped, crs=32632, shape=(256 // factor, 256 // factor)))
        np.testing.assert_array_equal(
            one.collect(engine=engine)["plain"].to_numpy()[0], cut("plain", clipped, (256 // factor, 256 // factor))
        )
    assert profile.summary()["decoded_tiles"].item() <= 25 / factor**2 + 9


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["b10", "plain"])
@pytest.mark.parametrize("method", ["bilinear", "cubic_spline"])
def test_mixed_boxes_are_within_one_of_rasterio(method, name, masked, scene):
    bounds = boxes(2, 25)
    for shape in [(16, 16), (100, 120)]:
        read = pl.col(name).raster.read_window("box", crs=32632, shape=shape, resampling=method, masked=masked)
        got = with_boxes(scene, bounds).select(read).collect()[name]
        wanted = np.stack([cut(name, one, shape, method) for one in bounds])
        if masked and NODATA[name] is not None:
            flat = got.explode().explode()
            assert flat.is_null().to_numpy().tolist() == (wanted == NODATA[name]).ravel().tolist()
            values = flat.fill_null(NODATA[name]).to_numpy()
        else:
            values = got.to_numpy().ravel()
        assert np.abs(values.astype(np.int64) - wanted.ravel().astype(np.int64)).max() <= 1


@pytest.mark.parametrize("method", ["cubic", "lanczos", "average", "mode"])
def test_other_methods_give_what_rasterio_gives_away_from_the_edges(method, scene):
    """GDAL cuts off kernels at the edges of a window, and knows no NaN but as a value."""
    box, shape = (LEFT + 600, TOP - 4_000, LEFT + 4_120, TOP - 1_760), (56, 88)  # 4 m beside borders of 40 m pixels
    got = scene.select(pl.col("plain").raster.read_window(box, crs=32632, shape=shape, resampling=method)).collect()
    difference = got["plain"].to_numpy()[0].astype(np.int64) - cut("plain", box, shape, method).astype(np.int64)
    assert np.abs(difference[4:-4, 4:-4]).max() <= 1


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    left=st.floats(-700, 5_000), top=st.floats(-700, 5_000), size=st.floats(30, 2_000), height=st.integers(1, 40),
    width=st.integers(1, 40), masked=st.booleans(),
)  # fmt: skip
def test_parts_outside_of_the_image_are_filled(scene, left, top, size, height, width, masked):
    """Without an overview in play, each pixel is the one under its centre."""
    box = (LEFT + left, TOP - top - size, LEFT + left + size, TOP - top)
    height, width = max(height, int(size / 9)), max(width, int(size / 9))
    read = pl.col("b10").raster.read_window(box, crs=32632, shape=(height, width), masked=masked, fill_value=77)
    got = scene.select(read).collect()["b10"].to_list()[0]
    if left >= SIDE or top >= SIDE or left + size <= 0 or top + size <= 0:
        assert got is None
        return
    if got is None:  # a sliver of less than a rounding error
        assert min(abs(one) for one in (left - SIDE, top - SIDE, left + size, top + size)) < 1e-4
        return
    rows = np.floor((top + (np.arange(height) + 0.5) * size / height) / 10).astype(int)
    cols = np.floor((left + (np.arange(width) + 0.5) * size / width) / 10).astype(int)
    padded = np.full((1000, 1000), 77)
    padded[150:630, 150:630] = pixels("b10")
    wanted = padded[np.ix_(rows + 150, cols + 150)].tolist()
    if masked:
        is_inside = np.zeros((1000, 1000), np.bool_)
        is_inside[150:630, 150:630] = pixels("b10") != 0
        inside = is_inside[np.ix_(rows + 150, cols + 150)].tolist()
        wanted = [[v if i else None for v, i in zip(*one, strict=True)] for one in zip(wanted, inside, strict=True)]
    assert got == wanted


@pytest.mark.parametrize("engine", ENGINES)
def test_windows_in_pixels_are_resized_where_they_have_another_size(engine, scene):
    frame = scene.join(pl.LazyFrame({"size": [16, 40, 200, None]}), how="cross")
    window = (10, pl.col("size") + 10, 300, pl.col("size") + 300)
    got = frame.select(pl.col("b10").raster.read_window(window=window, shape=(40, 40))).collect(engine=engine)["b10"]
    for one, size in zip(got.to_list(), (16, 40, 200, None), strict=True):
        if size is None:
            assert one is None
            continue
        # A window of 200 at column 300 reaches 20 pixels beyond the image: those are outside.
        inside = min(size, 180)
        if size == inside:
            wanted = reading("b10", window=rasterio.windows.Window(300, 10, size, size), out_shape=(40, 40))
        else:
            wanted = np.zeros((40, 40), np.uint16)
            part = reading("b10", window=rasterio.windows.Window(300, 10, 180, 200), out_shape=(40, 36))
            wanted[:, :36] = part
        np.testing.assert_array_equal(np.array(one), wanted)
    numbers = scene.select(pl.col("b10").raster.read_window(window=(10, 210, 200, 400), shape=(25, 50)))
    wanted = reading("b10", window=rasterio.windows.Window(200, 10, 200, 200), out_shape=(25, 50))
    np.testing.assert_array_equal(numbers.collect(engine=engine)["b10"].to_numpy()[0], wanted)


@pytest.mark.parametrize("resolution", [25, (40.0, 15.0), 100_000])
def test_resolution_gives_the_nearest_whole_number_of_pixels_over_exactly_the_box(resolution, scene):
    bounds = boxes(4, 6)
    read = pl.col("b20").raster.read_window("box", crs=32632, resolution=resolution, resampling="bilinear")
    got = with_boxes(scene, bounds).select(read).collect()["b20"]
    x, y = (resolution, resolution) if isinstance(resolution, int) else resolution
    for one, (left, bottom, right, top) in zip(got.to_list(), bounds, strict=True):
        height, width = max(1, round((top - bottom) / y)), max(1, round((right - left) / x))
        assert (one["height"], one["width"], one["crs"]) == (height, width, "EPSG:32632")
        grid = [(right - left) / width, 0, left, 0, -(top - bottom) / height, top]
        np.testing.assert_allclose(one["transform"], grid, rtol=1e-12, atol=1e-9)
        wanted = cut("b20", (left, bottom, right, top), (height, width), "bilinear").astype(np.int64)
        assert np.abs(np.array(one["pixels"]).reshape(height, width) - wanted).max() <= 1


def test_a_box_in_another_crs_covers_its_edges_followed_densely(scene):
    box = (10.335, 46.92, 10.362, 46.935)
    wanted = transform_bounds("OGC:CRS84", "EPSG:32632", *box, densify_pts=200)
    got = scene.select(pl.col("plain").raster.read_window(box, crs=4326, resolution=10)).collect()["plain"].to_list()[0]
    a, _, c, _, e, f = got["transform"]
    found = (c, f + e * got["height"], c + a * got["width"], f)
    np.testing.assert_allclose(found, wanted, atol=0.05)
    np.testing.assert_array_equal(
        np.array(got["pixels"]).reshape(got["height"], got["width"]), cut("plain", found, (got["height"], got["width"]))
    )


# Bands on different grids.


def onto(name: str, transform: Affine, shape: tuple[int, int]) -> np.ndarray:
    values = np.zeros(shape, pixels(name).dtype)
    step = SIDE / pixels(name).shape[0]
    reproject(
        pixels(name), values, src_transform=Affine(step, 0, LEFT, 0, -step, TOP), src_crs="EPSG:32632",
        dst_transform=transform, dst_crs="EPSG:32632", resampling=Resampling.nearest, init_dest_nodata=True,
    )  # fmt: skip
    return values


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("grid", "step"), [("finest", 10), ("coarsest", 60), ("b20", 20)])
@pytest.mark.parametrize("stack", [False, True])
def test_bands_around_a_point_come_onto_one_grid(stack, grid, step, engine, scene):
    bands, shape = ["b60", "b10", "b20"], (9, 12)
    rng = np.random.default_rng(11)
    x, y = LEFT + rng.uniform(100, SIDE - 100, 12), TOP - rng.uniform(100, SIDE - 100, 12)
    points = pl.DataFrame({"x": x, "y": y})
    asked = scene.raster.read_windows(points, bands, shape=shape, crs=32632, grid=grid, stack=stack)
    got = asked.collect(engine=engine)
    geometry = shapely.to_wkb(shapely.points(x, y))
    rows = scene.join(pl.LazyFrame({"aoi": pl.Series(list(geometry), dtype=pl.Binary)}), how="cross")
    read = pr.read_window(bands, "aoi", crs=32632, shape=shape, grid=grid, stack=stack)
    expressed = rows.select(read).collect(engine=engine)["pixels"]
    for at in range(12):
        row, col = int((TOP - y[at]) // step) - shape[0] // 2, int((x[at] - LEFT) // step) - shape[1] // 2
        transform = Affine(step, 0, LEFT + step * col, 0, -step, TOP - step * row)
        assert got["transform"][at].to_list() == list(transform)[:6]
        for index, name in enumerate(bands):
            wanted = onto(name, transform, shape)
            one = got["pixels"][at].to_numpy()[index] if stack else got[name][at].to_numpy()
            np.testing.assert_array_equal(one, wanted)
            other = expressed[at].to_numpy()[index] if stack else np.array(expressed[at][name])
            np.testing.assert_array_equal(other, wanted)


def test_what_is_selected_does_not_change_the_grid(scene):
    points = pl.DataFrame({"x": [LEFT + 1_234.0], "y": [TOP - 2_345.0]})
    asked = scene.raster.read_windows(points, ["b60", "b10"], shape=(8, 8), crs=32632)
    assert asked.select("b60").collect()["b60"].to_list() == asked.collect()["b60"].to_list()
    assert asked.select("transform").collect().item()[0] == 10


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_of_bands_of_all_sizes_cover_the_same(engine, scene):
    bounds = boxes(6, 5)
    aois = [shapely.box(*one) for one in bounds]
    how = {"shape": (50, 60), "crs": 32632, "resampling": {"b60": "bilinear"}}
    got = scene.raster.read_windows(aois, ["b10", "b60"], **how).collect(engine=engine)
    for at, (left, bottom, right, top) in enumerate(bounds):
        np.testing.assert_array_equal(got["b10"][at].to_numpy(), cut("b10", bounds[at], (50, 60)))
        mixed = cut("b60", bounds[at], (50, 60), "bilinear").astype(np.int64)
        assert np.abs(got["b60"][at].to_numpy() - mixed).max() <= 1
        grid = [(right - left) / 60, 0, left, 0, -(top - bottom) / 50, top]
        np.testing.assert_allclose(got["transform"][at].to_list(), grid, rtol=1e-12, atol=1e-9)
    assert got["raster_crs"].to_list() == ["EPSG:32632"] * 5


@pytest.fixture(scope="module")
def turned() -> pl.LazyFrame:
    """A band in the zone of the other one's neighbour, and one on a grid turned by 30 degrees."""
    rng = np.random.default_rng(9)
    east, north = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(LEFT, TOP)
    grids = {
        "here": (32632, Affine(10, 0, LEFT, 0, -10, TOP)),
        "zone": (32633, Affine(20, 0, round(east) - 900, 0, -20, round(north) + 900)),
        "slant": (32632, Affine.translation(LEFT - 900, TOP) @ Affine.rotation(30) @ Affine.scale(20, -20)),
    }
    files = {}
    for name, (epsg, transform) in grids.items():
        profile = {"driver": "GTiff", "height": 240, "width": 240, "count": 1, "dtype": "uint16", "crs": f"EPSG:{epsg}"}
        with MemoryFile() as memory:
            with memory.open(
                **profile, transform=transform, nodata=0, tiled=True, blockxsize=64, blockysize=64
            ) as sink:
                values = rng.integers(1, 9_000, (240, 240)).astype(np.uint16)
                if name == "zone":
                    values[60:180:9, 50:200] = 0
                sink.write(values, 1)
            files[f"memory://turned/{name}.tif"] = bytes(memory.read())
    pr.configure_store("memory://turned/", store=pr.testing.MemorySource(files))
    table = pl.DataFrame({"id": ["one"], **{name: [f"memory://turned/{name}.tif"] for name in grids}})
    table = table.rename({name: f"href_{name}" for name in grids})
    return pr.build_from_table(table, bands={name: f"href_{name}" for name in grids}).collect().lazy()


def test_bands_of_other_crs_and_turned_ones_are_looked_up_pixel_by_pixel(turned):
    points = pl.DataFrame({"x": [LEFT + 1_000.0, LEFT + 40.0], "y": [TOP - 900.0, TOP - 1_500.0]})
    got = turned.raster.read_windows(points, ["here", "zone", "slant"], shape=(20, 30), crs=32632).collect()
    for at in range(2):
        grid = Affine(*got["transform"][at].to_list())
        assert tuple(grid)[:2] == (10, 0)
        cols, rows = np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5)
        x, y = grid @ (cols, rows)
        for name in ("zone", "slant"):
            values, transform, crs = whole(turned, name)
            moved = pyproj.Transformer.from_crs(32632, crs, always_xy=True).transform(x, y)
            col, row = ~transform @ moved
            row, col = np.floor(row).astype(int), np.floor(col).astype(int)
            inside = (row >= 0) & (row < 240) & (col >= 0) & (col < 240)
            wanted = np.where(inside, values[row.clip(0, 239), col.clip(0, 239)], 0)
            np.testing.assert_array_equal(got[name][at].to_numpy(), wanted)


@pytest.mark.parametrize("method", ["average", "mode"])
def test_means_and_modes_of_turned_bands_are_those_of_gdals_warper(turned, method):
    values, transform, _ = whole(turned, "slant")
    box = (LEFT + 500.0, TOP - 2_500.0, LEFT + 1_500.0, TOP - 1_300.0)
    frame = turned.with_columns(pl.col("slant"), pl.col("here").raster.with_metadata(nodata=0))
    got = frame.raster.read_windows(
        [shapely.box(*box)], ["here", "slant"], resolution=50, grid="here", crs=32632, resampling=method
    )
    expected = np.zeros((24, 20), np.uint16)
    where = {"src_crs": "EPSG:32632", "dst_crs": "EPSG:32632", "src_transform": transform}
    reproject(
        values,
        expected,
        **where,
        dst_transform=Affine(50, 0, box[0], 0, -50, box[3]),
        resampling=Resampling[method],
        src_nodata=0,
        dst_nodata=0,
        XSCALE=1,
        YSCALE=1,
    )
    found = np.array(got.collect()["slant"].to_list()[0]["pixels"]).reshape(24, 20)
    assert (expected > 0).mean() > 0.5
    off = np.abs(found.astype(int) - expected)[(found > 0) & (expected > 0)]
    assert off.size > 200
    assert off.max() <= (1 if method == "average" else 0)


def whole(frame: pl.LazyFrame, name: str):
    one = frame.select(pl.col(name).raster.read_window()).collect()[name].to_list()[0]
    return np.array(one["pixels"]).reshape(240, 240), Affine(*one["transform"]), one["crs"]


def test_mixed_values_of_turned_bands_lie_between_their_neighbours(turned):
    point = pl.DataFrame({"x": [LEFT + 1_000.0], "y": [TOP - 900.0]})
    how = {"shape": (20, 30), "crs": 32632}
    near = turned.raster.read_windows(point, ["here", "slant"], **how).collect()["slant"].to_numpy()[0]
    mixed = turned.raster.read_windows(point, ["here", "slant"], **how, resampling="bilinear").collect()
    difference = np.abs(mixed["slant"].to_numpy()[0].astype(int) - near)
    assert 0 < difference.max() < 9_000
    assert (difference == 0).mean() < 0.1


@pytest.mark.parametrize("method", ["average", "mode", "bilinear", "cubic", "nearest"])
@pytest.mark.parametrize("name", ["zone", "slant"])
def test_bands_brought_onto_another_grid_are_those_of_the_warper(turned, name, method):
    """As `rasterio.warp.reproject` of the whole image onto the grid of the answer.

    Left alone, GDAL learns how coarse the answer is from the bounding boxes of its chunks: on turned grids it blurs.
    """
    factor = 1 if method in {"bilinear", "cubic", "nearest"} else 3.05
    side = 600.0
    box = pl.DataFrame(
        {"geometry": [shapely.to_wkb(shapely.box(LEFT + 900, TOP - 900 - side, LEFT + 900 + side, TOP - 900))]}
    )
    words = {"crs": 32632, "resolution": 20 * factor, "grid": "here", "resampling": {name: method}}
    got = turned.raster.read_windows(box, ["here", name], **words).collect()
    here, one = got["here"].to_list()[0], got[name].to_list()[0]
    size = one["height"], one["width"]
    assert (here["height"], here["width"]) == size
    values, transform, crs = whole(turned, name)
    wanted = np.zeros(size, np.uint16)
    reproject(
        values,
        wanted,
        src_transform=transform,
        src_crs=crs,
        src_nodata=0,
        dst_transform=Affine(*one["transform"]),
        dst_crs="EPSG:32632",
        dst_nodata=0,
        resampling=Resampling[method],
        tolerance=0,
        XSCALE=1.0,
        YSCALE=1.0,
    )
    pixels = np.array(one["pixels"]).reshape(size)
    assert (wanted > 1).mean() > 0.8  # cubic weights overshoot the range of the dtype here and there
    if method in {"nearest", "mode"}:
        np.testing.assert_array_equal(pixels, wanted)
    else:
        assert np.abs(pixels.astype(int) - wanted).max() <= 1


def test_a_box_on_a_turned_grid_is_resampled_along_that_grid(turned):
    values, transform, _ = whole(turned, "slant")
    rows, cols = (40, 104), (60, 140)
    corners = [transform @ (col, row) for col, row in ((60, 40), (140, 40), (140, 104), (60, 104))]
    aoi = [shapely.Polygon(corners)]
    got = turned.raster.read_windows(aoi, ["slant"], shape=(32, 40), crs=32632, resampling="average").collect()
    wanted = values[slice(*rows), slice(*cols)].reshape(32, 2, 40, 2).mean(axis=(1, 3))
    assert np.abs(got["slant"].to_numpy()[0] - wanted).max() <= 0.5
    grid = transform @ Affine.translation(60, 40) @ Affine.scale(2)
    np.testing.assert_allclose(got["transform"][0].to_list(), list(grid)[:6], rtol=1e-9)


# Fill, coverage and validity.


def polygons() -> list[shapely.Geometry]:
    rng = np.random.default_rng(12)
    centres = np.stack([LEFT + rng.uniform(0, SIDE, 8), TOP - rng.uniform(0, SIDE, 8)], axis=1)
    made = [shapely.Point(*one).buffer(400, quad_segs=3) for one in centres.tolist()]
    made.append(made[0].difference(shapely.buffer(made[0].centroid, 150)))
    return made


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("name", ["b20", "plain"])
def test_what_a_polygon_does_not_cover_is_blank(name, all_touched, engine, scene):
    how = {"coverage": "all_touched" if all_touched else "center", "crs": 32632, "shape": (40, 50)}
    areas = polygons()
    plain = scene.raster.read_windows(areas, [name], crs=32632, shape=(40, 50), masked="column").collect(engine=engine)
    columns = scene.raster.read_windows(areas, [name], masked="column", **how).collect(engine=engine)
    filled = scene.raster.read_windows(areas, [name], fill_value=9, **how).collect(engine=engine)
    nulls = scene.raster.read_windows(areas, [name], masked=True, **how).collect(engine=engine)
    assert columns.height == plain.height > 6
    by_geometry = {one.wkb: one for one in areas}
    for at, wkb in enumerate(columns["geometry"].to_list()):
        grid = Affine(*columns["transform"][at].to_list())
        covered = geometry_mask([by_geometry[wkb]], (40, 50), grid, all_touched=all_touched, invert=True)
        values, valid = plain[name][at].to_numpy(), plain[f"{name}_valid"][at].to_numpy()
        np.testing.assert_array_equal(columns[name][at].to_numpy(), np.where(covered, values, NODATA[name] or 0))
        np.testing.assert_array_equal(columns[f"{name}_valid"][at].to_numpy(), covered & valid)
        is_outside = _is_outside(grid, (40, 50))
        np.testing.assert_array_equal(filled[name][at].to_numpy(), np.where(covered & ~is_outside, values, 9))
        wanted = np.where(covered & valid, values.astype(object), None).tolist()
        assert nulls[name].to_list()[at] == wanted


def _is_outside(grid: Affine, shape: tuple[int, int]) -> np.ndarray:
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x, y = grid @ (cols, rows)
    return (x < LEFT) | (x >= LEFT + SIDE) | (y > TOP) | (y <= TOP - SIDE)


def test_coverage_on_the_rasters_own_pixels(scene):
    areas = polygons()
    got = scene.raster.read_windows(areas, ["plain"], crs=32632, coverage="center", fill_value=-1).collect()
    assert got.height > 6
    by_geometry = {one.wkb: one for one in areas}
    for wkb, one in got.select("geometry", "plain").rows():
        shape, grid = (one["height"], one["width"]), Affine(*one["transform"])
        row, col = round((TOP - grid.f) / 10), round((grid.c - LEFT) / 10)
        values = pixels("plain")[row : row + shape[0], col : col + shape[1]]
        covered = geometry_mask([by_geometry[wkb]], shape, grid, invert=True)
        np.testing.assert_array_equal(np.array(one["pixels"]).reshape(shape), np.where(covered, values, -1))


@pytest.mark.parametrize("shape", [None, (30, 30), (64, 64)])
def test_the_fill_of_an_unscaled_window_is_in_its_units(shape, scene):
    scaled = scene.with_columns(pl.col("b10").raster.with_metadata(scale=0.5, offset=-3.0))
    window = (-10, 54, -4, 60)
    how = {"window": window, "shape": shape, "unscale": True}
    raw = scaled.select(pl.col("b10").raster.read_window(window=window, shape=shape)).collect()["b10"].to_list()[0]
    got = scaled.select(pl.col("b10").raster.read_window(**how, fill_value=0.25)).collect()["b10"].to_list()[0]
    raw, got = (one if shape else np.array(one["pixels"]).reshape(64, 64) for one in (raw, got))
    size = shape or (64, 64)
    rows = -10 + (np.arange(size[0]) + 0.5) * 64 / size[0]
    cols = -4 + (np.arange(size[1]) + 0.5) * 64 / size[1]
    wanted = np.where((rows[:, None] < 0) | (cols < 0), 0.25, np.array(raw) * 0.5 - 3)
    np.testing.assert_array_equal(np.array(got), wanted.astype(np.float32))
    point = pl.DataFrame({"x": [LEFT + 15.0], "y": [TOP - 25.0]})
    chip = scaled.raster.read_windows(point, ["b10"], shape=(9, 9), crs=32632, unscale=True, fill_value=0.25)
    wanted = np.full((9, 9), 0.25)
    wanted[2:, 3:] = pixels("b10")[:7, :6] * 0.5 - 3
    np.testing.assert_array_equal(chip.collect()["b10"].to_numpy()[0], wanted.astype(np.float32))


def test_nan_is_left_out_and_is_nodata_where_there_is_nothing_else(scene):
    box = (LEFT + 450, TOP - 3_150, LEFT + 850, TOP - 3_050)  # in the midst of NaN
    read = {
        masked: pl.col("temp").raster.read_window(box, crs=32632, shape=(20, 80), resampling="bilinear", masked=masked)
        for masked in (False, True)
    }
    assert (scene.select(read[False]).collect()["temp"].to_numpy() == NODATA["temp"]).all()
    assert scene.select(read[True]).collect()["temp"].explode().explode().null_count() == 1_600
    across = (LEFT + 300, TOP - 3_150, LEFT + 600, TOP - 3_050)
    mixed = scene.select(
        pl.col("temp").raster.read_window(across, crs=32632, shape=(10, 30), resampling="bilinear", masked=True)
    )
    assert mixed.collect()["temp"].explode().explode().drop_nulls().is_between(0, 9_000 / 7).all()


# Mixed targets, limits and refusals.


@pytest.mark.parametrize("engine", ENGINES)
def test_points_and_polygons_in_one_column_each_get_their_window(engine, scene):
    box = boxes(15, 1)[0]
    point = shapely.Point(LEFT + 1_003, TOP - 2_007)
    aois = pl.DataFrame({"geometry": [shapely.to_wkb(point), None, shapely.to_wkb(shapely.box(*box))]})
    verb = scene.raster.read_windows(aois, ["b10"], crs=32632, shape=(6, 6), unmatched="null").collect(engine=engine)
    rows = scene.join(aois.lazy().rename({"geometry": "aoi"}), how="cross")
    read = pl.col("b10").raster.read_window("aoi", crs=32632, shape=(6, 6))
    expressed = rows.select(read).collect(engine=engine)
    for got in (verb, expressed):
        assert got["b10"][1] is None
        np.testing.assert_array_equal(got["b10"][0].to_numpy(), pixels("b10")[197:203, 97:103])
        np.testing.assert_array_equal(got["b10"][2].to_numpy(), cut("b10", box, (6, 6)))


def test_answers_do_not_depend_on_the_size_of_units(scene):
    aois = [shapely.box(*one) for one in boxes(16, 12)]
    how = {"shape": (20, 20), "crs": 32632, "resampling": "bilinear", "masked": True}
    wanted = scene.raster.read_windows(aois, ["b10", "b60"], **how).collect()
    with pr.options(max_answer_bytes=120_000):
        small = scene.raster.read_windows(aois, ["b10", "b60"], **how)
        rows = with_boxes(scene, boxes(16, 12)).select(pr.read_window(["b10", "b60"], "box", **how))
    assert small.collect().equals(wanted)
    assert rows.collect()["pixels"].struct.field("b60").to_list() == wanted["b60"].to_list()
    with pr.options(max_answer_bytes=30_000), pytest.raises(UsageError, match=r"resampled from \d+ x \d+ pixels"):
        scene.select(pl.col("b10").raster.read_window(shape=(100, 100))).collect()


def test_the_budget_counts_what_windows_are_resampled_from(scene):
    aois = [shapely.box(LEFT, TOP - SIDE, LEFT + SIDE, TOP)]
    asked = {"shape": (60, 60), "crs": 32632}
    from polars_rasteret.fetch.scheduling.scheduler import clear_cache

    clear_cache()
    with pr.profile() as profile:
        scene.raster.read_windows(aois, ["b10"], **asked).collect()
    n_bytes = profile.summary()["bytes"].item()
    assert 0 < n_bytes < len(file_of("b10")) / 16
    scene.raster.read_windows(aois, ["b10"], **asked, budget_bytes=n_bytes).collect()
    with pytest.raises(pr.errors.BudgetError, match=f"{n_bytes:,} bytes"):
        scene.raster.read_windows(aois, ["b10"], **asked, budget_bytes=n_bytes - 1).collect()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"shape": (2, 2), "resampling": "gauss"}, "expected one of nearest, bilinear"),
        ({"shape": (2, 2), "resampling": {"b99": "cubic"}}, "none of the bands"),
        ({"shape": (2, 2), "resolution": 10}, "pass one of them"),
        ({"resolution": 0}, "above 0"),
        ({"resolution": (1, 2, 3)}, "above 0"),
        ({"resolution": 10, "stack": True}, "instead of resolution"),
        ({"shape": (2, 2), "grid": "b99"}, "grid='b99'"),
        ({"coverage": "exact"}, "coverage='exact'"),
        ({"resolution": 1e-6}, "max_answer_bytes"),
    ],
)
def test_wrong_words_are_refused(words, message, scene):
    aoi = [shapely.box(*boxes(1, 1)[0])]
    with pytest.raises(UsageError, match=message):
        scene.raster.read_windows(aoi, ["b10", "b20"], crs=32632, **words).collect()
    words = {name: value for name, value in words.items() if name != "coverage"}
    if words:
        with pytest.raises(UsageError, match=message):
            scene.select(pr.read_window(["b10", "b20"], boxes(1, 1)[0], crs=32632, **words)).collect()


def test_resolution_in_the_verb_gives_structs_and_their_grid(scene):
    aois = [shapely.box(*one) for one in boxes(1, 2)] + [shapely.Point(LEFT + 605, TOP - 605)]
    got = scene.raster.read_windows(aois, ["b20", "b10"], crs=32632, resolution=5, coverage="center").collect()
    assert got.columns[-4:] == ["b20", "b10", "transform", "raster_crs"]
    assert got["transform"].to_list() == got["b20"].struct.field("transform").to_list()
    assert got["b10"].struct.field("height").to_list() == got["b20"].struct.field("height").to_list()
    point = got["b10"].to_list()[2]  # the pixel of the finest grid that holds it
    assert (point["height"], point["width"], set(point["pixels"])) == (2, 2, {pixels("b10")[60, 60].item()})


def test_files_without_georeferencing_are_resized_by_pixels():
    values = np.random.default_rng(1).integers(0, 255, (64, 96)).astype(np.uint8)
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "height": 64, "width": 96, "count": 1, "dtype": "uint8"}
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning), memory.open(**profile) as sink:
            sink.write(values, 1)
        data = bytes(memory.read())
    pr.configure_store("memory://nowhere/", store=pr.testing.MemorySource({"memory://nowhere/a.tif": data}))
    lf = pr.build_from_files(["memory://nowhere/a.tif"], bands=["v"])
    got = lf.select(pl.col("v").raster.read_window(window=(0, 64, 0, 96), shape=(32, 32))).collect()["v"]
    np.testing.assert_array_equal(got.to_numpy()[0], values[1::2, 1::3])
    stack = lf.select(pr.read_window(["v"], shape=(64, 96), stack=True)).collect()["pixels"]
    np.testing.assert_array_equal(stack.to_numpy()[0, 0], values)
    with pytest.raises(UsageError, match="pass shape"):
        lf.select(pl.col("v").raster.read_window(resolution=10)).collect()


@pytest.mark.parametrize("shape", [(60, 60), (16, 16)])
def test_a_band_that_cannot_be_read_is_null_and_says_why(shape):
    files = {f"memory://broken/{name}.tif": file_of(name) for name in ("b10", "b60")}
    pr.configure_store("memory://broken/", store=pr.testing.MemorySource(files))
    table = pl.DataFrame(
        {"id": ["one"], "href_b10": ["memory://broken/b10.tif"], "href_b60": ["memory://broken/b60.tif"]}
    )
    lf = pr.build_from_table(table, bands={"b10": "href_b10", "b60": "href_b60"}).collect().lazy()
    del files["memory://broken/b60.tif"]
    aoi = [shapely.box(LEFT, TOP - SIDE, LEFT + SIDE, TOP), shapely.Point(LEFT + 500, TOP - 500)]
    asked = {"shape": shape, "crs": 32632, "resampling": "bilinear"}
    got = lf.raster.read_windows(aoi, ["b10", "b60"], **asked, on_error="null").collect()
    assert got["b60"].null_count() == 2
    assert got["b10"].null_count() == 0
    assert got["read_error"].str.starts_with("b60: ").all()
    with pytest.raises(pr.errors.FetchError, match=r"b60.*broken/b60\.tif"):
        lf.raster.read_windows(aoi, ["b10", "b60"], **asked).collect()
    box = (LEFT, TOP - SIDE, LEFT + SIDE, TOP)
    with pytest.warns(RuntimeWarning, match="are null because their read failed"):
        one = lf.select(pr.read_window(["b10", "b60"], box, crs=32632, shape=shape, on_error="null")).collect()
    assert one["pixels"].struct.field("b60").to_list() == [None]


def test_a_stack_of_unscaled_bands_is_filled_in_its_units(scene):
    scaled = scene.with_columns(pl.col("b10", "b60").raster.with_metadata(scale=0.5, offset=-3.0))
    point = pl.DataFrame({"x": [LEFT + 5.0], "y": [TOP - 5.0]})
    asked = {"shape": (8, 8), "crs": 32632, "stack": True, "unscale": True, "fill_value": 0.25}
    got = scaled.raster.read_windows(point, ["b10", "b60"], **asked).collect()["pixels"]
    assert got.dtype == pl.Array(pl.Float32, (2, 8, 8))
    wanted = np.full((2, 8, 8), 0.25, np.float32)
    wanted[0, 4:, 4:] = pixels("b10")[:4, :4] * 0.5 - 3
    wanted[1, 4:, 4:] = pixels("b60")[0, 0] * 0.5 - 3
    np.testing.assert_array_equal(got.to_numpy()[0], wanted)


def test_an_answer_around_the_pole_finds_all_longitudes():
    """The border of the answer says nothing of the rows of a longitude/latitude grid in its midst."""
    globe = np.random.default_rng(2).integers(1, 250, (90, 180)).astype(np.uint8)
    polar = np.ones((40, 40), np.uint8)
    files = {
        "memory://pole/globe.tif": pr.testing.make_cog(globe, epsg=4326, transform=(2, 0, -180, 0, -2, 90)),
        "memory://pole/polar.tif": pr.testing.make_cog(polar, epsg=3995, transform=(5e4, 0, -1e6, 0, -5e4, 1e6)),
    }
    pr.configure_store("memory://pole/", store=pr.testing.MemorySource(files))
    table = pl.DataFrame({"id": ["one"], "href_p": ["memory://pole/polar.tif"], "href_g": ["memory://pole/globe.tif"]})
    lf = pr.build_from_table(table, bands={"polar": "href_p", "globe": "href_g"}).collect().lazy()
    read = pr.read_window(
        ["polar", "globe"], (-9e5, -9e5, 9e5, 9e5), crs=3995, shape=(36, 36), grid="polar", stack=True
    )
    got = lf.select(read).collect()["pixels"].to_numpy()[0, 1]
    x, y = np.meshgrid(-9e5 + 5e4 * (np.arange(36) + 0.5), 9e5 - 5e4 * (np.arange(36) + 0.5))
    lon, lat = pyproj.Transformer.from_crs(3995, 4326, always_xy=True).transform(x, y)
    np.testing.assert_array_equal(
        got, globe[np.floor((90 - lat) / 2).astype(int), np.floor((lon + 180) / 2).astype(int)]
    )


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_without_georeferencing_line_up_only_where_their_sizes_are_the_same():
    files = {}
    for name, size in (("a", 40), ("b", 40), ("c", 20)):
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", height=size, width=size, count=1, dtype="uint8") as sink:
                sink.write(np.full((size, size), ord(name), np.uint8), 1)
            files[f"memory://sizes/{name}.tif"] = bytes(memory.read())
    pr.configure_store("memory://sizes/", store=pr.testing.MemorySource(files))
    table = pl.DataFrame({"id": ["one"], **{f"href_{name}": [f"memory://sizes/{name}.tif"] for name in "abc"}})
    lf = pr.build_from_table(table, bands={name: f"href_{name}" for name in "abc"}).collect().lazy()
    got = lf.select(pr.read_window(["a", "b"], window=(0, 2, 0, 2), stack=True)).collect()["pixels"]
    assert got.to_list() == [[[[97, 97], [97, 97]], [[98, 98], [98, 98]]]]
    with pytest.raises(UsageError, match="no georeferencing to bring it there"):
        lf.select(pr.read_window(["a", "c"], window=(0, 2, 0, 2), stack=True)).collect()
    alone = lf.select(pr.read_window(["a", "c"], window=(0, 2, 0, 2))).collect()["pixels"]  # each its own pixels
    assert alone.to_list() == [{"a": [[97, 97], [97, 97]], "c": [[99, 99], [99, 99]]}]


@pytest.mark.parametrize("masked", [False, True])
def test_windows_of_various_sizes_are_masked_and_covered_too(masked, scene):
    areas = polygons()
    how = {"crs": 32632, "resolution": 25, "masked": masked, "coverage": "center", "unscale": True, "fill_value": -0.5}
    got = scene.raster.read_windows(areas, ["b10", "b20"], **how).collect()
    by_geometry = {one.wkb: one for one in areas}
    assert got.height > 6
    for wkb, *bands in got.select("geometry", "b10", "b20").rows():
        for name, one in zip(("b10", "b20"), bands, strict=True):
            shape, grid = (one["height"], one["width"]), Affine(*one["transform"])
            covered = geometry_mask([by_geometry[wkb]], shape, grid, invert=True) & ~_is_outside(grid, shape)
            box = (grid.c, grid.f + grid.e * shape[0], grid.c + grid.a * shape[1], grid.f)
            if not (box[0] > LEFT and box[1] > TOP - SIDE and box[2] < LEFT + SIDE and box[3] < TOP):
                continue
            values = cut(name, box, shape).astype(object)
            blank = None if masked else -0.5
            wanted = np.where(covered, np.where((values == 0) & masked, None, values), blank)
            assert one["pixels"] == wanted.ravel().tolist()


# Real files.

LOSSY = {"jpeg", "webp"}


def files_with_overviews(data: Path) -> list[str]:
    manifest = pl.read_csv(data / "MANIFEST.csv")
    chosen = manifest.filter(pl.col("notes").str.contains(r"\boverviews\b") & ~pl.col("file").str.starts_with("broken"))
    return [name for name in chosen["file"].to_list() if name.endswith(("tif", "tiff", "TIF"))]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("max_bytes", [100_000, pytest.param(10**9, marks=pytest.mark.slow)])
def test_decimated_reads_of_real_files_equal_those_of_rasterio(max_bytes, shared_data):
    compared = 0
    for name in files_with_overviews(shared_data):
        if (shared_data / name).stat().st_size > max_bytes:
            continue
        lf = pr.build_from_files([shared_data / name], bands={"v": 0})
        if lf.select(pl.col("v").is_null().all()).collect().item():
            continue  # refused by name when it was indexed
        try:
            with rasterio.open(shared_data / name) as source:
                height, width = source.shape
                masks = source.mask_flag_enums[0]
                is_lossy = source.compression is not None and source.compression.name in LOSSY
                shapes = [(max(1, height // k), max(1, width // k)) for k in (1, 2, 3, 5, 9)]
                nearest = [source.read(1, out_shape=one) for one in shapes]
                mixed = [source.read(1, out_shape=one, resampling=Resampling.bilinear) for one in shapes]
        except rasterio.errors.RasterioError:
            continue
        if is_lossy or any(flag.name in ("per_dataset", "alpha") for flag in masks):
            continue  # decoders differ, or GDAL mixes by the mask
        for shape, wanted, between in zip(shapes, nearest, mixed, strict=True):
            for method, want in (("nearest", wanted), ("bilinear", between)):
                read = pl.col("v").raster.read_window(shape=shape, resampling=method)
                got = lf.select(read).collect()["v"].to_numpy()[0]
                allowed = 0 if method == "nearest" else 1 if want.dtype.kind != "f" else 1e-3
                difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
                scale = max(1.0, float(np.abs(want.astype(np.float64)).max())) if want.dtype.kind == "f" else 1.0
                assert np.nanmax(difference) <= allowed * scale, (name, shape, method)
        compared += 1
    assert compared >= 7
