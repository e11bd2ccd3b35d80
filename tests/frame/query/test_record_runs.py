"""Are points right that have more pairs than are looked at together, and is no tile decoded twice for them?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.frame.query import record_runs
from polars_rasteret.testing import MemorySource, make_cog
from tests.support.engines import ENGINES

SIDE, TILE, NODATA, N_POINTS = 64, 32, 0, 60
LEFTS, N_DATES = (500_000.0, 500_320.0), 3  # two places, which share half of their width
"""Left borders of images; pixels of 10 m."""
TOP = 5_000_000.0
PIXELS = np.random.default_rng(8).integers(0, 9, (len(LEFTS) * N_DATES, SIDE, SIDE)).astype(np.uint16)
GONE = 4
"""Record whose file does not exist where errors become null."""


def href(record: int) -> str:
    return f"memory://record-runs/{record}.tif"


@pytest.fixture
def records(monkeypatch):
    """Collection of two places and three dates, of which runs hold at most 25 pairs, and parts of a record at most 40."""
    monkeypatch.setattr(record_runs, "MAX_PAIRS", 40)
    monkeypatch.setattr(record_runs, "_RUN_PAIRS", 25)
    left = [LEFTS[record // N_DATES] for record in range(len(PIXELS))]
    files = {
        href(at): make_cog(PIXELS[at], transform=(10.0, 0, left[at], 0, -10.0, TOP), nodata=NODATA, tile_size=TILE)
        for at in range(len(PIXELS))
    }
    pr.configure_store("memory://record-runs/", store=MemorySource(files))
    days = [f"2024-01-0{1 + at % N_DATES}T00:00:00Z" for at in range(len(PIXELS))]
    frame = pr.build_from_files(sorted(files), bands=["b"], id=[f"r{at}" for at in range(len(PIXELS))], datetime=days)
    with pr.options(cache_bytes=0):
        clear_cache()
        yield frame.collect().sort("id").lazy()


def points() -> pl.DataFrame:
    """Points on both places, east of them, and one without a place."""
    rng = np.random.default_rng(9)
    x = rng.uniform(LEFTS[0], LEFTS[1] + 1.3 * SIDE * 10, N_POINTS)
    y = rng.uniform(TOP - SIDE * 10, TOP, N_POINTS)
    frame = pl.DataFrame({"x": x, "y": y, "n": np.arange(N_POINTS)})
    return frame.with_columns(x=pl.when(pl.col("n") != 7).then("x"))


def expected(asked: pl.DataFrame, *, unmatched: str = "null", gone: int | None = None) -> pl.DataFrame:
    """Return the rows point by point, from the arrays that the files were made of."""
    rows = []
    for point in asked.iter_rows(named=True):
        found = []
        for at in sorted(range(len(PIXELS)), key=lambda record: record % N_DATES):  # by time
            if point["x"] is None:
                continue
            col, row = (point["x"] - LEFTS[at // N_DATES]) // 10, (TOP - point["y"]) // 10
            if 0 <= col < SIDE and 0 <= row < SIDE:
                value = int(PIXELS[at, int(row), int(col)])
                found.append((point["n"], f"r{at}", None if value == NODATA or at == gone else value))
        rows += found or ([(point["n"], None, None)] if unmatched == "null" else [])
    return pl.DataFrame(rows, schema={"n": pl.Int64, "id": pl.String, "b": pl.UInt16}, orient="row")


def asked_of(records: pl.LazyFrame, asked: pl.DataFrame, **words) -> pl.LazyFrame:
    return records.raster.sample_points(asked, x="x", y="y", crs=32632, **words).select("n", id="record_id", b="b")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", ["drop", "null"])
def test_rows_come_in_the_order_of_the_caller(records, engine, unmatched):
    asked = points()
    with pr.profile() as profile:
        found = asked_of(records, asked, unmatched=unmatched).collect(engine=engine)
    assert_frame_equal(found, expected(asked, unmatched=unmatched))
    # All tiles of the six images are wanted. Records with more than 40 pairs are read in two runs.
    n_pairs = expected(asked)["id"].drop_nulls().value_counts()["count"]
    assert len(expected(asked)) > 100
    assert profile.summary()["decoded_tiles"].item() <= 4 * (len(PIXELS) + int((n_pairs > 40).sum()))


def test_no_tile_is_decoded_twice_in_any_order(records, monkeypatch):
    monkeypatch.setattr(record_runs, "MAX_PAIRS", N_POINTS)
    asked = points()
    with pr.profile() as profile:
        found = asked_of(records, asked, maintain_order=False).collect()
    assert_frame_equal(found.sort("n", "id"), expected(asked).sort("n", "id"))
    assert profile.summary()["decoded_tiles"].item() == 4 * len(PIXELS)


def test_an_answer_of_many_bytes_comes_in_parts(records):
    asked = points()
    row_bytes = 2 + 2 + 4
    sizes = []

    def noted(frame: pl.DataFrame) -> pl.DataFrame:
        sizes.append(frame.height)
        return frame

    with pr.options(max_answer_bytes=50 * row_bytes):
        query = asked_of(records, asked)
        found = query.map_batches(noted, streamable=True).collect(engine="streaming")
    assert_frame_equal(found, expected(asked))
    assert max(sizes) <= 50


def test_a_filter_on_pairs_acts_before_they_are_read(records):
    asked = points()
    whole = expected(asked)
    found = asked_of(records, asked)
    condition = pl.col("id").is_in(["r1", "r4"]) & (pl.col("n") + pl.col("id").str.len_chars() != 12)
    with pr.profile() as profile:
        assert_frame_equal(found.filter(condition).collect(), whole.filter(condition))
    assert profile.summary()["decoded_tiles"].item() <= 2 * 4 * 2


def test_a_reason_stays_with_its_row(records):
    asked = points()
    broken = records.with_columns(
        pl.col("b").struct.with_fields(
            href=pl.when(pl.col("id") == f"r{GONE}").then(pl.lit(href(99))).otherwise(pl.col("b").struct.field("href"))
        )
    )
    with pr.options(on_error="null"):
        found = broken.raster.sample_points(asked, x="x", y="y", crs=32632).select(
            "n", "read_error", id="record_id", b="b"
        )
        found = found.collect()
    assert_frame_equal(found.select("n", "id", "b"), expected(asked, gone=GONE))
    assert (found["read_error"].is_not_null() == (found["id"] == f"r{GONE}")).all()


def test_a_budget_counts_each_tile_once(records, monkeypatch):
    monkeypatch.setattr(record_runs, "MAX_PAIRS", N_POINTS)
    asked = points()
    with pr.profile() as profile:
        asked_of(records, asked).collect()
    n_bytes = profile.summary()["bytes"].item()
    with pr.options(budget_bytes=n_bytes):
        assert_frame_equal(asked_of(records, asked).collect(), expected(asked))
    with pr.options(budget_bytes=n_bytes - 1), pytest.raises(pr.errors.BudgetError):
        asked_of(records, asked).collect()
    assert pr.estimate(asked_of(records, asked)).bytes == n_bytes
