"""Do rasters tell their grids as rasterio does, and do the small helpers compute what plain Python does?"""

from __future__ import annotations

import datetime as dt
import itertools
import math

import numpy as np
import polars as pl
import pyproj
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import MemorySource, RecordingSource

PREFIX = "memory://grid-tests/"
NORTH_UP = Affine(10, 0, 500_000, 0, -20, 5_000_000)
GRIDS = {
    "plain": ("EPSG:32632", NORTH_UP, 300, 200),
    "rotated": ("EPSG:32632", Affine(26, 15, 400_000, 15, -26, 5_100_000), 90, 70),
    "degrees": ("EPSG:4326", Affine(0.01, 0, 5.0, 0, -0.01, 50.0), 64, 64),
    "pacific": ("EPSG:32601", Affine(1_000, 0, 100_000, 0, -1_000, 5_000_000), 200, 100),
    "laea": ("EPSG:3035", Affine(500, 0, 4_000_000, 0, -500, 3_000_000), 400, 500),
    "nowhere": (None, Affine.identity(), 32, 16),
}
OVERVIEWS = {"plain": [2, 4], "laea": [2, 4, 8]}


def _tiff(name):
    crs, transform, width, height = GRIDS[name]
    grid = {} if crs is None else {"crs": crs, "transform": transform}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=1,
            dtype="uint8",
            tiled=True,
            blockxsize=32,
            blockysize=32,
            **grid,
        ) as file:
            file.write(np.ones((1, height, width), "uint8"))
            if name in OVERVIEWS:
                file.build_overviews(OVERVIEWS[name], rasterio.enums.Resampling.nearest)
        return bytes(memory.getbuffer())


@pytest.fixture(scope="module")
def files():
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        return {f"{PREFIX}{name}.tif": _tiff(name) for name in GRIDS}


@pytest.fixture(scope="module")
def source(files):
    return RecordingSource(MemorySource(files))


@pytest.fixture(scope="module")
def scenes(files, source):
    pr.configure_store(PREFIX, store=source)
    table = pl.DataFrame({"id": [*GRIDS, "missing"], "href": [*files, None]})
    built = pr.build_from_table(table, bands={"B": "href"}, on_error="null").collect()
    assert built["B"].null_count() == 1
    return built.lazy()


def told(scenes, source, expr, dtype, engine):
    """Give what an expression tells by record, after checking that it is typed lazily and reads nothing."""
    source.clear()
    query = scenes.select("id", told=expr)
    assert query.collect_schema()["told"] == dtype
    answer = dict(query.collect(engine=engine).rows())
    assert source.requests == []
    return answer


def test_bounds_are_those_of_rasterio(scenes, source, files, engine):
    answer = told(scenes, source, pl.col("B").raster.bounds(), scenes.collect_schema()["bbox"], engine)
    for name in ("plain", "degrees", "pacific", "laea"):
        with MemoryFile(files[f"{PREFIX}{name}.tif"]) as memory, memory.open() as file:
            assert tuple(answer[name].values()) == pytest.approx(tuple(file.bounds))
    corners = [
        (26 * col + 15 * row + 400_000, 15 * col - 26 * row + 5_100_000)
        for col, row in itertools.product((0, 90), (0, 70))
    ]
    x, y = zip(*corners, strict=True)
    assert tuple(answer["rotated"].values()) == pytest.approx((min(x), min(y), max(x), max(y)))
    assert answer["missing"] is None


@pytest.mark.parametrize("crs", [4326, 3035, 4258, 3857, "native"])
def test_bounds_in_another_crs_are_those_of_rasterio(scenes, source, files, engine, crs):
    answer = told(scenes, source, pl.col("B").raster.bounds(crs=crs), scenes.collect_schema()["bbox"], engine)
    for name in ("plain", "degrees", "pacific", "laea"):
        if name == "pacific" and crs in (3035, 3857):
            continue  # the other side of the Earth, or cut by the edge of the map
        with MemoryFile(files[f"{PREFIX}{name}.tif"]) as memory, memory.open() as file:
            target = file.crs if crs == "native" else rasterio.crs.CRS.from_user_input(crs)
            expected = transform_bounds(file.crs, target, *file.bounds)
        size = max(abs(expected[2] - expected[0]) % 360, expected[3] - expected[1])
        assert tuple(answer[name].values()) == pytest.approx(expected, abs=2e-4 * size), name
    assert answer["missing"] is None
    if crs != "native":
        assert answer["nowhere"] is None


def test_bounds_across_the_antimeridian_have_xmin_in_the_east(scenes, source, engine):
    answer = told(scenes, source, pl.col("B").raster.bounds(crs=4326), scenes.collect_schema()["bbox"], engine)
    assert answer["pacific"]["xmin"] > 170
    assert answer["pacific"]["xmax"] < -170


def test_pixel_sizes_are_those_of_rasterio(scenes, source, engine):
    dtype = pl.Struct({"x": pl.Float64, "y": pl.Float64})
    answer = told(scenes, source, pl.col("B").raster.pixel_size(), dtype, engine)
    assert answer["plain"] == {"x": 10, "y": 20}
    assert answer["rotated"] == pytest.approx({"x": math.hypot(26, 15), "y": math.hypot(15, 26)})
    assert answer["degrees"] == pytest.approx({"x": 0.01, "y": 0.01})
    assert answer["missing"] is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_overviews_are_those_of_rasterio(scenes, source, files, engine):
    dtype = pl.List(pl.Struct(dict.fromkeys(("level", "height", "width", "decimation"), pl.UInt32)))
    answer = told(scenes, source, pl.col("B").raster.overviews(), dtype, engine)
    for name in GRIDS:
        with MemoryFile(files[f"{PREFIX}{name}.tif"]) as memory, memory.open() as file:
            factors = file.overviews(1)
        assert [one["decimation"] for one in answer[name]] == factors
        for level, one in enumerate(answer[name], 1):
            with MemoryFile(files[f"{PREFIX}{name}.tif"]) as memory, memory.open(overview_level=level - 1) as file:
                assert one == {
                    "level": level,
                    "height": file.height,
                    "width": file.width,
                    "decimation": factors[level - 1],
                }
    assert answer["missing"] is None


def test_row_and_col_are_those_of_rasterio_inside_and_outside(scenes, source, engine):
    lon, lat = [9.0013, 9.0217, 8.5033, None, 9.0], [45.1513, 45.1327, 45.2041, 45.0, math.nan]
    where = pl.LazyFrame({"lon": lon, "lat": lat}, schema={"lon": pl.Float64, "lat": pl.Float64})
    rows = scenes.filter(pl.col("id").is_in(["plain", "rotated", "degrees", "missing"])).join(where, how="cross")
    source.clear()
    query = rows.select("id", "lon", "lat", pl.col("B").raster.row_col("lon", "lat", crs=4326))
    assert query.collect_schema()["B"] == pl.Struct({"row": pl.Int64, "col": pl.Int64})
    answer = query.collect(engine=engine)
    assert source.requests == []
    assert answer.height == 20
    n_outside = 0
    for name, x, y, pixel in answer.iter_rows():
        if name == "missing" or x is None or math.isnan(y):
            assert pixel is None
            continue
        crs, transform, width, height = GRIDS[name]
        moved = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(x, y)
        row, col = rasterio.transform.rowcol(transform, *moved, op=math.floor)
        assert pixel == {"row": row, "col": col}
        n_outside += not (0 <= row < height and 0 <= col < width)
    assert n_outside


def test_row_col_takes_geometries_and_wants_a_crs(scenes, engine):
    import shapely

    point = shapely.to_wkb(shapely.Point(500_015, 4_999_970))
    plain = scenes.filter(id="plain")
    query = plain.select(pl.col("B").raster.row_col(pl.lit(point, dtype=pl.Binary), crs=32632))
    assert query.collect(engine=engine).item() == {"row": 1, "col": 1}
    with pytest.raises(UsageError, match="crs"):
        pl.col("B").raster.row_col(1, 2)
    with pytest.raises(UsageError, match="without y"):
        pl.col("B").raster.row_col(1, crs=4326)


def test_grid_expressions_know_columns_of_nulls_and_of_no_rows(scenes, engine):
    exprs = {
        "bounds": pl.col("B").raster.bounds(crs=4326),
        "size": pl.col("B").raster.pixel_size(),
        "overviews": pl.col("B").raster.overviews(),
        "pixel": pl.col("B").raster.row_col(1, 2, crs=4326),
    }
    for rows, n_rows in ((scenes.filter(id="missing"), 1), (scenes.filter(id="none"), 0)):
        answer = rows.select(**exprs).collect(engine=engine)
        assert answer.height == n_rows
        assert all(value is None for row in answer.rows() for value in row)


INTEGERS = {pl.UInt8: [0, 1, 170, 255], pl.Int8: [-128, -1, 0, 127], pl.UInt16: [0, 43_690, 65_535], pl.Int64: [-2, 2**62],
            pl.UInt64: [2**63 + 5, 2**64 - 1]}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 8), (3, 1), (6, 2), (7, 1), (10, 4), (60, 4), (63, 1)])
def test_bits_are_those_of_python(dtype, first, count, engine):
    values = INTEGERS[dtype]
    answer = pl.LazyFrame({"qa": [*values, None]}, schema={"qa": dtype}).select(pr.bits("qa", first, count))
    assert answer.collect_schema()["qa"].is_integer()
    expected = [value >> first & (1 << count) - 1 for value in values]
    assert answer.collect(engine=engine)["qa"].to_list() == [*expected, None]


@pytest.mark.parametrize("wrong", [(-1, 1), (0, 0), (60, 5), (1.5, 1), (True, 1)])
def test_bits_refuse_places_that_no_integer_has(wrong):
    with pytest.raises(UsageError, match="bits"):
        pr.bits("qa", *wrong)


def test_the_solar_day_follows_the_sun(engine):
    time = dt.datetime(2024, 5, 1, 23, 30, tzinfo=dt.UTC)
    lon = [0.0, 7.4, 7.6, 151.2, -60.0, -179.9, None]
    frame = pl.LazyFrame({"t": [time] * len(lon), "lon": lon})
    expected = [None if one is None else (time + dt.timedelta(minutes=4 * one)).date() for one in lon]
    assert frame.select(pr.solar_day("t", "lon")).collect(engine=engine)["t"].to_list() == expected
    zoned = frame.with_columns(pl.col("t").dt.convert_time_zone("Australia/Sydney"))
    naive = frame.with_columns(pl.col("t").dt.replace_time_zone(None))
    for other in (zoned, naive):
        assert other.select(pr.solar_day(pl.col("t"), "lon")).collect(engine=engine)["t"].to_list() == expected
    assert frame.select(pr.solar_day("t", 10)).collect(engine=engine)["t"][0] == dt.date(2024, 5, 2)


def test_the_weighted_mean_is_that_of_numpy(engine):
    rng = np.random.default_rng(1)
    value, weight, group = rng.integers(0, 1000, 50), rng.random(50), rng.integers(0, 4, 50)
    frame = pl.LazyFrame({"g": group, "v": value, "coverage": weight}, schema_overrides={"v": pl.UInt16})
    holes = frame.with_columns(v=pl.when(pl.col("v") > 900).then(None).otherwise("v"))
    answer = dict(holes.group_by("g").agg(pr.weighted_mean("v")).collect(engine=engine).rows())
    for one in range(4):
        at = (group == one) & (value <= 900)
        assert answer[one] == pytest.approx(np.average(value[at], weights=weight[at]))
    nothing = frame.select(pr.weighted_mean(pl.lit(None, dtype=pl.UInt16), "coverage")).collect(engine=engine)
    assert nothing.item() is None
