"""Do all questions place boxes, areas and points on the same images, wherever the seam of the Earth is?

Images lie anywhere from -360 to 540 degrees of longitude. What must come out is counted in whole turns here, from the numbers the
images were made with.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.features import geometry_mask, geometry_window
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import from_bounds

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support.engines import ENGINES

PREFIX = "memory://seam-tests/"
SOUTH, NORTH = -30.0, 30.0
STEP = {"world": 0.5, "world_0_360": 0.5}
SPANS = {
    "world": (-180, 180),
    "world_0_360": (0, 360),
    "world_from_10": (-350, 10),
    "climate": (170, 360),
    "climate_past_0": (170, 365),
    "tile_over": (170, 190),
    "tile_over_west": (-190, -170),
    "tile_at_the_seam": (180, 190),
    "tile_before_the_seam": (170, 180),
    "nearly_round": (-170, 170),
    "nearly_round_the_other_way": (10, 350),
    "far_west": (-360, -200),
    "far_east": (400, 540),
    "greenwich": (-20, 20),
    "half": (0, 180),
}


def step_of(name: str) -> float:
    return STEP.get(name, 1.0)


@cache
def pixels(name: str) -> np.ndarray:
    """Values that tell image, row and column."""
    west, east = SPANS[name]
    width, height = int((east - west) / step_of(name)), int((NORTH - SOUTH) / step_of(name))
    at = list(SPANS).index(name) + 1
    return (np.arange(height * width, dtype=np.uint32) + at * 1_000_000).reshape(height, width)


def transform_of(name: str) -> Affine:
    return Affine(step_of(name), 0, SPANS[name][0], 0, -step_of(name), NORTH)


@cache
def file_of(name: str) -> bytes:
    values = pixels(name)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="uint32", count=1, height=values.shape[0], width=values.shape[1], crs="EPSG:4326",
            transform=transform_of(name), tiled=True, blockxsize=64, blockysize=64,
        ) as sink:  # fmt: skip
            sink.write(values, 1)
        return bytes(memory.read())


@pytest.fixture(scope="module")
def collections(tmp_path_factory) -> dict[str, pl.LazyFrame]:
    files = {f"{PREFIX}{name}.tif": file_of(name) for name in SPANS}
    pr.configure_store(PREFIX, store=pr.testing.MemorySource(files))
    built = pr.build_from_files(list(files), bands=["v"])
    path = tmp_path_factory.mktemp("seam") / "collection.parquet"
    built.raster.sink_collection(path, row_group_size=2)
    return {"parquet": pr.scan_collection(path), "only rasters": built.select("id", "v").collect().lazy()}


def turned(box: tuple[float, ...]) -> tuple[float, ...]:
    """A box that runs east from its xmin."""
    west, south, east, north = box
    return west, south, east + 360 * math.ceil((west - east) / 360) if west > east else east, north


def placements(name: str, box: tuple[float, ...]) -> dict[int, float]:
    """Degrees of longitude that the image shares with the box, by turns; touching does not count."""
    west, south, east, north = turned(box)
    if not (south < NORTH and north > SOUTH):
        return {}
    found = {}
    for turns in range(-4, 5):
        shared = min(east + 360 * turns, SPANS[name][1]) - max(west + 360 * turns, SPANS[name][0])
        if shared > 0:
            found[turns] = shared
    return found


def met_by(box: tuple[float, ...]) -> set[str]:
    return {name for name in SPANS if placements(name, box)}


def window_of(name: str, box: tuple[float, ...]) -> np.ndarray:
    """The pixels under the box at the placement with more of it; all around, every column."""
    west, south, east, north = turned(box)
    shared = placements(name, box)
    most = max(shared.values())
    turns = min((one for one, value in shared.items() if value > most - 1e-9), key=abs)
    image_west, step = SPANS[name][0], step_of(name)
    rows = [(NORTH - north) / step, (NORTH - south) / step]
    cols = [(west + 360 * turns - image_west) / step, (east + 360 * turns - image_west) / step]
    if east - west >= 360:
        cols = [0, 10_000]
    (top, bottom), (left, right) = (
        (max(math.floor(low + 1e-6), 0), max(math.ceil(high - 1e-6), 0)) for low, high in (rows, cols)
    )
    return pixels(name)[top:bottom, left:right]


def split(box: tuple[float, ...]) -> Any:
    """A box as GeoJSON has it: cut at the antimeridian."""
    west, south, east, north = turned(box)
    pieces = []
    for turns in range(-3, 4):
        left, right = max(west + 360 * turns, -180), min(east + 360 * turns, 180)
        if left < right:
            pieces.append(shapely.box(left, south, right, north))
    return shapely.MultiPolygon(pieces)


def bbox_frame(*boxes: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        {"bounds": [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in boxes]},
        schema={"bounds": pl.Struct(dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pl.Float64))},
    )


LONGITUDE = st.integers(-720, 720).map(lambda value: value / 4)
BOX = (
    st.tuples(LONGITUDE, st.integers(-80, 60).map(float), LONGITUDE, st.integers(5, 40))
    .filter(lambda box: box[0] != box[2])
    .map(lambda box: (box[0], box[1] / 2, box[2], box[1] / 2 + box[3]))
)


def ids(lf: pl.LazyFrame, column: str = "id", **how: Any) -> set[str]:
    return set(lf.select(column).collect(**how).to_series().to_list())


def check_all_questions(collections, kind, box) -> None:
    lf, expected = collections[kind], met_by(box)
    west, south, east, north = turned(box)
    nearly = met_by(
        (west - 1e-6, south - 1e-6, east + 1e-6, north + 1e-6)
    )  # touching counts for footprints, not for pixels
    touching = nearly - expected
    frame = bbox_frame(box)
    assert ids(lf.raster.intersects(box)) - touching == expected
    assert ids(lf.raster.subset(bbox=box)) - touching == expected
    assert ids(lf.raster.intersects(split(box))) - touching == expected
    assert ids(lf.raster.pair(frame, geometry="bounds", crs=4326), "record_id") == expected
    areas = [split(box)]
    assert ids(lf.raster.pair(areas, crs=4326), "record_id") == expected
    windows = lf.raster.read_windows(frame, geometry="bounds", crs=4326)
    assert ids(windows, "record_id") == expected
    window = pl.col("v").raster.read_window(box, crs=4326)
    assert ids(lf.with_columns(w=window).filter(pl.col("w").is_not_null())) == expected


@pytest.mark.parametrize("kind", ["parquet", "only rasters"])
@given(box=BOX)
@settings(max_examples=12)
def test_all_questions_find_the_images_that_a_box_shares_pixels_with(collections, kind, box):
    check_all_questions(collections, kind, box)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "only rasters"])
@given(box=BOX)
@settings(max_examples=1_000)
def test_all_questions_agree_on_many_boxes(collections, kind, box):
    check_all_questions(collections, kind, box)


@given(box=BOX)
@settings(max_examples=20)
def test_a_window_without_shape_is_the_placement_with_more_of_the_box(collections, box):
    frame = bbox_frame(box)
    got = collections["only rasters"].raster.read_windows(frame, geometry="bounds", crs=4326).collect()
    alone = (
        collections["only rasters"]
        .with_columns(v=pl.col("v").raster.read_window(box, crs=4326))
        .filter(pl.col("v").is_not_null())
        .collect()
    )
    assert set(got["record_id"]) == set(alone["id"]) == met_by(box)
    for row in [*zip(got["record_id"], got["v"], strict=True), *zip(alone["id"], alone["v"], strict=True)]:
        name, value = row
        found = np.array(value["pixels"], np.uint32).reshape(value["height"], value["width"])
        np.testing.assert_array_equal(found, window_of(name, box))
        row_start, col_start = np.argwhere(pixels(name) == found[0, 0])[0]
        step = step_of(name)
        assert value["transform"][2::3] == pytest.approx([SPANS[name][0] + step * col_start, NORTH - step * row_start])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["parquet", "only rasters"])
def test_points_are_found_in_every_image_that_holds_them(collections, kind, engine):
    lons = [-180.0, -179.5, -100.5, -0.5, 0.5, 5.5, 100.5, 170.0, 179.5, 180.0, 185.5, 259.5, 359.5]
    points = pl.DataFrame({"lon": lons, "lat": [0.5] * len(lons)})
    got = collections[kind].raster.sample_points(points, crs=4326).collect(engine=engine)
    one_by_one = (
        collections[kind]
        .join(points.lazy(), how="cross")
        .with_columns(v=pl.col("v").raster.sample_points("lon", "lat", crs=4326))
        .filter(pl.col("v").is_not_null())
        .collect(engine=engine)
    )
    expected = {}
    for name, (west, east) in SPANS.items():
        for lon in lons:
            for turns in sorted(range(-3, 4), key=abs):
                col = math.floor((lon + 360 * turns - west) / step_of(name))
                if west <= lon + 360 * turns < east:
                    row = math.floor((NORTH - 0.5) / step_of(name))
                    expected[name, lon] = int(pixels(name)[row, col])
                    break
    assert {(row["record_id"], row["lon"]): row["v"] for row in got.iter_rows(named=True)} == expected
    assert {(row["id"], row["lon"]): row["v"] for row in one_by_one.iter_rows(named=True)} == expected


def test_a_record_answers_for_its_own_box_and_footprint(collections):
    lf = collections["parquet"]
    own = lf.with_columns(
        by_bbox=pl.col("v").raster.read_window("bbox", crs=4326),
        by_bounds=pl.col("v").raster.read_window(pl.col("v").raster.bounds(4326), crs=4326),
        by_native_bounds=pl.col("v").raster.read_window(pl.col("v").raster.bounds(), crs="native"),
        by_geometry=pl.col("v").raster.read_window("geometry", crs=4326),
    ).collect()
    assert own.height == len(SPANS)
    for row in own.iter_rows(named=True):
        for column in ("by_bbox", "by_bounds", "by_native_bounds", "by_geometry"):
            value = row[column]
            assert (value["height"], value["width"]) == pixels(row["id"]).shape, (row["id"], column)
            assert value["pixels"] == pixels(row["id"]).ravel().tolist()


@pytest.mark.parametrize(
    ("crs", "box"),
    [(32601, (-500_000.0, 0.0, 800_000.0, 900_000.0)), (32660, (200_000.0, 0.0, 1_500_000.0, 900_000.0))],
)
@pytest.mark.parametrize("form", ["box", "polygon", "parts"])
def test_projected_areas_over_the_seam_are_not_stretched_around_the_earth(collections, crs, box, form):
    west, south, east, north = box
    middle = (west + east) / 2
    if form == "parts":
        area = shapely.MultiPolygon(
            [shapely.box(west, south, middle - 9e4, north), shapely.box(middle + 9e4, south, east, north)]
        )
    else:
        area = shapely.box(*box) if form == "box" else shapely.Polygon([(west, south), (east, south), (middle, north)])
    lf = collections["only rasters"].filter(pl.col("id").is_in(["tile_over", "tile_over_west", "world", "world_0_360"]))
    got = lf.raster.read_windows([area], crs=crs).collect()
    assert set(got["record_id"]) == {"tile_over", "tile_over_west", "world", "world_0_360"}
    sizes = {row["record_id"]: (row["v"]["height"], row["v"]["width"]) for row in got.iter_rows(named=True)}
    # 900 km are 8.1 degrees of latitude; 1300 km are 11.7 degrees of longitude at the equator.
    assert sizes["tile_over"] == sizes["tile_over_west"]
    for name, step in (("tile_over", 1.0), ("world_0_360", 0.5)):
        height, width = sizes[name]
        assert 8.1 / step <= height <= 8.4 / step + 1
        assert 11.6 / step <= width <= 12.0 / step + 1
    assert sizes["world"][1] <= sizes["world_0_360"][1]


def test_a_polar_area_reaches_the_pole_and_all_longitudes():
    values = np.arange(180 * 360, dtype=np.uint32).reshape(180, 360)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint32",
            count=1,
            height=180,
            width=360,
            crs="EPSG:4326",
            transform=Affine(1, 0, -180, 0, -1, 90),
        ) as sink:
            sink.write(values, 1)
        data = bytes(memory.read())
    pr.configure_store("memory://seam-pole/", store=pr.testing.MemorySource({"memory://seam-pole/a.tif": data}))
    lf = pr.build_from_files(["memory://seam-pole/a.tif"], bands=["v"])
    box = (-1e6, -1e6, 1e6, 1e6)
    got = lf.select(v=pl.col("v").raster.read_window(box, crs=3413)).collect()["v"][0]
    # The corners of the box are furthest from the pole: 1414 km, 77 degrees north.
    assert (got["height"], got["width"]) == (14, 360)
    assert got["pixels"][0] == 0


@pytest.mark.parametrize("west", [-190.0, -185.25, 170.0, 170.75, 350.5])
def test_native_coordinates_never_wrap(collections, west):
    lf = collections["only rasters"]
    expected = {name for name, (start, stop) in SPANS.items() if west < stop and west + 5 > start}
    frame = bbox_frame((west, -5.0, west + 5.0, 5.0))
    assert ids(lf.raster.pair(frame, geometry="bounds", crs="native"), "record_id") == expected
    inside = {name for name, (start, stop) in SPANS.items() if start <= west < stop}
    points = pl.DataFrame({"x": [west], "y": [0.5]})
    found = lf.raster.sample_points(points, crs="native", unmatched="drop")
    assert ids(found, "record_id") == inside
    alone = lf.with_columns(v=pl.col("v").raster.sample_points(pl.lit(west), pl.lit(0.5), crs="native"))
    assert ids(alone.filter(pl.col("v").is_not_null())) == inside
    window = lf.with_columns(v=pl.col("v").raster.read_window((west, -5, west + 5, 5), crs="native"))
    assert ids(window.filter(pl.col("v").is_not_null())) == expected


@pytest.mark.parametrize("crs", [32601, 3857, "native"])
def test_a_box_that_runs_west_is_refused_where_longitudes_do_not_repeat(collections, crs):
    lf, box = collections["only rasters"], (500.0, 0.0, -500.0, 10.0)
    frame = bbox_frame(box)
    with pytest.raises(UsageError, match="antimeridian"):
        lf.raster.read_windows(frame, geometry="bounds", crs=crs).collect()
    with pytest.raises(UsageError, match="antimeridian"):
        lf.raster.pair(frame, geometry="bounds", crs=crs).collect()
    with pytest.raises(UsageError, match="antimeridian"):
        pl.col("v").raster.read_window(box, crs=crs)
    with pytest.raises(UsageError, match="antimeridian"):
        lf.join(frame.lazy(), how="cross").select(pl.col("v").raster.read_window("bounds", crs=crs)).collect()
    if crs != "native":
        with pytest.raises(UsageError, match="antimeridian"):
            lf.raster.intersects(box, crs=crs)


@pytest.mark.parametrize("crs", [4326, 4269, 4258, "OGC:CRS84"])
def test_a_box_that_runs_west_crosses_in_every_geographic_crs(collections, crs):
    lf, box = collections["only rasters"], (171.0, -5.0, -171.0, 5.0)
    frame = bbox_frame(box)
    expected = met_by(box)
    assert "tile_over" in expected
    assert "greenwich" not in expected
    assert ids(lf.raster.intersects(box, crs=crs)) == expected
    assert ids(lf.raster.pair(frame, geometry="bounds", crs=crs), "record_id") == expected
    window = lf.with_columns(v=pl.col("v").raster.read_window(box, crs=crs)).filter(pl.col("v").is_not_null()).collect()
    assert set(window["id"]) == expected
    by_name = {row["id"]: row["v"] for row in window.iter_rows(named=True)}
    assert by_name["tile_over"]["width"] == 18
    assert by_name["nearly_round_the_other_way"]["width"] == 18


def test_lines_and_thin_boxes_over_the_seam_meet_what_they_cross(collections):
    lf = collections["parquet"]
    line = shapely.LineString([(175, 0.5), (185, 0.5)])
    expected = met_by((175, 0.25, 185, 0.75))
    assert ids(lf.raster.intersects(line)) == expected
    assert ids(lf.raster.intersects((175, 0.5, -175, 0.5))) == expected
    assert ids(lf.raster.pair([line], crs=4326), "record_id") == expected - {"nearly_round"}


def test_parts_of_a_wide_area_are_placed_each_by_itself(collections):
    lf = collections["only rasters"]
    area = shapely.MultiPolygon([shapely.box(-100, -5, -90, 5), shapely.box(95, -5, 105, 5)])
    got = lf.raster.read_windows([area], crs=4326).collect()
    starts = {row["record_id"]: (row["v"]["transform"][2], row["v"]["width"]) for row in got.iter_rows(named=True)}
    assert starts["world"] == (-100.0, 410)  # as rasterio: the bounds of all of it
    assert starts["world_0_360"] == (95.0, 350)
    # Where one part is, the other goes with it: the bounds are -100..105, or those a turn further east.
    assert starts["climate"] == (260.0, 100)
    assert starts["half"] == (0.0, 105)


POLYGON = st.lists(st.tuples(st.floats(-35, 35), st.floats(-40, 40)), min_size=3, max_size=5, unique=True).map(
    lambda xy: shapely.MultiPoint([(round(x, 2), round(y, 2)) for x, y in xy]).convex_hull
)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rasterio multiplies affines
@given(polygon=POLYGON.filter(lambda one: one.area > 1))
@settings(max_examples=40)
def test_the_window_of_a_polygon_is_that_of_its_bounds(collections, polygon):
    lf = collections["only rasters"].filter(pl.col("id") == "greenwich")
    image = shapely.box(*(-20, SOUTH), *(20, NORTH))
    got = lf.raster.read_windows([polygon], crs=4326).collect()
    if not shapely.intersects(image, polygon):
        assert got.is_empty()
        return
    with MemoryFile(file_of("greenwich")) as memory, memory.open() as source:
        expected = source.read(1, window=geometry_window(source, [polygon]))
    value = got["v"][0]
    np.testing.assert_array_equal(np.array(value["pixels"]).reshape(value["height"], value["width"]), expected)


def reading_across(name: str, box: tuple[float, ...], shape: tuple[int, int], method: Resampling) -> np.ndarray:
    """What rasterio reads of an image that stands beside itself, a turn of the Earth away, as often as needed."""
    values = pixels(name)
    (west, _), step = SPANS[name], step_of(name)
    turn = round(360 / step)
    around = np.zeros((values.shape[0], 3 * turn), np.uint32)
    for copy in (2, 0, 1) if len(placements(name, box)) > 1 else (1,):
        first = copy * turn
        some = values[:, : around.shape[1] - first]
        around[:, first : first + some.shape[1]] = some
    box_west, south, box_east, north = turned(box)
    shared = placements(name, box)
    most = max(shared.values())
    turns = min((one for one, value in shared.items() if value > most - 1e-9), key=abs)
    profile = {"driver": "GTiff", "dtype": "uint32", "count": 1, "crs": "EPSG:32631", "nodata": 0}
    size = {"height": around.shape[0], "width": around.shape[1]}
    with MemoryFile() as memory:
        with memory.open(**profile, **size, transform=Affine(step, 0, west - 360, 0, -step, NORTH)) as sink:
            sink.write(around, 1)
        with memory.open() as source:
            window = from_bounds(box_west + 360 * turns, south, box_east + 360 * turns, north, source.transform)
            return source.read(1, window=window, out_shape=shape, resampling=method)


ACROSS = (
    st.tuples(st.integers(300, 359), st.integers(1, 100), st.integers(-20, 10), st.integers(3, 15))
    .map(lambda box: (box[0] / 2, box[2] + 0.5, (box[0] + box[1]) / 2 + 0.5 - 360, box[2] + box[3] + 0.5))
    .filter(lambda box: box[0] > box[2] >= -180)
)


@given(
    box=ACROSS,
    shape=st.tuples(st.integers(1, 20), st.integers(1, 50)),
    method=st.sampled_from([Resampling.nearest, Resampling.average, Resampling.bilinear, Resampling.cubic]),
    name=st.sampled_from(["world", "world_0_360", "world_from_10", "tile_over", "nearly_round"]),
)
@settings(max_examples=60)
def test_a_window_with_shape_is_put_together_across_the_seam(collections, box, shape, method, name):
    lf = collections["only rasters"].filter(pl.col("id") == name)
    if not placements(name, box):
        return
    if not name.startswith(
        "world"
    ):  # beside these images is nothing, which kernels leave out and rasterio's padding does not
        method = Resampling.nearest
    how: dict[str, Any] = {"shape": shape, "resampling": method.name, "crs": 4326}
    got = lf.select(v=pl.col("v").raster.read_window(box, **how)).collect()["v"].to_numpy()[0]
    verb = lf.raster.read_windows(bbox_frame(box), geometry="bounds", **how).collect()
    expected = reading_across(name, box, shape, method)
    # GDAL mixes in single precision, which is coarse where values are in the millions.
    tolerance = 0 if method == Resampling.nearest else 1
    np.testing.assert_allclose(got.astype(np.int64), expected.astype(np.int64), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(verb["v"].to_numpy()[0], got)


def across(name: str, west: float, east: float, south: float, north: float) -> np.ndarray:
    """The pixels of an image beside itself; `west` in the frame where the image was placed."""
    turn, step = round(360 / step_of(name)), step_of(name)
    values = np.concatenate([pixels(name)[:, :turn]] * 3, axis=1)
    first = round((west - SPANS[name][0] + 360) / step)
    rows = slice(round((NORTH - north) / step), round((NORTH - south) / step))
    return values[rows, first : first + round((east - west) / step)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["world", "world_0_360"])
def test_resolution_masks_and_coverage_run_on_over_the_seam(collections, name, engine):
    lf = collections["only rasters"].filter(pl.col("id") == name)
    west = SPANS[name][1] - 6.0
    triangle = shapely.Polygon([(west, -5), (west + 12, -5), (west + 12, 5)])
    frame = [triangle]
    how: dict[str, Any] = {"crs": 4326, "resolution": 0.5, "masked": True, "coverage": "center"}
    got = lf.raster.read_windows(frame, **how).collect(engine=engine)
    value = got["v"][0]
    expected = across(name, west, west + 12, -5, 5)
    assert (value["height"], value["width"]) == expected.shape
    assert got["transform"][0].to_list() == pytest.approx([0.5, 0, west, 0, -0.5, 5])
    covered = geometry_mask([triangle], expected.shape, Affine(0.5, 0, west, 0, -0.5, 5), invert=True).ravel()
    found = value["pixels"]
    on_line = ~np.array(
        [
            triangle.boundary.distance(shapely.Point(west + 0.25 + 0.5 * c, 4.75 - 0.5 * r)) > 1e-9
            for r in range(20)
            for c in range(24)
        ]
    )
    for at, (pixel, wanted, inside) in enumerate(zip(found, expected.ravel().tolist(), covered.tolist(), strict=True)):
        if not on_line[at]:
            assert pixel == (wanted if inside else None)


def test_bands_that_are_a_turn_apart_line_up(collections):
    del collections  # its store holds the files
    table = pl.DataFrame(
        {"id": ["x"], "a": [f"{PREFIX}world.tif"], "b": [f"{PREFIX}world_0_360.tif"], "c": [f"{PREFIX}tile_over.tif"]}
    )
    lf = pr.build_from_table(table, bands={"a": "a", "b": "b", "c": "c"})
    got = (
        lf.select(v=pr.read_window(["a", "b"], (175.0, -5.0, -175.0, 5.0), crs=4326, shape=(20, 20)))
        .unnest("v")
        .collect()
    )
    np.testing.assert_array_equal(got["a"].to_numpy()[0], across("world", 175, 185, -5, 5))
    np.testing.assert_array_equal(got["b"].to_numpy()[0], across("world_0_360", 175, 185, -5, 5))
    whole = lf.select(v=pr.read_window(["a", "b"], shape=(120, 720))).unnest("v").collect()
    np.testing.assert_array_equal(whole["a"].to_numpy()[0], pixels("world"))
    np.testing.assert_array_equal(whole["b"].to_numpy()[0], across("world_0_360", -180, 180, SOUTH, NORTH))
    west = (
        lf.select(v=pr.read_window(["a", "c"], (-179.0, -5.0, -175.0, 5.0), crs=4326, shape=(20, 8)))
        .unnest("v")
        .collect()
    )
    np.testing.assert_array_equal(west["a"].to_numpy()[0], across("world", -179, -175, -5, 5))
    np.testing.assert_array_equal(west["c"].to_numpy()[0][::2, ::2], pixels("tile_over")[25:35, 11:15])


def test_a_projected_grid_finds_pixels_on_both_sides_of_the_seam(collections):
    del collections
    utm = np.ones((80, 80), np.uint32)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint32",
            count=1,
            height=80,
            width=80,
            crs="EPSG:32601",
            transform=Affine(10_000, 0, -300_000, 0, -10_000, 800_000),
        ) as sink:
            sink.write(utm, 1)
        data = bytes(memory.read())
    pr.configure_store("memory://seam-utm/", store=pr.testing.MemorySource({"memory://seam-utm/a.tif": data}))
    for name in ("world", "world_0_360", "tile_over", "tile_over_west"):
        table = pl.DataFrame({"id": ["x"], "a": ["memory://seam-utm/a.tif"], "b": [f"{PREFIX}{name}.tif"]})
        lf = pr.build_from_table(table, bands={"a": "a", "b": "b"})
        got = lf.select(v=pr.read_window(["a", "b"], shape=(80, 80), grid="a")).unnest("v").collect()["b"].to_numpy()[0]
        down, over = np.meshgrid(np.arange(80) + 0.5, np.arange(80) + 0.5, indexing="ij")
        lon, lat = pyproj.Transformer.from_crs(32601, 4326, always_xy=True).transform(
            over * 10_000 - 300_000, 800_000 - down * 10_000
        )
        assert lon.min() < -179
        assert lon.max() > 179
        step, (start, stop) = step_of(name), SPANS[name]
        col = np.floor(((lon - start) % 360) / step).astype(int)
        row = np.floor((NORTH - lat) / step).astype(int)
        inside = (lon - start) % 360 < stop - start
        expected = np.where(inside, pixels(name)[row, np.where(inside, col, 0)], 0)
        np.testing.assert_array_equal(got, expected)


def test_a_window_across_the_seam_costs_what_the_estimate_says():
    pr.configure_store(
        "memory://seam-cost/", store=pr.testing.MemorySource({"memory://seam-cost/a.tif": file_of("world")})
    )
    lf = pr.build_from_files(["memory://seam-cost/a.tif"], bands=["v"])
    query = lf.raster.read_windows(bbox_frame((170.0, -5.0, -170.0, 5.0)), geometry="bounds", crs=4326, shape=(20, 40))
    bill = pr.estimate(query)
    with pr.profile() as profile:
        query.collect()
    told = profile.summary()
    assert bill.bound == "exact"
    assert bill.tiles == 6  # columns 0..20 and 700..720, rows 50..70, in tiles of 64
    assert bill.bytes == told["bytes"].sum()


def test_coarse_windows_across_the_seam_come_from_overviews():
    values = pixels("world")
    files = {}
    for kind, array, west in (("one", values, -180.0), ("twice", np.concatenate([values, values], axis=1), -180.0)):
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                dtype="uint32",
                count=1,
                height=120,
                width=array.shape[1],
                crs="EPSG:4326" if kind == "one" else "EPSG:32631",
                transform=Affine(0.5, 0, west, 0, -0.5, NORTH),
            ) as sink:
                sink.write(array, 1)
                sink.build_overviews([2, 4, 8], Resampling.nearest)
            files[kind] = bytes(memory.read())
    pr.configure_store(
        "memory://seam-levels/", store=pr.testing.MemorySource({"memory://seam-levels/a.tif": files["one"]})
    )
    lf = pr.build_from_files(["memory://seam-levels/a.tif"], bands=["v"])
    for width in (10, 20, 40, 80, 90):
        got = (
            lf.select(pl.col("v").raster.read_window((100.0, -30.0, -100.0, 30.0), crs=4326, shape=(15, width)))
            .collect()["v"]
            .to_numpy()[0]
        )
        with MemoryFile(files["twice"]) as memory, memory.open() as source:
            expected = source.read(1, window=from_bounds(100, -30, 260, 30, source.transform), out_shape=(15, width))
        np.testing.assert_array_equal(got, expected)


def test_an_area_with_a_corner_off_the_earth_meets_what_it_holds(collections):
    ortho = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371000"
    box = (-6_300_000.0, -6_300_000.0, 6_300_000.0, 6_300_000.0)  # its corners are in space
    lf = collections["only rasters"].filter(pl.col("id") == "greenwich")
    got = lf.select(v=pl.col("v").raster.read_window(box, crs=pyproj.CRS(ortho))).collect()["v"][0]
    assert got["pixels"] == pixels("greenwich").ravel().tolist()
