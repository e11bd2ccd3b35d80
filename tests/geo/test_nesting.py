"""Is WKB that nests too deeply refused before GEOS sees it, wherever it enters, and all else read as shapely reads it?"""

from __future__ import annotations

import math
import struct
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.errors import RasteretError, UsageError
from polars_rasteret.geo.geometry import parsed, points_of
from polars_rasteret.geo.nesting import MAX_NESTING, check_wkt, nesting

MULTI, SIMPLE = (4, 5, 6, 7), (1, 2, 3)
MEMBER = {4: 1, 5: 2, 6: 3}


def head(kind: int, order: str, flavour: str, srid: bool) -> bytes:
    """The head of a geometry, with Z and M as ISO or as EWKB says them."""
    z, m = "Z" in flavour, "M" in flavour
    code = kind + (1000 * (z + 2 * m) if flavour.startswith("iso") else (0x80000000 * z) | (0x40000000 * m))
    return (
        bytes([order == "<"])
        + struct.pack(order + "I", code | (0x20000000 * srid))
        + (struct.pack(order + "I", 4326) * srid)
    )


@st.composite
def nested(draw: st.DrawFn, depth: int) -> bytes:
    """WKB whose collections nest exactly `depth` deep; only the first member of each goes on."""
    order, flavour = (
        draw(st.sampled_from("<>")),
        draw(st.sampled_from(["iso", "isoZ", "isoM", "isoZM", "e", "eZ", "eM", "eZM"])),
    )
    srid = draw(st.booleans())
    n = 2 + ("Z" in flavour) + ("M" in flavour)
    if depth == 0:
        kind = draw(st.sampled_from(SIMPLE))
        body = {
            1: struct.pack(f"{order}{n}d", *range(n)),
            2: struct.pack(f"{order}I{2 * n}d", 2, *range(2 * n)),
            3: struct.pack(
                f"{order}II{4 * n}d", 1, 4, *[0, 0] * (n // 2), *[0] * (n % 2), *([5] * n), *range(n), *[0] * n
            ),
        }[kind]
        return head(kind, order, flavour, srid) + body
    kind = 7 if depth > 1 else draw(st.sampled_from(MULTI))
    others = [draw(nested(0)) for _ in range(draw(st.integers(0, 2)))] if kind == 7 else []
    members = [draw(nested(depth - 1)), *others] if kind == 7 else []
    return head(kind, order, flavour, srid) + struct.pack(order + "I", len(members)) + b"".join(members)


@given(data=st.data(), depth=st.integers(0, 8))
def test_nesting_counts_the_collections_around_the_innermost(data, depth):
    wkb = data.draw(nested(depth))
    assert nesting(wkb) == depth
    assert nesting(wkb, limit=3) == min(depth, 4)


def chain(kind: int, depth: int, order: str = "<") -> bytes:
    """Collections of one member each around a point."""
    level = bytes([order == "<"]) + struct.pack(order + "II", kind, 1)
    return level * depth + bytes([order == "<"]) + struct.pack(order + "Idd", 1, 1.0, 2.0)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [4, 5, 6, 7, 9, 10, 11, 12, 1007, 2007, 3007, 4007, 65_007])
def test_too_many_levels_are_refused_by_number(kind, order):
    with pytest.raises(UsageError, match=r"geometry 1 nests collections more than 32 deep"):
        parsed([shapely.to_wkb(shapely.Point(0, 0)), chain(kind, MAX_NESTING + 1, order)])


@pytest.mark.parametrize("flag", [0x80000000, 0x40000000, 0xC0000000])
def test_flags_hide_no_level(flag):
    with pytest.raises(UsageError, match="deep"):
        parsed([chain(7 | flag, 200)])


def test_as_many_levels_as_are_allowed_are_read():
    read = parsed([chain(7, MAX_NESTING)])[0]
    assert shapely.get_coordinates(read).tolist() == [[1.0, 2.0]]


@given(st.binary(max_size=40), st.sampled_from([4, 5, 6, 7, 3, 2]), st.integers(0, 2**32 - 1))
def test_damaged_wkb_is_an_error_or_what_shapely_reads(tail, kind, count):
    for wkb in (b"\x01" + struct.pack("<II", kind, count) + tail * 20, tail):
        try:
            expected = shapely.from_wkb(wkb)
        except (shapely.errors.ShapelyError, NotImplementedError):
            with pytest.raises(UsageError, match=r"geometry 2"):
                parsed([None, shapely.to_wkb(shapely.Point(1, 1)), wkb])
        else:
            assert shapely.equals_identical(parsed([wkb])[0], expected)


@pytest.mark.parametrize("kind", [8, 9, 10, 11, 12])
def test_curves_say_what_to_do(kind):
    wkb = b"\x01" + struct.pack("<II", kind, 0)
    with pytest.raises(UsageError, match=r"geometry 1 has curves.*ST_CurveToLine"):
        parsed([None, wkb])


@pytest.mark.parametrize("srid", [0, 4326])
@pytest.mark.parametrize(
    "kind", [shapely.points([[1.5, 2.5], [3.5, -4.5]]), shapely.points([[1.5, 2.5, 9], [3.5, -4.5, 8]])]
)
@pytest.mark.parametrize("how", [{"flavor": "extended"}, {"flavor": "iso"}, {"byte_order": 0}, {"byte_order": 1}])
def test_columns_of_points_of_one_kind_are_read_as_shapely_reads_them(kind, srid, how):
    wkb = shapely.to_wkb(shapely.set_srid(kind, srid), include_srid=srid > 0 and how.get("flavor") != "iso", **how)
    x, y = points_of(wkb)
    assert (x.tolist(), y.tolist()) == ([1.5, 3.5], [2.5, -4.5])
    mixed = np.array([*wkb, shapely.to_wkb(shapely.Point(7, 8)), None], dtype=object)
    x, y = points_of(mixed)
    assert np.array_equal(x, [1.5, 3.5, 7, math.nan], equal_nan=True)


def test_wide_geometries_are_no_deep_ones():
    points = shapely.MultiPoint(np.arange(20_000.0).reshape(-1, 2))
    polygons = shapely.MultiPolygon([shapely.box(i, 0, i + 0.5, 1) for i in range(500)])
    together = shapely.GeometryCollection([points, polygons, *polygons.geoms])
    for one in (points, polygons, together):
        for flavour in ("extended", "iso"):
            wkb = shapely.to_wkb(one, flavor=flavour, byte_order=0)
            assert nesting(wkb) == (2 if one is together else 1)
            assert shapely.equals_identical(parsed([wkb])[0], one)


def test_deep_wkt_is_refused():
    fine = "GEOMETRYCOLLECTION(" * MAX_NESTING + "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))" + ")" * MAX_NESTING
    check_wkt(fine)
    with pytest.raises(UsageError, match="deep"):
        check_wkt("GEOMETRYCOLLECTION(" * 50_000 + "POINT(1 2)" + ")" * 50_000)


FACES = """
    import struct, sys, tempfile
    import numpy as np, polars as pl
    import polars_rasteret as pr
    level = b"\\x01" + struct.pack("<II", 7, 1)
    bomb = level * 20_000 + b"\\x01" + struct.pack("<Idd", 1, 1.0, 2.0)
    assert len(bomb) > 180_000
    scenes = pr.testing.example_scenes()
    frame = scenes.collect()
    good = pr.testing.example_scenes().collect()["geometry"][0]
    rows = pl.DataFrame({"k": [0, 1], "geometry": [good, bomb]}).lazy()
    joined = pl.LazyFrame({"k": [1, 0]}).join(rows, on="k")
    own = frame.with_columns(geometry=pl.lit(bomb)).lazy()
    paired = pl.concat([frame.head(1).select("red"), rows.collect().tail(1).select("geometry")], how="horizontal").lazy()
    faces = {
        "points": lambda: scenes.raster.sample_points(rows, geometry="geometry", crs=4326).collect(),
        "areas": lambda: scenes.raster.read_windows(rows, geometry="geometry", crs=4326).collect(),
        "joined": lambda: scenes.raster.read_windows(joined, geometry="geometry", crs=4326).collect(engine="streaming"),
        "pair": lambda: scenes.raster.pair(rows, geometry="geometry", crs=4326).collect(),
        "expression": lambda: paired.select(pl.col("red").raster.read_window("geometry", crs=4326)).collect(),
        "point expression": lambda: paired.select(pl.col("red").raster.sample_points("geometry", crs=4326)).collect(),
        "row_col": lambda: paired.select(pl.col("red").raster.row_col("geometry", crs=4326)).collect(),
        "intersects": lambda: scenes.raster.intersects(bomb).collect(),
        "intersects text": lambda: scenes.raster.intersects("GEOMETRYCOLLECTION(" * 50_000 + "POINT(1 2)").collect(),
        "subset": lambda: scenes.raster.subset(geometries=[bomb]).collect(),
        "own geometry": lambda: own.raster.intersects((8, 44, 11, 47)).collect(),
        "own geometry, bounds": lambda: own.drop("bbox").raster.bounds(),
        "own geometry, written": lambda: own.drop("bbox").raster.sink_collection(tempfile.mkdtemp() + "/c.parquet"),
        "own geometry, written with a box": lambda: own.raster.sink_collection(tempfile.mkdtemp() + "/c.parquet"),
    }
    for name, ask in faces.items():
        try:
            ask()
        except pr.errors.UsageError as error:
            assert "deep" in str(error), (name, error)
            print("refused:", name, flush=True)
        else:
            print("NOT REFUSED:", name, flush=True)
"""


def test_180_kb_of_collections_end_no_process():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(FACES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "NOT REFUSED" not in done.stdout, done.stdout
    assert done.stdout.count("refused:") == 14


def polygon(*corners: tuple[float, float]) -> bytes:
    return b"\x01" + struct.pack("<III", 3, 1, len(corners)) + struct.pack(f"<{2 * len(corners)}d", *np.ravel(corners))


ODD: dict[str, bytes] = {
    "NaN corner": polygon((9.001, 45.149), (math.nan, 45.15), (9.005, 45.15), (9.001, 45.149)),
    "NaN point": b"\x01" + struct.pack("<Idd", 1, math.nan, math.nan),
    "half a NaN point": b"\x01" + struct.pack("<Idd", 1, 9.001, math.nan),
    "NaN line": b"\x01" + struct.pack("<II4d", 2, 2, 9.001, 45.149, math.nan, 45.15),
    "empty collection": b"\x01" + struct.pack("<II", 7, 0),
    "empty polygon": b"\x01" + struct.pack("<II", 3, 0),
}


AREA_VERBS = {
    "zonal_stats": ("red_count", lambda lf, rows, **words: lf.raster.zonal_stats(rows, ["red"], ["count"], **words)),
    "read_windows": ("red", lambda lf, rows, **words: lf.raster.read_windows(rows, ["red"], **words)),
    "pixels": ("red", lambda lf, rows, **words: lf.raster.pixels(rows, ["red"], **words)),
}


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("verb", AREA_VERBS)
def test_geometries_that_are_nowhere_are_unmatched(verb, engine):
    scenes = pr.testing.example_scenes()
    sound = shapely.to_wkb(shapely.box(9.001, 45.149, 9.005, 45.152))
    # Statistics are of areas; points and lines are refused there before anybody looks where they are.
    odd = {name: one for name, one in ODD.items() if verb == "read_windows" or not name.endswith(("point", "line"))}
    rows = pl.DataFrame({"k": range(1 + len(odd)), "geometry": [sound, *odd.values()]})
    column, ask = AREA_VERBS[verb]
    found = ask(scenes, rows, geometry="geometry", crs=4326, unmatched="null").collect(engine=engine)
    for at, name in enumerate(odd, 1):
        assert found.filter(k=at).select(column, "record_id").rows() == [(None, None)], name
    assert found.filter(pl.col("k") == 0)[column].null_count() == 0
    dropped = ask(scenes, rows, geometry="geometry", crs=4326, unmatched="drop").collect(engine=engine)
    assert dropped["k"].unique().to_list() == [0]


INFINITE = {
    "corner": polygon((9.001, 45.149), (math.inf, 45.15), (9.005, 45.15), (9.001, 45.149)),
    "y": polygon((9.001, 45.149), (9.003, -math.inf), (9.005, 45.15), (9.001, 45.149)),
    "with NaN": polygon((9.001, 45.149), (math.nan, 45.15), (-math.inf, 45.15), (9.001, 45.149)),
    "everywhere": polygon(
        *[(sign * math.inf, other * math.inf) for sign, other in ((-1, -1), (1, -1), (1, 1), (-1, -1))]
    ),
}


@pytest.mark.parametrize("verb", AREA_VERBS)
@pytest.mark.parametrize("crs", [4326, 32632, "native"])
def test_infinite_coordinates_are_refused_by_every_verb_of_areas(verb, crs):
    scenes = pr.testing.example_scenes()
    sound = shapely.to_wkb(shapely.box(9.001, 45.149, 9.005, 45.152))
    for name, wkb in INFINITE.items():
        rows = pl.DataFrame({"geometry": [None, sound, wkb]}, schema={"geometry": pl.Binary})
        with pytest.raises(UsageError, match="expected finite coordinates") as caught:
            AREA_VERBS[verb][1](scenes, rows, crs=crs).collect()
        assert "geometry 2 reaches over" in str(caught.value), name
    boxes = [None, (9.001, 45.149, 9.005, 45.152), (-math.inf, 45.149, math.inf, 45.152)]
    with pytest.raises(UsageError, match="geometry 2 reaches over"):
        AREA_VERBS[verb][1](scenes, boxes, crs=crs).collect()
    for geometry in (INFINITE["corner"], boxes[2]):
        with pytest.raises(UsageError, match="geometry 0 reaches over"):
            scenes.raster.to_xarray(geometry=[geometry], crs=crs)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_point_at_no_place_has_no_window_as_it_has_no_sample(number):
    scenes = pr.testing.example_scenes()
    points = [shapely.to_wkb(shapely.Point(9.003, 45.15)), b"\x01" + struct.pack("<Idd", 1, number, 45.15)]
    rows = pl.DataFrame({"row": [0, 1], "geometry": points})
    found = scenes.raster.read_windows(rows, shape=(3, 3), crs=4326).collect()
    assert set(found["row"]) == {0}
    values = scenes.raster.sample_points(rows, crs=4326, match="latest").collect()
    assert values["record_id"].is_null().to_list() == [False, True]


@pytest.mark.parametrize("crs", [None, 4326, 32632, 3857])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_records_are_not_looked_for_where_a_coordinate_is_no_number(crs, number):
    scenes = pr.testing.example_scenes()
    over_180 = polygon((170, 45), (190, number), (190, 45), (170, 46), (170, 45))
    for wkb in (over_180, polygon((9, 45), (number, 45.1), (9.1, 45), (9, 45))):
        for asked in (wkb, [shapely.to_wkb(shapely.box(9, 45, 9.1, 45.1)), wkb]):
            with pytest.raises(UsageError, match="NaN or infinite"):
                scenes.raster.intersects(asked, crs=crs).collect()


def test_a_ring_that_is_none_is_named_by_its_row():
    open_ring = polygon((9.001, 45.149), (9.005, 45.149), (9.005, 45.152), (9.001, 45.152))
    rows = pl.DataFrame({"geometry": [None, open_ring]}, schema={"geometry": pl.Binary})
    with pytest.raises(RasteretError, match=r"geometry 1"):
        pr.testing.example_scenes().raster.read_windows(rows, ["red"], geometry="geometry", crs=4326).collect()
