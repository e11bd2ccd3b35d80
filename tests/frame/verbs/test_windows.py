"""Do queries on windows agree with windows cut by hand?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyproj
import pytest
import shapely
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FORMS, UNMATCHED, serials_of
from tests.support.oracle.planes import Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHAPE = (3, 4)
BANDS = ("red", "swir")
CORNER = pl.col("red").arr.get(0).arr.get(1)
CLEAR = pl.col("eo:cloud_cover") < 20


def _by_python(series: pl.Series) -> pl.Series:
    return series.arr.get(0).arr.get(0) > 1_500


QUERIES: dict[str, tuple[Callable[[pl.LazyFrame], pl.LazyFrame], bool]] = {
    "everything": (lambda lf: lf, True),
    "filter_record": (lambda lf: lf.filter(CLEAR), True),
    "filter_record_keeping_nulls": (lambda lf: lf.filter(pl.col("eo:cloud_cover").is_null() | CLEAR), True),
    "filter_caller": (lambda lf: lf.filter(pl.col("crop") == "maize"), True),
    "filter_mixed": (lambda lf: lf.filter(pl.col("datetime").is_between("planting", "harvest")), True),
    "filter_mixed_or": (lambda lf: lf.filter((pl.col("weight") > 3_000) | CLEAR), True),
    "filter_pixel": (lambda lf: lf.filter(CORNER > 1_500), True),
    "filter_pixel_null": (lambda lf: lf.filter(pl.col("red").is_null() | pl.col("swir_right").is_null()), True),
    "filter_pixel_and_record": (lambda lf: lf.filter(CLEAR & (CORNER > 1_500)), True),
    "filter_grid": (lambda lf: lf.filter(pl.col("raster_crs") == "EPSG:32633"), True),
    "filter_udf": (
        lambda lf: lf.filter(pl.col("red").map_batches(_by_python, return_dtype=pl.Boolean, is_elementwise=True)),
        True,
    ),
    "filter_over": (lambda lf: lf.filter(CORNER.max().over("point") == CORNER), True),
    "head": (lambda lf: lf.head(9), True),
    "head_then_filter": (lambda lf: lf.head(40).filter(CLEAR), True),
    "filter_then_head": (lambda lf: lf.filter(CORNER > 1_500).head(4), True),
    "tail": (lambda lf: lf.tail(9), True),
    "slice": (lambda lf: lf.slice(20, 15), True),
    "one_band": (lambda lf: lf.select("swir_right"), True),
    "grid_only": (lambda lf: lf.select("transform", "raster_crs"), True),
    "one_grid_column": (lambda lf: lf.select("raster_crs"), True),
    "no_pixels": (lambda lf: lf.select("point", "serial"), True),
    "length": (lambda lf: lf.select(pl.len()), True),
    "filter_length": (lambda lf: lf.filter(CLEAR).select(pl.len()), True),
    "corner": (lambda lf: lf.select("point", corner=CORNER), True),
    "explode": (lambda lf: lf.select("point", "red").explode("red"), True),
    "unique": (lambda lf: lf.unique("point", keep="first", maintain_order=True), True),
    "sort": (lambda lf: lf.sort("record_id", "point", "serial", nulls_last=True), True),
    "concat": (lambda lf: pl.concat([lf.filter(CLEAR), lf.filter(~CLEAR)]), True),
    "group_by": (lambda lf: lf.group_by("crop").agg(pl.len(), CORNER.max().alias("most")), False),
    "self_join": (
        lambda lf: (
            lf.filter(CLEAR).select("point", "red").join(lf.filter(~CLEAR).select("point", "swir_right"), on="point")
        ),
        False,
    ),
}


def windows(collection: pl.LazyFrame, unmatched: str, **how: Any) -> pl.LazyFrame:
    return collection.raster.read_windows(
        world.points(), BANDS, shape=SHAPE, crs=4326, unmatched=unmatched, record_columns=world.RECORD_COLUMNS, **how
    )


@pytest.fixture(scope="module")
def expected(collections: Mapping[str, pl.LazyFrame]) -> Callable[..., pl.DataFrame]:
    known: dict[Any, pl.DataFrame] = {}

    def give(form: str, unmatched: str, *, masked: bool = False) -> pl.DataFrame:
        key = (form, unmatched, masked)
        if key not in known:
            known[key] = world.windowed(
                world.points(),
                list(serials_of(collections[form])),
                unmatched=unmatched,
                shape=SHAPE,
                bands=BANDS,
                masked=masked,
            )
        return known[key]

    return give


def sortable(frame: pl.DataFrame, *, ordered: bool) -> pl.DataFrame:
    if ordered:
        return frame
    order = sorted(range(frame.height), key=lambda at: str(frame.row(at)))
    return frame[order]


@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_on_windows_agrees_with_the_reference(name, unmatched, collections, expected):
    query, ordered = QUERIES[name]
    form = FORMS[(list(QUERIES).index(name) + UNMATCHED.index(unmatched)) % 2]
    wanted = query(expected(form, unmatched).lazy()).collect()
    for engine in ENGINES:
        asked = query(windows(collections[form], unmatched))
        got = asked.collect(engine=engine)
        assert_frame_equal(sortable(got, ordered=ordered), sortable(wanted, ordered=ordered))
        assert asked.collect_schema() == wanted.schema


@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("engine", ENGINES)
def test_masked_windows_have_null_elements(unmatched, engine, collections, expected):
    got = windows(collections["memory"], unmatched, masked=True).collect(engine=engine)
    assert_frame_equal(got, expected("memory", unmatched, masked=True))


def test_the_validity_of_masked_windows_is_a_column(collections, expected):
    got = windows(collections["memory"], "null", masked="column").collect()
    masked = expected("memory", "null", masked=True)
    for band in ("red", "swir_right"):
        name = {"red": "red_valid", "swir_right": "swir_valid"}[band]
        wanted = [
            None if one is None else [[pixel is not None for pixel in row] for row in one]
            for one in masked[band].to_list()
        ]
        assert got[name].to_list() == wanted
    assert_frame_equal(got.drop("red_valid", "swir_valid"), expected("memory", "null"))


def test_windows_read_in_small_units_are_the_same(collections, expected):
    with pr.options(max_answer_bytes=3_000):
        asked = windows(collections["memory"], "null")
    assert_frame_equal(asked.collect(), expected("memory", "null"))
    assert_frame_equal(asked.filter(CORNER > 1_500).collect(), expected("memory", "null").filter(CORNER > 1_500))


def test_bands_on_different_grids_are_not_given_as_if_they_shared_one(collections):
    """One row has one `transform`: a band on another grid is brought onto it, or refused; never just put beside it."""
    left, top = world.ZONES["EPSG:32632"]
    point = pl.DataFrame({"x": [left + 150 + 203.0], "y": [top + 150 - 407.0]})
    asked = collections["memory"].filter(pl.col("serial") == 5).raster.read_windows(
        point, ["red", "nir"], shape=(4, 4), crs=32632, grid="finest"
    )  # fmt: skip
    try:
        got = asked.collect().row(0, named=True)
    except pr.errors.UsageError:
        return
    nir = world.grids()[5, "nir"]
    a, _, c, _, e, f = got["transform"]
    for row in range(4):
        for col in range(4):
            place = nir.place(c + a * (col + 0.5), f + e * (row + 0.5), nir.crs)
            assert nir.holds(place)
            assert got["nir"][row][col] == nir.values[tuple(map(math.floor, place))].item()


# Expressions on pairs.


def with_geometry() -> pl.DataFrame:
    points = world.points()
    geometry = [None if x is None or y is None else shapely.to_wkb(shapely.Point(x, y)) for x, y in world.xy_of(points)]
    geometry[3] = shapely.to_wkb(shapely.Point())
    return points.with_columns(geometry=pl.Series(geometry, dtype=pl.Binary))


@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", ["single", "struct", "stack"])
def test_windows_of_expressions_on_pairs_agree_with_the_reference(form, masked, engine, unmatched, collections):
    caller = with_geometry()
    pairs = collections["memory"].raster.pair(
        caller, geometry="geometry", crs=4326, unmatched=unmatched, record_columns=world.RECORD_COLUMNS
    )
    xy = [(None, None) if at == 3 else one for at, one in enumerate(world.xy_of(caller))]
    found = world.pairs(xy, list(range(8)), unmatched=unmatched)
    names = {"red": "red", "swir": "swir_right"}
    how = {"shape": SHAPE, "crs": 4326, "masked": masked}
    if form == "single":
        asked = pairs.with_columns(pl.col(name).raster.read_window("geometry", **how) for name in names.values())
    else:
        asked = pairs.with_columns(pr.read_window(list(names.values()), "geometry", stack=form == "stack", **how))
    got = asked.collect(engine=engine)
    assert got["serial"].to_list() == [pair.scene.serial if pair.scene else None for pair in found]
    wanted = {band: [world.window_at(pair, band, SHAPE, masked=masked) for pair in found] for band in names}
    if form == "single":
        assert {band: got[name].to_list() for band, name in names.items()} == wanted
    elif form == "struct":
        fields = got["pixels"].struct
        assert {band: fields.field(name).to_list() for band, name in names.items()} == wanted
    else:
        empty = [[None] * SHAPE[1]] * SHAPE[0]
        stacked = [
            None if red is None and swir is None else [red or empty, swir or empty]
            for red, swir in zip(wanted["red"], wanted["swir"], strict=True)
        ]
        assert got["pixels"].to_list() == stacked
        assert got.schema["pixels"] == pl.Array(pl.Int32, (2, *SHAPE))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pixel_window_of_columns_is_cut_from_each_record(engine, in_memory):
    frame = in_memory.with_columns(top=pl.col("serial") * 9 - 2, left=pl.col("serial") * 13 + 60)
    window = (pl.col("top"), pl.col("top") + 3, pl.col("left"), pl.col("left") + 5)
    got = frame.select("serial", pl.col("red").raster.read_window(window=window)).unnest("red").collect(engine=engine)
    for row in got.iter_rows(named=True):
        grid = world.grids()[row["serial"], "red"]
        top, left = row["serial"] * 9 - 2, row["serial"] * 13 + 60
        wanted = [
            grid.values[at, col].item() if grid.holds((at, col)) else world.NODATA["red"]
            for at in range(top, top + 3)
            for col in range(left, left + 5)
        ]
        if top >= 100 or left >= 120:
            assert row["pixels"] is None
        else:
            assert (row["pixels"], row["height"], row["width"]) == (wanted, 3, 5)


# Areas on the raster's own grid.


def boxes() -> pl.DataFrame:
    left, top = world.ZONES["EPSG:32632"]
    rng = np.random.default_rng(3)
    corners = np.stack([left - 300 + 1900 * rng.random(14), top + 300 - 1600 * rng.random(14)], axis=1)
    sizes = 5 + 180 * rng.random((14, 2))
    polygons = [
        shapely.box(x, y, x + width, y + height)
        for (x, y), (width, height) in zip(corners.tolist(), sizes.tolist(), strict=True)
    ]
    polygons += [shapely.Polygon(), shapely.box(0, 0, 10, 10)]
    wkb = [*(shapely.to_wkb(one) for one in polygons), None]
    return pl.DataFrame({"zone": range(len(wkb)), "geometry": pl.Series(wkb, dtype=pl.Binary)})


def area_window(grid: Plane, polygon: Any) -> tuple[int, int, int, int] | None:
    """The smallest window that holds a polygon, its edges followed densely; clipped."""
    if polygon is None or polygon.is_empty:
        return None
    move = pyproj.Transformer.from_crs("EPSG:32632", grid.crs, always_xy=True)
    x, y = move.transform(*np.array(shapely.segmentize(polygon, 1.0).exterior.coords).T)
    col = (np.asarray(x) - grid.transform[2]) / grid.transform[0]
    row = (np.asarray(y) - grid.transform[5]) / grid.transform[4]
    height, width = grid.values.shape
    window = (
        max(math.floor(row.min()), 0),
        min(math.ceil(row.max()), height),
        max(math.floor(col.min()), 0),
        min(math.ceil(col.max()), width),
    )
    return window if window[1] > window[0] and window[3] > window[2] else None


@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("engine", ENGINES)
def test_windows_of_areas_are_the_smallest_that_hold_them(unmatched, engine, in_memory):
    zones = boxes()
    asked = in_memory.raster.read_windows(
        zones, ["nir", "temp"], crs=32632, unmatched=unmatched, record_columns=["serial"]
    )
    wanted = []
    for zone, wkb in zones.iter_rows():
        polygon, before = None if wkb is None else shapely.from_wkb(wkb), len(wanted)
        for scene in world.in_result_order(list(range(8))):
            found: dict[str, Any] = {}
            for band in ("nir", "temp"):
                grid = world.grids().get((scene.serial, band))
                window = None if grid is None else area_window(grid, polygon)
                if grid is None or window is None:
                    found[band] = None
                    continue
                pixels = grid.values[window[0] : window[1], window[2] : window[3]]
                found[band] = (pixels.shape, pixels.ravel().tolist(), window)
            if any(found.values()):
                wanted.append((zone, scene.serial, found))
        if len(wanted) == before and unmatched == "null":
            wanted.append((zone, None, {"nir": None, "temp": None}))
    got = asked.collect(engine=engine)
    assert got.select("zone", "serial").rows() == [(zone, serial) for zone, serial, _ in wanted]
    for row, (_, serial, found) in zip(got.iter_rows(named=True), wanted, strict=True):
        for band, one in found.items():
            if one is None:
                assert row[band] is None
                continue
            shape, pixels, window = one
            grid = world.grids()[serial, band]
            assert (row[band]["height"], row[band]["width"]) == shape
            np.testing.assert_array_equal(np.array(row[band]["pixels"]), np.array(pixels))
            a, _, c, _, e, f = grid.transform[:6]
            assert row[band]["transform"] == pytest.approx([a, 0, c + a * window[2], 0, e, f + e * window[0]])
            assert row[band]["crs"] == grid.crs


@pytest.mark.parametrize("unscale", [False, ["nir"]])
def test_a_stack_has_the_valid_mask_of_each_of_its_bands(unscale):
    # Red counts up from 1000, row by row of 64; nir is three times red.
    scenes = pr.testing.example_scenes().head(1)
    scenes = scenes.with_columns(
        pl.col("red").raster.with_metadata(nodata=1065), pl.col("nir").raster.with_metadata(nodata=3000)
    )
    place = pl.DataFrame({"x": [500_015.0], "y": [4_999_985.0]})
    stack = {"shape": (3, 3), "crs": 32632, "stack": True, "masked": "column", "unscale": unscale}
    row = scenes.raster.read_windows(place, ["red", "nir"], **stack).collect().row(0, named=True)
    assert row["red_valid"] == [[True, True, True], [True, False, True], [True, True, True]]
    assert row["nir_valid"] == [[False, True, True], [True, True, True], [True, True, True]]
    assert np.array(row["pixels"])[:, 1, 1].tolist() == [1065, 3195]
