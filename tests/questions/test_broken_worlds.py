"""With ``on_error="null"``: are pixels that cannot be read null pixels in every question, and does each say why?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from tests.support import check_answers as check
from tests.support import small_worlds as small
from tests.support.engines import ENGINES
from tests.support.oracle import points as eager

WORLD = small.rich_world()
BROKEN = {(0, "red"), (2, "scl"), (4, "red"), (5, "red"), (5, "scl"), (8, "red"), (8, "temp"), (7, "scl")}
"""Files that are gone, by serial and band. Some are shared: what was the other band of the file is in one that is still there."""
BANDS = ("red", "scl", "temp")
WORDS: dict[str, dict[str, Any]] = {
    "all": {},
    "latest": {"match": "latest"},
    "latest_one_band": {"match": "latest", "bands": ("red",), "unmatched": "drop"},
    "latest_valid": {"match": "latest", "bands": ("red", "temp"), "valid": small.clear},
    "valid_where_unknown": {"valid": small.clear_or_unknown, "bands": ("red", "temp")},
    "nearest": {"match": "nearest", "at": "visited", "tolerance": "2d"},
    "earliest_around": {"match": "earliest", "max_distance_pixels": 2},
    "all_around_each": {"max_distance_pixels": 1, "joint": False, "return_neighbourhood": "always"},
    "bilinear": {"method": "bilinear"},
}


@cache
def collection() -> pl.LazyFrame:
    lf = WORLD.collection
    for band in BANDS:
        is_gone = pl.col("serial").is_in([serial for serial, one in BROKEN if one == band])
        gone = pl.col(band).struct.with_fields(pl.lit(f"{small.PREFIX}gone.tif").alias("href"))
        lf = lf.with_columns(
            pl.when(is_gone & pl.col(band).is_not_null()).then(gone).otherwise(pl.col(band)).alias(band)
        )
    return lf.collect().lazy()


@cache
def records() -> list[eager.Record]:
    found = []
    for one in WORLD.eager:
        planes = {
            band: replace(plane, is_valid=np.zeros_like(plane.is_valid))
            if (one.columns["serial"], band) in BROKEN
            else plane
            for band, plane in one.planes.items()
        }
        found.append(eager.Record(one.columns, planes))
    return found


def question(name: str) -> eager.Question:
    words = {"bands": BANDS, "crs": WORLD.crs, "record_columns": small.RECORD_COLUMNS, **WORDS[name]}
    return eager.Question(**words)


def query(asked: eager.Question, on_error: str) -> pl.LazyFrame:
    words = asked.words()
    return collection().raster.sample_points(WORLD.caller, list(words.pop("bands")), on_error=on_error, **words)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_a_pixel_that_cannot_be_read_is_a_null_pixel(name: str, engine: str):
    asked = question(name)
    wanted = eager.answer(asked, WORLD.caller, records(), dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)
    got = query(asked, "null").collect(engine=engine)
    check.assert_same(got.drop("read_error"), wanted, is_interpolated=asked.method != "nearest")
    fine = eager.answer(asked, WORLD.caller, WORLD.eager, dtypes=small.DTYPES, record_dtypes=small.RECORD_DTYPES)
    assert got["read_error"].drop_nulls().str.contains("gone.tif").all()
    assert not wanted.equals(fine), "the broken files change nothing; the test sees nothing"
    if wanted.height == fine.height:
        answers = (frame.drop("x", "y").rows() for frame in (wanted, fine))  # a NaN is not itself
        differs = [one != other for one, other in zip(*answers, strict=True)]
        reasons = got["read_error"].is_not_null()
        assert reasons.filter(pl.Series(differs)).all(), "a row is another for a broken file, and does not say so"


def must_read(looks: list[tuple[int, eager.Look | None]]) -> Iterator[bool]:
    """Whether an answer of all records needs a pixel of a broken file."""
    for _, look in looks:
        serial = look and look.record.columns["serial"]
        yield look is not None and any((serial, band) in BROKEN and look.is_on_image(band) for band in BANDS)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_give_a_reason_where_a_file_is_gone_and_nowhere_else(engine: str):
    asked = question("all")
    got = query(asked, "null").collect(engine=engine)
    wanted = list(must_read(eager.looks(asked, WORLD.caller, WORLD.eager)))
    assert got["read_error"].is_not_null().to_list() == wanted
    assert 5 < sum(wanted) < len(wanted)
    for serial, band in sorted(BROKEN):
        its = got.filter(pl.col("serial") == serial)
        assert its[band].is_null().all()
        assert its["read_error"].drop_nulls().str.contains(f"{band}: ", literal=True).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WORDS)
def test_without_that_word_the_answer_is_an_error(name: str, engine: str):
    with pytest.raises(Exception, match=r"gone\.tif") as raised:
        query(question(name), "raise").collect(engine=engine)
    assert isinstance(raised.value, pr.errors.FetchError | pl.exceptions.ComputeError)
