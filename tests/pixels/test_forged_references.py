"""Does a raster value with a forged field ever give another pixel, or take the sound records down with it?

Two records lie over each other: A is sound, B has one field forged. What A must answer comes from rasterio. B must end in an
error that names the column and the record, or with ``on_error="null"`` in null beside its reason.
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.schema import RASTER_FIELDS
from polars_rasteret.testing import MemorySource
from polars_rasteret.tiff.tile_table import pack, unpack
from tests.support.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable

    Forge = Callable[[dict[str, Any]], dict[str, Any]]

PREFIX = "memory://forged-references/"
POINTS = pl.DataFrame({"x": [500_105.0, 500_333.0, 500_598.0], "y": [4_999_895.0, 4_999_601.0, 4_999_405.0]})


def image(seed: int, *, interleave: str, count: int = 3) -> bytes:
    pixels = np.random.default_rng(seed).integers(1, 60_000, (count, 64, 60), dtype=np.uint16)
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "count": count, "height": 64, "width": 60, "dtype": "uint16", "crs": "EPSG:32632"}
        layout = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", "interleave": interleave}
        with memory.open(**profile, **layout, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000)) as file:
            file.write(pixels)
        return bytes(memory.getbuffer())


FILES = {
    "a.tif": image(1, interleave="pixel"),
    "b.tif": image(2, interleave="pixel"),
    "planes.tif": image(3, interleave="band"),
    "small.tif": image(4, interleave="pixel", count=1),
}


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    pr.configure_store(PREFIX, store=MemorySource({PREFIX + name: data for name, data in FILES.items()}))
    built = pr.build_from_files(
        [PREFIX + name for name in ("a.tif", "b.tif", "planes.tif")],
        bands=["one", "two", "three"],
        id=["A", "B", "P"],
        datetime=["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"],
    )
    return built.collect()


def truth(name: str, band: int) -> list[int]:
    with MemoryFile(FILES[name]) as memory, memory.open() as file:
        return [int(value[band]) for value in file.sample(POINTS.rows())]


def image_of(name: str) -> np.ndarray:
    with MemoryFile(FILES[name]) as memory, memory.open() as file:
        return file.read()


def forged(records: pl.DataFrame, forge: Forge, *, of: str = "B", band: str = "two") -> pl.DataFrame:
    """The sound record A, and record `of` with a forged value of `band`; read columns keep their dtype where it still fits."""
    rows = records.filter(pl.col("id").is_in(["A", of]))
    values = [
        value if name == "A" else forge(dict(value))
        for name, value in zip(rows["id"], rows[band].to_list(), strict=True)
    ]
    fields = []
    for field in rows.schema[band].fields:
        column = [value[field.name] for value in values]
        dtype: Any = field.dtype
        if field.name == "transform" and any(one is not None and len(one) != 6 for one in column):
            dtype = pl.List(pl.Float64)
        if field.dtype.is_integer() and any(one is not None and not 0 <= one < 2**16 for one in column):
            dtype = pl.Int64
        fields.append(pl.Series(field.name, column, dtype=dtype))
    return rows.with_columns(pl.DataFrame(fields).to_struct(band))


def sets(**fields: Any) -> Forge:
    return lambda value: value | fields


def another_table(value: dict[str, Any]) -> dict[str, Any]:
    """A table with its digest right, of an image of another size."""
    tiles = unpack(value["tiles"])
    from dataclasses import replace

    return value | {"tiles": pack(replace(tiles, images=(replace(tiles.images[0], width=59),)))}


def same_head(value: dict[str, Any]) -> dict[str, Any]:
    """Flag and digest as they were, and other bytes behind: whoever looks at the head alone takes the sound table."""
    return value | {"tiles": value["tiles"][:-1] + bytes([value["tiles"][-1] ^ 1])}


FORGERIES: dict[str, Forge] = {
    "band beyond the file": sets(band_index=3),
    "band far beyond": sets(band_index=65_535),
    "negative band": sets(band_index=-1),
    "no band": sets(band_index=None),
    "no href": sets(href=None),
    "no tiles": sets(tiles=None),
    "neither": sets(href=None, tiles=None),
    "empty tiles": sets(tiles=b""),
    "text as tiles": sets(tiles=b"no table at all, but some text"),
    "truncated tiles": lambda value: value | {"tiles": value["tiles"][:-3]},
    "same head": same_head,
    "another image": another_table,
    "width": sets(width=61),
    "huge width": sets(width=2**32 - 1),
    "no height": sets(height=None),
    "short transform": sets(transform=[10.0, 0.0, 500_000.0, 0.0, -10.0]),
    "NaN in transform": sets(transform=[10.0, 0.0, math.nan, 0.0, -10.0, 5_000_000.0]),
    "null in transform": sets(transform=[10.0, 0.0, None, 0.0, -10.0, 5_000_000.0]),
    "infinite transform": sets(transform=[10.0, 0.0, math.inf, 0.0, -10.0, 5_000_000.0]),
    "flat transform": sets(transform=[0.0, 0.0, 500_000.0, 0.0, 0.0, 5_000_000.0]),
    "unknown crs": sets(crs="EPSG:99999999"),
    "no crs": sets(crs=None),
    "text as crs": sets(crs="somewhere"),
    "empty crs": sets(crs=""),
    "unknown scheme": sets(href="gopher://host/b.tif"),
    "file that is not there": sets(href=PREFIX + "gone.tif"),
}
"""Each makes the value of band `two` of record B unreadable."""


def in_turns(test: Any) -> Any:
    """Ask every forgery of one engine in the suite, in turns, and of the other with ``-m slow``."""
    cases = [
        pytest.param(name, engine, marks=[pytest.mark.slow] * ((at + turn) % 2))
        for at, name in enumerate(FORGERIES)
        for turn, engine in enumerate(ENGINES)
    ]
    return pytest.mark.parametrize(("name", "engine"), cases)(test)


@in_turns
def test_sample_points_gives_the_sound_record_and_the_reason_of_the_forged_one(records, name, engine):
    lf = forged(records, FORGERIES[name]).lazy()
    query = lf.raster.sample_points(POINTS, ["one", "two"], crs=32632, on_error="null")
    found = query.collect(engine=engine)
    sound, evil = found.filter(record_id="A"), found.filter(record_id="B")
    assert sound["one"].to_list() == truth("a.tif", 0)
    assert sound["two"].to_list() == truth("a.tif", 1)
    assert sound["read_error"].null_count() == 3
    assert evil["one"].to_list() == truth("b.tif", 0)
    assert evil["two"].to_list() == [None] * 3
    assert all(
        "two" in reason and ("'B'" in reason or "gone.tif" in reason or "gopher" in reason)
        for reason in evil["read_error"]
    )


@in_turns
def test_sample_points_refuses_the_forged_record_by_name(records, name, engine):
    lf = forged(records, FORGERIES[name]).lazy()
    with pytest.raises(pr.errors.RasteretError, match=r"two.*('B'|gone\.tif|gopher)"):
        lf.raster.sample_points(POINTS, ["one", "two"], crs=32632).collect(engine=engine)
    # Who does not ask for the forged band is not bothered by it.
    found = lf.raster.sample_points(POINTS, ["one"], crs=32632, record_columns=["id"]).collect(engine=engine)
    assert found.filter(record_id="B")["one"].to_list() == truth("b.tif", 0)


@in_turns
def test_expressions_give_null_in_the_rows_of_the_forged_value_alone(records, name, engine):
    frame = forged(records, FORGERIES[name]).join(POINTS, how="cross")
    by_point = pl.col("two").raster.sample_points("x", "y", crs=32632, on_error="null")
    whole = pl.col("two").raster.read_window(on_error="null")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = frame.lazy().select("id", point=by_point).collect(engine=engine)
        windows = frame.unique("id").lazy().select("id", window=whole).collect(engine=engine)
    assert found.filter(id="A")["point"].to_list() == truth("a.tif", 1)
    assert found.filter(id="B")["point"].to_list() == [None] * 3
    assert any("3 values are null because their read failed" in str(one.message) for one in told)
    assert windows.filter(id="A")["window"].struct.field("pixels").list.len().to_list() == [64 * 60]
    is_placed_in_vain = "crs" in name
    assert windows.filter(id="B")["window"].null_count() == (0 if is_placed_in_vain else 1)


@in_turns
def test_expressions_refuse_the_forged_value_by_column(records, name, engine):
    frame = forged(records, FORGERIES[name]).join(POINTS, how="cross")
    with pytest.raises(pr.errors.RasteretError, match="two"):
        frame.lazy().select(pl.col("two").raster.sample_points("x", "y", crs=32632)).collect(engine=engine)


@in_turns
@pytest.mark.parametrize("words", [{}, {"shape": (8, 8)}], ids=["native", "shape"])
def test_read_windows_gives_the_sound_record_and_the_reason_of_the_forged_one(records, name, engine, words):
    lf = forged(records, FORGERIES[name]).lazy()
    boxes = pl.DataFrame({"bbox": [{"xmin": 500_100.0, "ymin": 4_999_700.0, "xmax": 500_180.0, "ymax": 4_999_780.0}]})
    how = {"geometry": "bbox", "crs": 32632, **words}
    found = lf.raster.read_windows(boxes, ["one", "two"], on_error="null", **how).collect(engine=engine)
    sound, evil = found.filter(record_id="A"), found.filter(record_id="B")
    with MemoryFile(FILES["a.tif"]) as memory, memory.open() as file:
        expected = file.read(2)[22:30, 10:18]
    pixels = sound["two"][0] if words else sound["two"].struct.field("pixels")[0]
    assert np.array_equal(np.asarray(pixels.to_list()).ravel(), expected.ravel())
    assert sound["read_error"].null_count() == 1
    assert evil["two"].null_count() == 1
    assert evil["one"].null_count() == 0
    assert "two" in evil["read_error"][0]
    with pytest.raises(pr.errors.RasteretError, match="two"):
        lf.raster.read_windows(boxes, ["one", "two"], **how).collect(engine=engine)


@pytest.mark.parametrize("match", ["latest", "earliest", "nearest"])
@in_turns
def test_a_forged_record_is_passed_over_and_told(records, name, match, engine):
    """B is the later one: `latest` tries it first, and takes A."""
    lf = forged(records, FORGERIES[name], band="one").lazy()
    points = POINTS.with_columns(at=pl.date(2024, 2, 1))
    words = (
        {"match": match, "at": "at", "on_error": "null"} if match == "nearest" else {"match": match, "on_error": "null"}
    )
    found = lf.raster.sample_points(points, ["one"], crs=32632, **words).collect(engine=engine)
    assert found["record_id"].to_list() == ["A"] * 3
    assert found["one"].to_list() == truth("a.tif", 0)
    assert found["read_error"].null_count() == (3 if match == "earliest" else 0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("crs", ["somewhere", "EPSG:99999999", ""])
def test_what_is_no_crs_matters_to_nobody_who_reads_by_pixels_or_native_coordinates(records, crs, engine):
    frame = forged(records, sets(crs=crs)).lazy()
    by_pixel = pl.col("two").raster.read_window(window=(3, 7, 3, 7), shape=(2, 2))
    assert frame.select(by_pixel).collect(engine=engine)["two"].null_count() == 0
    found = frame.raster.sample_points(POINTS, ["two"], crs="native").collect(engine=engine)
    assert found.filter(record_id="B")["two"].to_list() == truth("b.tif", 1)
    box = pl.DataFrame({"bbox": [{"xmin": 500_100.0, "ymin": 4_999_700.0, "xmax": 500_180.0, "ymax": 4_999_780.0}]})
    words = {"geometry": "bbox", "crs": "native", "shape": (8, 8)}
    stack = pr.read_window(["one", "two"], window=(0, 4, 0, 4), stack=True, on_error="null")
    with pytest.warns(RuntimeWarning, match="1 values are null"):
        stacked = frame.select("id", stack).collect(engine=engine)
    assert np.array_equal(stacked.filter(id="A")["pixels"][0].to_numpy(), image_of("a.tif")[:2, :4, :4])
    with pytest.raises(UsageError, match=r"two.*another pixel grid"):
        frame.select(pr.read_window(["one", "two"], window=(0, 4, 0, 4), stack=True)).collect(engine=engine)
    assert frame.raster.read_windows(box, ["two"], **words).collect(engine=engine)["two"].null_count() == 0


def test_a_value_of_nothing_but_nulls_is_a_null_raster(records):
    lf = forged(records, lambda value: dict.fromkeys(value)).lazy()
    found = lf.raster.sample_points(POINTS, ["one", "two"], crs=32632, on_error="null").collect()
    assert found.filter(record_id="B")["two"].to_list() == [None] * 3
    assert found["read_error"].null_count() == 6


@pytest.mark.parametrize("field", RASTER_FIELDS)
def test_a_missing_field_is_named(records, field):
    cut = records.with_columns(
        pl.struct(pl.col("two").struct.field(name) for name in RASTER_FIELDS if name != field).alias("two")
    ).lazy()
    for bands in (None, ["one", "two"]) if field not in ("href", "tiles") else (["one", "two"],):
        with pytest.raises(UsageError, match=f"two.*{field}.*missing"):
            cut.raster.sample_points(POINTS, bands, crs=32632).collect()


@pytest.mark.parametrize(
    ("field", "dtype"),
    [
        ("href", pl.Binary),
        ("band_index", pl.Float64),
        ("band_index", pl.String),
        ("crs", pl.Binary),
        ("width", pl.Float64),
        ("nodata", pl.String),
        ("scale", pl.String),
        ("offset", pl.Binary),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_field_of_another_type_is_named(records, field, dtype, engine):
    wrong = pl.col("two").struct.with_fields(pl.field(field).cast(dtype, strict=False)).alias("two")
    if dtype == pl.Binary and field == "offset":
        wrong = pl.col("two").struct.with_fields(offset=pl.lit(b"0")).alias("two")
    frame = records.with_columns(wrong).lazy()
    with pytest.raises(UsageError, match=f"two.*{field}"):
        frame.raster.sample_points(POINTS, ["two"], crs=32632).collect(engine=engine)
    if field != "nodata":
        lit = pl.col("two").raster.sample_points(500_105.0, 4_999_895.0, crs=32632)
        with pytest.raises(UsageError, match=f"two.*{field}"):
            frame.select(lit).collect(engine=engine)


@pytest.mark.parametrize("band_index", [0, 1, 2])
def test_any_band_of_a_pixel_interleaved_file_may_be_named(records, band_index):
    """All bands share the tiles; a value is right for each of them."""
    lf = forged(records, sets(band_index=band_index)).lazy()
    found = lf.raster.sample_points(POINTS, ["two"], crs=32632).collect()
    assert found.filter(record_id="B")["two"].to_list() == truth("b.tif", band_index)


@pytest.mark.parametrize("band_index", [0, 2, 3, 65_535])
def test_no_other_band_of_a_file_by_planes_may_be_named(records, band_index):
    """Each band has tiles of its own: with another index its pixels would be taken for those of another band."""
    lf = forged(records, sets(band_index=band_index), of="P").lazy()
    with pytest.raises(FileFormatError, match=rf"two.*band_index is {band_index}, .*band 1.*'P'"):
        lf.raster.sample_points(POINTS, ["two"], crs=32632).collect()
    lf = forged(records, sets(band_index=1), of="P").lazy()
    found = lf.raster.sample_points(POINTS, ["two"], crs=32632).collect()
    assert found.filter(record_id="P")["two"].to_list() == truth("planes.tif", 1)


def test_overrides_leave_a_value_without_tiles_to_whoever_reads_it(records):
    frame = forged(records, sets(tiles=b"")).with_columns(pl.col("two").raster.with_metadata(nodata=7))
    found = frame.lazy().raster.sample_points(POINTS, ["two"], crs=32632, on_error="null").collect()
    assert found.filter(record_id="A")["two"].to_list() == truth("a.tif", 1)
    assert found.filter(record_id="B")["two"].null_count() == 3


@pytest.mark.parametrize("order", [["A", "B"], ["B", "A"]])
def test_a_corrupt_row_behind_a_sound_one_of_the_same_file_is_noticed(records, order):
    """The same href, flag and digest: tables are told apart by all their bytes, however often the sound one was read."""
    sound = records.filter(id="A")
    evil = forged(records, same_head, of="B").filter(id="B").with_columns(
        pl.col("two").struct.with_fields(
            href=pl.lit(sound["two"].struct.field("href")[0]),
            tiles=pl.lit(same_head(sound["two"][0])["tiles"]),
        )
    )  # fmt: skip
    frame = pl.concat([sound, evil]).join(POINTS, how="cross")
    frame = frame.sort("id", descending=order[0] == "B", maintain_order=True)
    for rows in (frame, pl.concat([frame] * 100)):  # few rows and many
        with pytest.raises(FileFormatError, match=r"two.*digest"):
            rows.select(pl.col("two").raster.sample_points("x", "y", crs=32632))
        with pytest.warns(RuntimeWarning, match="null because"):
            found = rows.select("id", v=pl.col("two").raster.sample_points("x", "y", crs=32632, on_error="null"))
        n = rows.height // 6
        assert found.filter(id="A")["v"].to_list() == truth("a.tif", 1) * n
        assert found.filter(id="B")["v"].null_count() == 3 * n


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("side", "number"),
    [
        *itertools.product(["xmin", "ymin", "xmax", "ymax"], [math.nan, math.inf, -math.inf]),
        ("ymin", 89.0),  # beyond ymax
        ("ymax", -89.0),
    ],
)
def test_a_box_that_is_none_is_named(records, side, number, engine):
    is_evil = pl.col("id") == "B"
    lf = records.filter(pl.col("id") != "P").lazy().with_columns(
        bbox=pl.col("bbox").struct.with_fields(pl.when(is_evil).then(number).otherwise(pl.field(side)).alias(side))
    )  # fmt: skip
    with pytest.raises(FileFormatError, match=f"'bbox'.*{side}.*'B'"):
        lf.raster.sample_points(POINTS, ["one"], crs=32632).collect(engine=engine)
    found = lf.raster.sample_points(POINTS, ["one"], crs=32632, on_error="null").collect(engine=engine)
    assert found.filter(record_id="A")["one"].to_list() == truth("a.tif", 0)
    assert found.filter(record_id="B")["one"].to_list() == [None] * 3
    assert all("bbox" in reason for reason in found.filter(record_id="B")["read_error"])


@pytest.mark.parametrize("number", [math.nan, math.inf, None])
def test_a_record_without_a_box_is_found_by_its_footprint(records, number):
    lf = records.lazy().with_columns(bbox=pl.col("bbox").struct.with_fields(xmax=pl.lit(number, pl.Float64)))
    area = (500_000, 4_999_360, 500_600, 5_000_000)
    assert lf.raster.intersects(area, crs=32632).collect()["id"].to_list() == ["A", "B", "P"]
    assert lf.raster.intersects((0, 0, 1, 1)).collect().height == 0


def test_a_box_turned_over_does_not_hide_its_record_from_intersects(records):
    lf = records.lazy().with_columns(bbox=pl.col("bbox").struct.with_fields(ymin=pl.lit(89.0)))
    area = (500_000, 4_999_360, 500_600, 5_000_000)
    assert lf.raster.intersects(area, crs=32632).collect()["id"].to_list() == ["A", "B", "P"]


@pytest.mark.parametrize(("side", "number"), [("xmin", math.nan), ("ymin", 89.0)])
def test_a_box_that_is_none_is_not_written(records, side, number, tmp_path):
    """Statistics of Parquet leave NaN out: a scan that skips row groups would pass over the record."""
    lf = records.lazy().with_columns(bbox=pl.col("bbox").struct.with_fields(pl.lit(number).alias(side)))
    with pytest.raises(UsageError, match=r"'bbox' of record 'A'"):
        lf.raster.sink_collection(tmp_path / "c.parquet")


@pytest.mark.parametrize("sides", [["xmin"], ["ymax"], ["xmin", "ymin", "xmax", "ymax"]])
def test_a_box_with_a_null_means_the_place_of_the_image(records, sides):
    null = {side: pl.lit(None, pl.Float64) for side in sides}
    lf = records.lazy().with_columns(bbox=pl.col("bbox").struct.with_fields(**null))
    found = lf.raster.sample_points(POINTS, ["one"], crs=32632).collect()
    assert found["one"].to_list() == [
        value for at in range(3) for value in (truth(f, 0)[at] for f in ("a.tif", "b.tif", "planes.tif"))
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("crs", "somewhere"), ("transform", [0.0] * 6), ("transform", [1.0, 2.0, 0.0, 2.0, 4.0, 0.0])]
)
def test_a_damaged_record_without_a_box_does_not_vanish(records, field, value):
    lf = forged(records, sets(**{field: value}), band="one").lazy().drop("bbox", "geometry")
    with pytest.raises(FileFormatError, match=rf"one.*{field}.*'B'"):
        lf.raster.sample_points(POINTS, ["one"], crs=32632).collect()
    found = lf.raster.sample_points(POINTS, ["one"], crs=32632, on_error="null").collect()
    assert found.filter(record_id="A")["one"].to_list() == truth("a.tif", 0)
    assert found.filter(record_id="B")["one"].null_count() == 3


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "href": st.sampled_from([None, "", "gopher://x/y", PREFIX + "gone.tif", "\0", "s3://a b/x"]),
    "band_index": st.one_of(st.none(), st.integers(-(2**31), -1), st.integers(3, 2**31)),
    "crs": st.one_of(st.text(max_size=8), st.sampled_from(["EPSG:0", "PROJCS[", "{}", "EPSG:32632 "])).filter(
        lambda t: t.strip() != "EPSG:32632"
    ),
    "transform": st.lists(st.one_of(st.just(math.nan), st.just(math.inf), st.none()), min_size=6, max_size=6),
    "width": st.one_of(st.none(), st.integers(0, 2**32 - 1).filter(lambda n: n != 60)),
    "height": st.one_of(st.none(), st.integers(0, 2**32 - 1).filter(lambda n: n != 64)),
    "tiles": st.binary(max_size=64),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_forged_field_leaves_the_sound_record_alone(records, data):
    field = data.draw(st.sampled_from(sorted(FIELDS)))
    value = data.draw(FIELDS[field])
    engine = data.draw(st.sampled_from(ENGINES))
    lf = forged(records, sets(**{field: value})).lazy()
    found = lf.raster.sample_points(POINTS, ["one", "two"], crs=32632, on_error="null").collect(engine=engine)
    sound, evil = found.filter(record_id="A"), found.filter(record_id="B")
    assert sound["two"].to_list() == truth("a.tif", 1)
    assert sound["read_error"].null_count() == 3
    assert evil["one"].to_list() == truth("b.tif", 0)
    assert evil["two"].null_count() == 3
    assert evil["read_error"].str.contains("two").all()
    with pytest.raises(pr.errors.RasteretError, match="two"):
        lf.raster.sample_points(POINTS, ["one", "two"], crs=32632).collect(engine=engine)
