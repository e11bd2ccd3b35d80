"""Do raster expressions mean the same wherever Polars lets an expression stand?"""

# ruff: noqa: E501 - one query per line reads best

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FORMS, UNMATCHED, comparable, paired, reference, serials_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RED = pl.col("red").raster.sample_points("lon", "lat", crs=4326)
NIR = pl.col("nir").raster.sample_points("lon", "lat", crs=4326)
SWIR = pl.col("swir_right").raster.sample_points("lon", "lat", crs=4326)
ALL = pl.col("red", "nir").raster.sample_points("lon", "lat", crs=4326)
BOTH = pr.sample_points(["red", "nir"], "lon", "lat", crs=4326)
STACK = pr.sample_points(["red", "swir_right"], "lon", "lat", crs=4326, stack=True)
CLEAR = pl.col("eo:cloud_cover") < 20
KEY = ["point", "serial"]

# On pairs, and what the same is on the reference, where the bands are values.
CONTEXTS: dict[str, tuple[Callable[[pl.LazyFrame], pl.LazyFrame], Callable[[pl.LazyFrame], pl.LazyFrame], bool]] = {
    "filter": (lambda lf: lf.filter(RED > 1_500).select(KEY), lambda lf: lf.filter(pl.col("red") > 1_500).select(KEY), True),
    "filter_and_keep": (lambda lf: lf.filter(RED > 1_500).select(*KEY, v=NIR), lambda lf: lf.filter(pl.col("red") > 1_500).select(*KEY, v=pl.col("nir")), True),
    "filter_with_record": (lambda lf: lf.filter(CLEAR & (RED > 1_500)).select(KEY), lambda lf: lf.filter(CLEAR & (pl.col("red") > 1_500)).select(KEY), True),
    "filter_null": (lambda lf: lf.filter(RED.is_null()).select(KEY), lambda lf: lf.filter(pl.col("red").is_null()).select(KEY), True),
    "filter_two_bands": (lambda lf: lf.filter(NIR > RED).select(KEY), lambda lf: lf.filter(pl.col("nir") > pl.col("red")).select(KEY), True),
    "values_then_filter": (lambda lf: lf.with_columns(v=RED).filter(pl.col("v") > 1_500).select(*KEY, "v"), lambda lf: lf.filter(pl.col("red") > 1_500).select(*KEY, v=pl.col("red")), True),
    "values_then_head": (lambda lf: lf.select(*KEY, v=RED).head(5), lambda lf: lf.select(*KEY, v=pl.col("red")).head(5), True),
    "values_then_tail": (lambda lf: lf.select(*KEY, v=RED).tail(5), lambda lf: lf.select(*KEY, v=pl.col("red")).tail(5), True),
    "head_then_values": (lambda lf: lf.head(30).select(*KEY, v=RED), lambda lf: lf.head(30).select(*KEY, v=pl.col("red")), True),
    "several_at_once": (lambda lf: lf.select(*KEY, ALL), lambda lf: lf.select(*KEY, "red", "nir"), True),
    "prefixed": (lambda lf: lf.select(*KEY, ALL.name.prefix("p_")), lambda lf: lf.select(*KEY, pl.col("red", "nir").name.prefix("p_")), True),
    "twice": (lambda lf: lf.select(*KEY, a=RED, b=RED + 1), lambda lf: lf.select(*KEY, a=pl.col("red"), b=pl.col("red") + 1), True),
    "arithmetic": (lambda lf: lf.select(*KEY, v=NIR.cast(pl.Int32) - RED.cast(pl.Int32)), lambda lf: lf.select(*KEY, v=pl.col("nir").cast(pl.Int32) - pl.col("red").cast(pl.Int32)), True),
    "normalized_difference": (lambda lf: lf.select(*KEY, v=pr.normalized_difference(NIR, RED)), lambda lf: lf.select(*KEY, v=pr.normalized_difference("nir", "red")), True),
    "when_then": (lambda lf: lf.select(*KEY, v=pl.when(CLEAR).then(RED).otherwise(NIR)), lambda lf: lf.select(*KEY, v=pl.when(CLEAR).then("red").otherwise("nir")), True),
    "of_a_choice_of_rasters": (lambda lf: lf.select(*KEY, v=pl.when(CLEAR).then("red").otherwise("nir").raster.sample_points("lon", "lat", crs=4326)), lambda lf: lf.select(*KEY, v=pl.when(CLEAR).then("red").otherwise("nir")), True),
    "of_a_renamed_raster": (lambda lf: lf.rename({"red": "r"}).select(*KEY, pl.col("r").raster.sample_points("lon", "lat", crs=4326)), lambda lf: lf.select(*KEY, r=pl.col("red")), True),
    "of_an_aliased_raster": (lambda lf: lf.select(*KEY, pl.col("red").alias("r").raster.sample_points("lon", "lat", crs=4326)), lambda lf: lf.select(*KEY, r=pl.col("red")), True),
    "of_unequal_dtypes": (lambda lf: lf.select(*KEY, v=pl.coalesce("swir_right", "red").raster.sample_points("lon", "lat", crs=4326)), lambda lf: lf.select(*KEY, v=pl.when(pl.col("serial").is_in([4])).then(pl.col("red").cast(pl.Int32)).otherwise("swir_right")), True),
    "struct": (lambda lf: lf.select(*KEY, BOTH), lambda lf: lf.select(*KEY, pixels=pl.struct("red", "nir")), True),
    "struct_field": (lambda lf: lf.select(*KEY, BOTH.struct.field("nir")), lambda lf: lf.select(*KEY, "nir"), True),
    "struct_unnested_and_filtered": (lambda lf: lf.select(*KEY, BOTH).unnest("pixels").filter(pl.col("red") > 1_500), lambda lf: lf.select(*KEY, "red", "nir").filter(pl.col("red") > 1_500), True),
    "stack": (lambda lf: lf.select("serial", STACK).filter(pl.col("serial").is_not_null()), lambda lf: lf.filter(pl.col("serial").is_not_null()).select("serial", pixels=pl.concat_arr(pl.col("red", "swir_right").cast(pl.Int32))), True),
    "stack_element": (lambda lf: lf.select(*KEY, v=STACK.arr.get(1)), lambda lf: lf.select(*KEY, v=pl.col("swir_right").cast(pl.Int32)), True),
    "aggregate": (lambda lf: lf.select(RED.max(), NIR.min()), lambda lf: lf.select(pl.col("red").max(), pl.col("nir").min()), True),
    "aggregate_beside_column": (lambda lf: lf.select("point", most=RED.max()), lambda lf: lf.select("point", most=pl.col("red").max()), True),
    "over": (lambda lf: lf.select(*KEY, v=RED.max().over("point")), lambda lf: lf.select(*KEY, v=pl.col("red").max().over("point")), True),
    "rank_over": (lambda lf: lf.select(*KEY, v=RED.rank("min").over("crop")), lambda lf: lf.select(*KEY, v=pl.col("red").rank("min").over("crop")), True),
    "shifted": (lambda lf: lf.select(*KEY, v=RED.shift(1)), lambda lf: lf.select(*KEY, v=pl.col("red").shift(1)), True),
    "sort_by": (lambda lf: lf.sort(RED, "point", "serial").select(KEY), lambda lf: lf.sort("red", "point", "serial").select(KEY), True),
    "sort_by_inside": (lambda lf: lf.select(pl.col(KEY).sort_by(SWIR, "point", "serial")), lambda lf: lf.select(pl.col(KEY).sort_by("swir_right", "point", "serial")), True),
    "filter_inside": (lambda lf: lf.select(pl.col("point").filter(RED > 1_500)), lambda lf: lf.select(pl.col("point").filter(pl.col("red") > 1_500)), True),
    "of_filtered_rows": (lambda lf: lf.select(pl.col("red").filter(CLEAR).raster.sample_points(pl.col("lon").filter(CLEAR), pl.col("lat").filter(CLEAR), crs=4326)), lambda lf: lf.select(pl.col("red").filter(CLEAR)), True),
    "group_by_aggregate": (lambda lf: lf.group_by("crop", maintain_order=True).agg(v=RED.max(), n=RED.count()), lambda lf: lf.group_by("crop", maintain_order=True).agg(v=pl.col("red").max(), n=pl.col("red").count()), True),
    "group_by_list": (lambda lf: lf.group_by("point", maintain_order=True).agg(RED), lambda lf: lf.group_by("point", maintain_order=True).agg("red"), True),
    "group_by_mixed_in_group": (lambda lf: lf.group_by("point", maintain_order=True).agg(v=RED.filter(CLEAR).max(), t=pl.col("datetime").sort_by(RED).last()), lambda lf: lf.group_by("point", maintain_order=True).agg(v=pl.col("red").filter(CLEAR).max(), t=pl.col("datetime").sort_by("red").last()), True),
    "group_by_key": (lambda lf: lf.group_by(k=RED // 1_000).agg(pl.len()), lambda lf: lf.group_by(k=pl.col("red") // 1_000).agg(pl.len()), False),
    "join_key": (lambda lf: lf.select("point", RED).join(pl.LazyFrame({"red": range(0, 8_000, 3)}, schema={"red": pl.UInt16}), on="red"), lambda lf: lf.select("point", "red").join(pl.LazyFrame({"red": range(0, 8_000, 3)}, schema={"red": pl.UInt16}), on="red"), False),
    "unique": (lambda lf: lf.select("point", RED).unique(), lambda lf: lf.select("point", "red").unique(), False),
    "concat": (lambda lf: pl.concat([lf.select("point", v=RED), lf.select("point", v=NIR)]), lambda lf: pl.concat([lf.select("point", v=pl.col("red")), lf.select("point", v=pl.col("nir"))]), True),
    "after_joins": (lambda lf: lf.join(pl.LazyFrame({"crop": ["maize", "wheat"], "price": [1, 2]}), on="crop", maintain_order="left").select(*KEY, "price", RED), lambda lf: lf.join(pl.LazyFrame({"crop": ["maize", "wheat"], "price": [1, 2]}), on="crop", maintain_order="left").select(*KEY, "price", "red"), True),
    "after_explode": (lambda lf: lf.with_columns(k=pl.lit([1, 2], dtype=pl.List(pl.Int64))).explode("k").select("point", "k", RED), lambda lf: lf.with_columns(k=pl.lit([1, 2], dtype=pl.List(pl.Int64))).explode("k").select("point", "k", "red"), True),
    "after_sort": (lambda lf: lf.sort("weight", "point", "serial").select(*KEY, RED), lambda lf: lf.sort("weight", "point", "serial").select(*KEY, "red"), True),
    "after_reverse": (lambda lf: lf.reverse().select(*KEY, RED), lambda lf: lf.reverse().select(*KEY, "red"), True),
    "after_unique": (lambda lf: lf.unique("point", keep="last", maintain_order=True).select(*KEY, RED), lambda lf: lf.unique("point", keep="last", maintain_order=True).select(*KEY, "red"), True),
    "after_row_index": (lambda lf: lf.with_row_index().filter(pl.col("index") % 4 == 1).select("index", RED), lambda lf: lf.with_row_index().filter(pl.col("index") % 4 == 1).select("index", "red"), True),
    "raster_columns_as_values": (lambda lf: lf.select(*KEY, h=pl.col("red").struct.field("height")), lambda lf: lf.select(*KEY, h=pl.when(pl.col("serial").is_not_null()).then(pl.lit(100, dtype=pl.UInt32))), True),
    "map_batches": (lambda lf: lf.map_batches(lambda df: df.with_columns(v=RED).select("point", "v"), schema=pl.Schema({"point": pl.Int64(), "v": pl.UInt16()}), predicate_pushdown=False, projection_pushdown=False, slice_pushdown=False), lambda lf: lf.select("point", v=pl.col("red")), True),
}  # fmt: skip


@cache
def answer(name: str, serials: tuple[int, ...], unmatched: str) -> pl.DataFrame:
    return CONTEXTS[name][1](reference(serials, unmatched).lazy()).collect(engine="in-memory")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("name", CONTEXTS)
def test_an_expression_on_pairs_means_the_same_everywhere(
    name: str, unmatched: str, engine: str, collections: Mapping[str, pl.LazyFrame]
):
    form = FORMS[(list(CONTEXTS).index(name) + UNMATCHED.index(unmatched)) % 2]
    ordered = CONTEXTS[name][2]
    asked = CONTEXTS[name][0](paired(collections[form], unmatched))
    wanted = answer(name, serials_of(collections[form]), unmatched)
    got = asked.collect(engine=engine)
    assert_frame_equal(comparable(got, ordered=ordered), comparable(wanted, ordered=ordered))
    assert asked.collect_schema() == wanted.schema


# The verb `with_columns`.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
def test_columns_without_inputs_keep_every_row(unmatched, engine, in_memory):
    n_rows = reference(tuple(range(8)), unmatched).height
    asked = paired(in_memory, unmatched).raster.with_columns(k=pl.lit(3))
    assert asked.select("k").collect(engine=engine)["k"].to_list() == [3] * n_rows
    assert asked.filter(pl.col("k") == 3).select("k").collect(engine=engine).height == n_rows
    assert asked.select(pl.len()).collect(engine=engine).item() == n_rows
    assert asked.select("point").collect(engine=engine).height == n_rows


@pytest.mark.parametrize("engine", ENGINES)
def test_with_columns_takes_what_polars_takes(engine, in_memory):
    whole = reference(tuple(range(8)), "null")
    pairs = paired(in_memory, "null")
    keep = [*KEY, "red", "nir", "again", "k"]
    wanted = whole.with_columns(again="red", k=3).select(keep)
    assert_frame_equal(
        pairs.raster.with_columns([RED, NIR], again=RED, k=3).select(keep).collect(engine=engine), wanted
    )
    assert_frame_equal(
        pairs.raster.with_columns((one for one in (RED, NIR)), again=RED, k=pl.lit(3))
        .select(keep)
        .collect(engine=engine),
        wanted,
    )
    named = pairs.raster.with_columns(pl.col("red", "nir").raster.sample_points("lon", "lat", crs=4326), note="crop")
    assert_frame_equal(
        named.select(*KEY, "red", "nir", "note").collect(engine=engine),
        whole.select(*KEY, "red", "nir", note=pl.col("crop")),
    )


# On collections themselves, where filters land in the scan.

LON, LAT = world.points().row(47)[1:3]
HERE = {band: pl.col(band).raster.sample_points(LON, LAT, crs=4326) for band in world.BANDS}


@cache
def here() -> pl.DataFrame:
    rows = []
    for scene in world.SCENES:
        row: dict[str, object] = {"serial": scene.serial, "cloud": scene.cloud}
        for band in world.BANDS:
            (pair,) = world.pairs([(LON, LAT)], [scene.serial], bands=(band,), unmatched="null")
            row[band] = world.value_at(pair, band)
        rows.append(row)
    return pl.DataFrame(rows, schema={"serial": pl.Int64, "cloud": pl.Float64, **world.DTYPES})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (lambda lf: lf.filter(HERE["red"] > 1_500), lambda df: df.filter(pl.col("red") > 1_500)),
        (lambda lf: lf.filter(HERE["red"].is_null()), lambda df: df.filter(pl.col("red").is_null())),
        (lambda lf: lf.filter(HERE["red"] > 1_500, pl.col("eo:cloud_cover") < 20), lambda df: df.filter(pl.col("red") > 1_500, pl.col("cloud") < 20)),
        (lambda lf: lf.with_columns(v=HERE["nir"]).filter(pl.col("v") > 1_500).head(1), lambda df: df.filter(pl.col("nir") > 1_500).head(1)),
        (lambda lf: lf.sort(HERE["temp"], nulls_last=True, maintain_order=True), lambda df: df.sort("temp", nulls_last=True, maintain_order=True)),
        (lambda lf: lf.raster.with_columns(v=HERE["swir"]).filter(pl.col("v") < 0), lambda df: df.filter(pl.col("swir") < 0)),
        (lambda lf: lf.raster.with_columns(v=HERE["swir"]).filter(pl.col("eo:cloud_cover") < 20).head(2), lambda df: df.filter(pl.col("cloud") < 20).head(2)),
        (lambda lf: lf.raster.with_columns(v=HERE["swir"]).head(4).filter(pl.col("eo:cloud_cover") < 20), lambda df: df.head(4).filter(pl.col("cloud") < 20)),
    ],
)  # fmt: skip
def test_filters_on_pixels_of_a_collection_choose_its_records(asked, wanted, form, engine, collections):
    order = pl.DataFrame({"serial": serials_of(collections[form])}).join(here(), on="serial", maintain_order="left")
    got = asked(collections[form]).select("serial").collect(engine=engine)
    assert got["serial"].to_list() == wanted(order)["serial"].to_list()


# Verbs on frames that verbs and expressions made.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
def test_a_verb_takes_the_answer_of_a_verb(unmatched, engine, collections):
    """First which scenes, then every scene again for each answer."""
    first = collections["parquet"].raster.sample_points(
        world.points(), ["red"], crs=4326, unmatched=unmatched, record_columns=["serial"]
    )
    chosen = first.filter(pl.col("red") > 1_500).select("point", "lon", "lat", first="serial", was="red")
    caller = (
        reference(serials_of(collections["parquet"]), unmatched)
        .filter(pl.col("red") > 1_500)
        .select("point", "lon", "lat", first="serial", was="red")
    )
    second = collections["memory"].raster.sample_points(
        chosen, ["red", "nir"], crs=4326, unmatched=unmatched, record_columns=["serial"]
    )
    found = world.pairs(world.xy_of(caller), list(range(8)), bands=("red", "nir"), unmatched=unmatched)
    wanted = world.caller_rows(caller, found).with_columns(
        serial=pl.Series([pair.scene.serial if pair.scene else None for pair in found], dtype=pl.Int64),
        red=pl.Series([world.value_at(pair, "red") for pair in found], dtype=pl.UInt16),
        nir=pl.Series([world.value_at(pair, "nir") for pair in found], dtype=pl.UInt16),
    )
    assert_frame_equal(second.collect(engine=engine), wanted)
    same = (pl.col("serial") == pl.col("first")) & (pl.col("nir") > pl.col("was"))
    assert_frame_equal(second.filter(same).collect(engine=engine), wanted.filter(same))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_verb_takes_a_collection_that_expressions_filtered(engine, collections):
    for collection in collections.values():
        chosen = collection.filter(HERE["red"] > 1_500)
        serials = here().filter(pl.col("red") > 1_500)["serial"].to_list()
        order = [one for one in serials_of(collection) if one in serials]
        got = chosen.raster.sample_points(
            world.points(), world.BANDS, crs=4326, record_columns=world.RECORD_COLUMNS
        ).collect(engine=engine)  # fmt: skip
        assert_frame_equal(got, world.sampled(world.points(), order, unmatched="null"))


# Frames of many batches.

N_COPIES = 60


@pytest.fixture(scope="module")
def many() -> pl.DataFrame:
    points = world.points()
    copies = pl.DataFrame({"copy": range(N_COPIES)})
    return (
        copies.join(points, how="cross")
        .with_columns(point=pl.col("point") + pl.col("copy") * points.height)
        .drop("copy")
    )


@pytest.fixture(scope="module")
def many_expected() -> dict[str, pl.DataFrame]:
    n = world.points().height
    return {
        unmatched: pl.DataFrame({"copy": range(N_COPIES)})
        .join(reference(tuple(range(8)), unmatched), how="cross")
        .with_columns(point=pl.col("point") + pl.col("copy") * n)
        .drop("copy")
        for unmatched in UNMATCHED
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("face", ["verb", "units", "expressions"])
def test_frames_of_many_batches_come_back_in_order(face, unmatched, engine, in_memory, many, many_expected):
    how = {"crs": 4326, "unmatched": unmatched, "record_columns": world.RECORD_COLUMNS}
    if face == "expressions":
        asked = in_memory.raster.pair(many, **how).with_columns(
            pl.col("red", "nir", "swir_right", "temp").raster.sample_points("lon", "lat", crs=4326)
        )
    else:
        with pr.options(max_answer_bytes=512_000_000 if face == "verb" else 500_000):
            asked = in_memory.raster.sample_points(many, world.BANDS, **how)
    expected = many_expected[unmatched]
    assert_frame_equal(asked.collect(engine=engine), expected)
    for condition in (pl.col("red") > 1_500, (pl.col("weight") > 3_000) | CLEAR):
        assert_frame_equal(asked.filter(condition).collect(engine=engine), expected.filter(condition))
    for n in (1, 1_023, 1_025, 5_000, 100_000):
        assert_frame_equal(
            asked.head(n).select("point", "red").collect(engine=engine), expected.head(n).select("point", "red")
        )
    last = asked.filter(pl.col("red") > 1_500).select("point", "serial").slice(3_000, 40)
    assert_frame_equal(
        last.collect(engine=engine), expected.filter(pl.col("red") > 1_500).select("point", "serial").slice(3_000, 40)
    )
