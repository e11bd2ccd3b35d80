"""Do other forms of the same question give the same answer: long layout, small units, collections on disk, any order of rows?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl
import pytest

import polars_rasteret as pr
from tests.support import check_answers as check
from tests.support import small_worlds as small
from tests.support.engines import ENGINES
from tests.support.oracle import points as eager

WORLD = small.rich_world()
WORDS: dict[str, dict[str, Any]] = {
    "all": {},
    "all_dropped": {"unmatched": "drop"},
    "latest": {"match": "latest"},
    "latest_clear": {"match": "latest", "at": "visited", "valid": small.clear},
    "nearest_within": {"match": "nearest", "at": "visited_day", "tolerance": "1d12h", "unmatched": "drop"},
    "earliest_around": {"match": "earliest", "max_distance_pixels": 2, "valid": small.few_clouds},
    "around_each": {"max_distance_pixels": 1, "joint": False, "return_neighbourhood": "if_center_nodata"},
    "neighbourhood": {"max_distance_pixels": 1, "return_neighbourhood": "always", "valid": small.clear},
    "bilinear": {"method": "bilinear"},
    "cubic_latest": {"method": "cubic", "match": "latest", "valid": small.not_cloud},
    "unscaled": {"unscale": ("red",), "match": "latest"},
}
BANDS = ("red", "scl", "temp")


@cache
def question(name: str, **words: Any) -> eager.Question:
    return eager.Question(bands=BANDS, crs=WORLD.crs, record_columns=small.RECORD_COLUMNS, **{**WORDS[name], **words})


@cache
def reference(asked: eager.Question) -> pl.DataFrame:
    return eager.answer(asked, WORLD.caller, WORLD.eager, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)


def assert_same(got: pl.DataFrame, wanted: pl.DataFrame, asked: eager.Question) -> None:
    check.assert_same(got, wanted, is_interpolated=asked.method != "nearest")


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> pl.LazyFrame:
    path = tmp_path_factory.mktemp("rich") / "scenes.parquet"
    WORLD.collection.raster.sink_collection(path, row_group_size=2)
    return pr.scan_collection(path)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_small_units_give_the_same_rows(name: str, engine: str):
    asked = question(name)
    with pr.options(max_answer_bytes=2_000):
        query = WORLD.ask(asked)
    assert_same(query.collect(engine=engine), reference(asked), asked)
    filtered = query.filter(pl.col("red").is_not_null() & (pl.col("point") > 3)).head(7)
    wanted = reference(asked).filter(pl.col("red").is_not_null() & (pl.col("point") > 3)).head(7)
    assert_same(filtered.collect(engine=engine), wanted, asked)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_a_collection_on_disk_gives_the_same_rows(name: str, engine: str, on_disk: pl.LazyFrame):
    asked = question(name)
    order = on_disk.select("serial").collect()["serial"].to_list()
    records = [WORLD.eager[serial] for serial in order]
    wanted = eager.answer(asked, WORLD.caller, records, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)
    words = asked.words()
    query = on_disk.raster.sample_points(WORLD.caller, list(words.pop("bands")), **words)
    assert_same(query.collect(engine=engine), wanted, asked)
    names = [f"{name}_{part}" for name in ("record", "mixed", "pixel") for part in ("pruned", "one_band")]
    for name in names:
        after = check.afters(asked)[name]
        assert_same(after(query).collect(engine=engine), after(wanted.lazy()).collect(), asked)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_rows_in_any_order_are_the_same_rows(name: str, engine: str):
    asked = question(name)
    words = asked.words()
    query = WORLD.collection.raster.sample_points(WORLD.caller, list(words.pop("bands")), maintain_order=False, **words)
    keys = ["point", "serial"]
    got = query.collect(engine=engine).sort(keys, nulls_last=True)
    assert_same(got, reference(asked).sort(keys, nulls_last=True), asked)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_the_long_layout_gives_one_line_per_row_and_band(name: str, engine: str):
    asked = question(name, layout="long")
    wanted = reference(asked)
    query = WORLD.ask(asked)
    got = query.collect(engine=engine)
    assert got.columns == wanted.columns
    assert query.collect_schema() == wanted.schema
    assert_same(got, wanted, asked)
    for after in (
        lambda lf: lf.select("point_index", "band", "value"),
        lambda lf: lf.filter(pl.col("band") == "scl"),
        lambda lf: lf.filter(pl.col("value") > 10, pl.col("limit") > 1).select("record_id", "value"),
        lambda lf: lf.filter(pl.col("record_id") == "a"),
        lambda lf: lf.head(5),
        lambda lf: lf.select("point"),
    ):
        assert_same(after(query).collect(engine=engine), after(wanted.lazy()).collect(), asked)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("match", ["latest", "earliest", "nearest"])
@pytest.mark.parametrize("valid", [None, small.clear, small.never])
def test_a_choice_gives_one_row_per_callers_row(match: str, valid: eager.Validity | None, engine: str):
    asked = replace(question("all"), match=match, at="visited", valid=valid)
    got = WORLD.ask(asked).collect(engine=engine)
    assert got["point"].to_list() == WORLD.caller["point"].to_list()
    beside = pl.concat([WORLD.caller.lazy(), WORLD.ask(asked).select("red")], how="horizontal").collect(engine=engine)
    assert beside["red"].to_list() == reference(asked)["red"].to_list()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_number_of_copies_of_a_row_changes_nothing(engine: str):
    """The caller's table twice over gives every row twice."""
    asked = question("latest_clear")
    twice = pl.concat([WORLD.caller, WORLD.caller])
    words = asked.words()
    got = WORLD.collection.raster.sample_points(twice, list(words.pop("bands")), **words).collect(engine=engine)
    wanted = reference(asked)
    assert_same(got, pl.concat([wanted, wanted]), asked)


def test_the_path_of_the_collection_is_what_differs(on_disk: pl.LazyFrame):
    """Writing changed the order of records, so that remaining ties are broken by another order."""
    order = on_disk.select("serial").collect()["serial"].to_list()
    assert sorted(order) == list(range(len(WORLD.eager)))
