"""Ten thousand points and two hundred windows, through verbs and expressions: right, or a reason for every value."""

from __future__ import annotations

import re
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.small_archive import BANDS, N_SCENES

if TYPE_CHECKING:
    from tests.support.small_archive import Archive

FACES_ON_ENGINES = [
    ("verb", "streaming"),
    ("expression", "in-memory"),
    pytest.param("verb", "in-memory", marks=pytest.mark.slow),
    pytest.param("expression", "streaming", marks=pytest.mark.slow),
]
"""Faults take their time: the suite runs each face and each engine once, `-m slow` the other half."""
N_POINTS, N_WINDOWS, WINDOW = 10_000, 200, 48
EACH_TILE_ALONE = {"max_request_bytes": 1, "max_gap_bytes": 0}


def sample(records: pl.LazyFrame, points: pl.DataFrame, face: str) -> pl.LazyFrame:
    if face == "verb":
        return records.raster.sample_points(points, list(BANDS), crs="native", record_columns=["id"]).drop("x", "y")
    pairs = records.raster.pair(points, crs="native", record_columns=["id"]).collect()
    read = [pl.col(band).raster.sample_points("x", "y", crs="native") for band in BANDS]
    return pairs.lazy().with_columns(*read).select("row", "col", "record_id", *BANDS)


def windows(records: pl.LazyFrame, points: pl.DataFrame, face: str) -> pl.LazyFrame:
    shape = (WINDOW, WINDOW)
    geometry = points.select("row", "col", geometry=point_wkb(points))
    if face == "verb":
        asked = records.raster.read_windows(
            geometry, list(BANDS), crs="native", shape=shape, geometry="geometry", record_columns=["id"]
        )
        return asked.drop("geometry", "transform", "raster_crs")
    pairs = records.raster.pair(geometry, crs="native", geometry="geometry", record_columns=["id"]).collect()
    read = [pl.col(band).raster.read_window("geometry", crs="native", shape=shape) for band in BANDS]
    return pairs.lazy().with_columns(*read).select("row", "col", "record_id", *BANDS)


def point_wkb(points: pl.DataFrame) -> pl.Series:
    import shapely

    return pl.Series(shapely.to_wkb(shapely.points(points["x"].to_numpy(), points["y"].to_numpy())))


def windows_truth(archive: Archive, points: pl.DataFrame) -> pl.DataFrame:
    where = [(row, col, scene) for row, col in points.select("row", "col").rows() for scene in range(N_SCENES)]
    pixels = {
        band: np.stack([archive.window(scene, at, row, col, WINDOW) for row, col, scene in where])
        for at, band in enumerate(BANDS)
    }
    return pl.DataFrame(
        {
            "row": [row for row, _, _ in where],
            "col": [col for _, col, _ in where],
            "record_id": [f"scene-{scene}" for _, _, scene in where],
            **pixels,
        }
    )


def check_raise(asked: pl.LazyFrame, truth: pl.DataFrame, engine: str, *, prefix: str, within_s: float) -> str:
    """The exact answer, or an error that says which bytes of which file; give what it was."""
    clear_cache()
    started = time.monotonic()
    try:
        got = asked.collect(engine=engine)
    except pr.errors.FetchError as error:
        outcome = str(error)
        assert re.search(re.escape(prefix) + r"\d/(red|nir)\.tif: asked for bytes \d+\.\.\d+", outcome), outcome
    else:
        outcome = "exact"
        assert_frame_equal(got, truth)
    assert time.monotonic() - started < within_s
    return outcome


def check_null(asked: pl.LazyFrame, truth: pl.DataFrame, engine: str, face: str, *, within_s: float) -> int:
    """Values are right or null, and every null that should not be one has its reason; give how many."""
    clear_cache()
    started = time.monotonic()
    with pr.profile() as p, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        got = asked.collect(engine=engine)
    assert time.monotonic() - started < within_s
    failed = {band: got[band].is_null() & truth[band].is_not_null() for band in BANDS}
    for band in BANDS:
        kept = ~failed[band]
        assert_frame_equal(got.select(band).filter(kept), truth.select(band).filter(kept))
    n_failed = sum(int(one.sum()) for one in failed.values())
    reason = re.compile(r"(red|nir): .*asked for bytes \d+\.\.\d+")
    assert len(p.errors) >= n_failed
    assert all(reason.search(one) for one in p.errors)
    if face == "verb":
        any_failed = failed["red"] | failed["nir"]
        # Where the pixel is nodata anyway a failed read is told, too.
        assert bool((got["read_error"].is_not_null() | ~any_failed).all())
        for band in BANDS:
            told = got["read_error"].str.contains(rf"{band}: ").fill_null(value=False)
            assert bool((told | ~failed[band]).all())
            assert got.filter(told)[band].null_count() == told.sum()
    return n_failed
