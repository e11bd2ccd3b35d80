"""Are older records read only for the rows that newer ones leave open, and bands only where they can matter?

Ten dates of one place, newest last. Clouds are tiles: at date 9 the first two rows of tiles are cloudy, at date 8 the first row,
at date 7 its first two tiles, at date 6 the first tile; before that the sky is clear.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools

import numpy as np
import polars as pl
import pytest
import tifffile
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.frame.query import rounds_ahead
from polars_rasteret.testing import MemorySource, RecordingSource
from tests.support.far_stores import far, seen_speed
from tests.support.receiver import quiet, wait_until

TILE, ACROSS, N_DATES = 128, 4, 10
"""A tile of UInt16 takes 32 kB: more than two tiles may lie apart to share a request."""
N_TILES = ACROSS * ACROSS
CLOUDY = {9: 8, 8: 4, 7: 2, 6: 1}
"""How many of the first tiles are cloudy, by date."""
CLOUD, CLEAR = 9, 4
Tiles = dict[int, set[int]]
"""Tiles by date."""
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def cold() -> None:
    process_scheduler().clear_cache()


def _file(pixels: np.ndarray, nodata: int | None) -> bytes:
    side = TILE * ACROSS
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=side, height=side, count=1, dtype="uint16", crs="EPSG:32632", nodata=nodata,
            transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), tiled=True, blockxsize=TILE, blockysize=TILE,
        ) as sink:  # fmt: skip
            sink.write(pixels, 1)
        return bytes(memory.read())


def _by_tile(values: list[int]) -> np.ndarray:
    return np.kron(np.array(values, "uint16").reshape(ACROSS, ACROSS), np.ones((TILE, TILE), "uint16"))


class Dates:
    """The collection, and which tiles were asked for."""

    def __init__(self) -> None:
        self.prefix = f"memory://waves-{next(_numbers)}/"
        files = {}
        for date in range(N_DATES):
            n_cloudy = CLOUDY.get(date, 0)
            red = [0 if tile < n_cloudy else 100 * date + tile + 1 for tile in range(N_TILES)]
            files[f"{self.prefix}red-{date}.tif"] = _file(_by_tile(red), nodata=0)
            everywhere = _by_tile([1_000 + 100 * date + tile for tile in range(N_TILES)])
            files[f"{self.prefix}nir-{date}.tif"] = _file(everywhere, nodata=None)
            scl = [CLOUD if tile < n_cloudy else CLEAR for tile in range(N_TILES)]
            files[f"{self.prefix}scl-{date}.tif"] = _file(_by_tile(scl), nodata=None)
        self.source = RecordingSource(MemorySource(files))
        self.tiles_of = {}
        for href, data in files.items():
            with tifffile.TiffFile(io.BytesIO(data)) as tiff:
                page = tiff.pages[0]
                self.tiles_of[href] = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        pr.configure_store(self.prefix, store=self.source)
        table = pl.DataFrame(
            {
                "id": [f"d{date}" for date in range(N_DATES)],
                "datetime": [dt.datetime(2024, 5, 1 + date, tzinfo=dt.UTC) for date in range(N_DATES)],
                "date": list(range(N_DATES)),
                **{
                    band: [f"{self.prefix}{band}-{date}.tif" for date in range(N_DATES)]
                    for band in ("red", "nir", "scl")
                },
            }
        ).rename({band: f"href_{band}" for band in ("red", "nir", "scl")})
        bands = {band: f"href_{band}" for band in ("red", "nir", "scl")}
        self.collection = pr.build_from_table(table, bands=bands, on_error="raise").collect().lazy()
        self.source.clear()

    def read(self, band: str) -> Tiles:
        """Tiles of a band that were asked for, by date; any byte of a tile counts."""
        found: Tiles = {}
        for href, start, stop in self.source.requests:
            name, date = href.removeprefix(self.prefix).removesuffix(".tif").split("-")
            if name != band:
                continue
            for tile, (offset, count) in enumerate(self.tiles_of[href]):
                if start < offset + count and stop > offset:
                    found.setdefault(int(date), set()).add(tile)
        return found


@pytest.fixture(scope="module")
def made() -> Dates:
    return Dates()


@pytest.fixture
def dates(made: Dates) -> Dates:
    made.source.clear()
    return made


def points() -> pl.DataFrame:
    """One point in each tile, with the day it was visited and the tile it lies in."""
    tiles = list(range(N_TILES))
    return pl.DataFrame(
        {
            "tile": tiles,
            "x": [500_000.0 + 10 * (TILE * (tile % ACROSS) + 50.5) for tile in tiles],
            "y": [5_000_000.0 - 10 * (TILE * (tile // ACROSS) + 70.5) for tile in tiles],
            "visited": [dt.datetime(2024, 5, 10, 12, tzinfo=dt.UTC)] * N_TILES,
        }
    )


def first_clear(tile: int) -> int:
    return next(date for date in range(N_DATES - 1, -1, -1) if tile >= CLOUDY.get(date, 0))


LOOKED_AT: Tiles = {date: {tile for tile in range(N_TILES) if first_clear(tile) <= date} for date in range(5, N_DATES)}
"""What must be looked at, newest first: every tile until it is clear."""
CHOSEN: Tiles = {date: {tile for tile in range(N_TILES) if first_clear(tile) == date} for date in range(5, N_DATES)}
clear = pl.col("scl") == CLEAR


def without_empty(tiles: Tiles) -> Tiles:
    return {date: its for date, its in tiles.items() if its}


def test_the_sky_is_as_the_tests_think():
    assert {date: len(its) for date, its in LOOKED_AT.items()} == {5: 1, 6: 2, 7: 4, 8: 8, 9: 16}
    assert [first_clear(tile) for tile in range(9)] == [5, 6, 7, 7, 8, 8, 8, 8, 9]


@pytest.mark.parametrize("at", [None, "visited"])
def test_older_dates_are_read_only_for_rows_still_open(at: str | None, dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["red"], crs=32632, match="latest", at=at)
    got = asked.collect(engine=engine)
    assert got["record_id"].to_list() == [f"d{first_clear(tile)}" for tile in range(N_TILES)]
    assert got["red"].to_list() == [100 * first_clear(tile) + tile + 1 for tile in range(N_TILES)]
    assert dates.read("red") == LOOKED_AT
    assert dates.read("nir") == dates.read("scl") == {}
    # Tiles lie one behind the other without gaps, so nothing else may come with them.
    assert dates.source.bytes == sum(map(len, LOOKED_AT.values())) * TILE * TILE * 2


def test_nearest_in_time_and_earliest_read_no_more_than_they_look_at(dates: Dates, engine: str):
    late = points().with_columns(visited=pl.lit(dt.datetime(2024, 5, 7, 1, tzinfo=dt.UTC)))  # an hour after date 6
    got = dates.collection.raster.sample_points(
        late, ["red"], crs=32632, match="nearest", at="visited", tolerance="3d"
    ).collect(engine=engine)
    assert got["record_id"].to_list() == ["d5", *["d6"] * 15]  # date 7 is 23 hours away, date 5 is 25
    assert dates.read("red") == {6: set(range(16)), 7: {0}, 5: {0}}
    dates.source.clear()
    process_scheduler().clear_cache()
    dates.collection.raster.sample_points(late, ["red"], crs=32632, match="earliest").collect(engine=engine)
    assert dates.read("red") == {0: set(range(16))}


@pytest.mark.parametrize("bands", [["nir"], ["nir", "red"]])
def test_value_bands_are_not_read_where_the_sky_is_not_clear(bands: list[str], dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), bands, crs=32632, match="latest", valid=clear)
    got = asked.collect(engine=engine)
    assert got["nir"].to_list() == [1_000 + 100 * first_clear(tile) + tile for tile in range(N_TILES)]
    assert dates.read("scl") == LOOKED_AT
    assert dates.read("nir") == without_empty(CHOSEN)
    assert dates.read("red") == (without_empty(CHOSEN) if "red" in bands else {})


def test_with_all_dates_value_bands_are_not_read_where_the_sky_is_not_clear(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["nir"], crs=32632, valid=clear)
    got = asked.collect(engine=engine)
    assert got.height == N_TILES * N_DATES
    assert got["nir"].null_count() == sum(CLOUDY.values())
    assert dates.read("scl") == {date: set(range(N_TILES)) for date in range(N_DATES)}
    assert dates.read("nir") == {date: set(range(CLOUDY.get(date, 0), N_TILES)) for date in range(N_DATES)}


def test_the_callers_columns_alone_need_no_pixel(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["red"], crs=32632, match="latest", valid=clear)
    assert asked.select("tile").collect(engine=engine)["tile"].to_list() == list(range(N_TILES))
    assert asked.select(pl.len()).collect(engine=engine).item() == N_TILES
    assert dates.source.requests == []


def test_a_pruned_band_that_decides_the_choice_is_still_read(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["red"], crs=32632, match="latest")
    got = asked.select("tile", "record_id").collect(engine=engine)
    assert got["record_id"].to_list() == [f"d{first_clear(tile)}" for tile in range(N_TILES)]
    assert dates.read("red") == LOOKED_AT


def test_a_band_that_cannot_change_the_choice_and_is_not_wanted_is_read_only_where_it_must_be(
    dates: Dates, engine: str
):
    asked = dates.collection.raster.sample_points(points(), ["red", "nir"], crs=32632, match="latest")
    got = asked.select("tile", "red").collect(engine=engine)
    # The near infrared is clear everywhere: the newest date counts for every row.
    assert got["red"].to_list() == [None if tile < 8 else 900 + tile + 1 for tile in range(N_TILES)]
    assert dates.read("red") == {9: set(range(N_TILES))}
    assert set(dates.read("nir")) <= {9}


def test_filters_on_the_caller_leave_rows_unread(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["red"], crs=32632, match="latest")
    got = asked.filter(pl.col("tile").is_in([0, 5, 12])).collect(engine=engine)
    assert got["record_id"].to_list() == ["d5", "d8", "d9"]
    assert dates.read("red") == {9: {0, 5, 12}, 8: {0, 5}, 7: {0}, 6: {0}, 5: {0}}


def test_a_filter_on_the_chosen_record_does_not_restrict_the_choice(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(
        points(), ["red"], crs=32632, match="latest", record_columns=["id", "date"]
    )
    got = asked.filter(pl.col("date") <= 6).collect(engine=engine)
    assert got.select("tile", "date").rows() == [(0, 5), (1, 6)]
    assert dates.read("red") == LOOKED_AT


def test_a_filter_before_the_verb_restricts_the_choice(dates: Dates, engine: str):
    earlier = dates.collection.filter(pl.col("date") <= 6)
    got = earlier.raster.sample_points(points(), ["red"], crs=32632, match="latest").collect(engine=engine)
    assert got["record_id"].to_list() == ["d5", *["d6"] * 15]
    assert dates.read("red") == {6: set(range(N_TILES)), 5: {0}}


def test_the_first_rows_are_read_alone(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(points(), ["red"], crs=32632, match="latest")
    assert asked.head(2).collect(engine=engine)["record_id"].to_list() == ["d5", "d6"]
    assert dates.read("red") == {9: {0, 1}, 8: {0, 1}, 7: {0, 1}, 6: {0, 1}, 5: {0}}


def test_the_tolerance_bounds_what_is_looked_at(dates: Dates, engine: str):
    asked = dates.collection.raster.sample_points(
        points(), ["red"], crs=32632, match="latest", at="visited", tolerance="36h"
    )
    got = asked.collect(engine=engine)
    assert got["record_id"].to_list() == [None] * 4 + ["d8"] * 4 + ["d9"] * 8
    assert dates.read("red") == {9: set(range(N_TILES)), 8: set(range(8))}


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that was fetched ahead arrive, so that what is recorded does not depend on which thread was quicker."""
    monkeypatch.setattr(
        rounds_ahead.RoundsAhead, "abandon", lambda _self: wait_until(lambda: quiet(process_scheduler().state()), 30)
    )


def latest_clear(dates: Dates, **words: object) -> pl.LazyFrame:
    return dates.collection.raster.sample_points(
        points(), ["nir"], crs=32632, match="latest", valid=clear, **{"unmatched": "drop", **words}
    )


@pytest.mark.usefixtures("to_the_end")
def test_a_far_store_is_asked_for_masks_of_later_rounds_and_for_no_value_that_is_not_needed(dates: Dates, engine: str):
    asked = latest_clear(dates)
    bound = pr.estimate(asked)
    with far(), pr.profile() as p:
        got = asked.collect(engine=engine)
    assert got["record_id"].to_list() == [f"d{first_clear(tile)}" for tile in range(N_TILES)]
    assert dates.read("nir") == without_empty(CHOSEN)
    # After date 9 half of the points are open: their tiles of the next two to nine rounds, of which five would have been read.
    still_open = LOOKED_AT[8]
    assert dates.read("scl") == {9: LOOKED_AT[9], **dict.fromkeys(range(9), still_open)}
    assert dates.source.bytes <= bound.bytes
    assert bound.bound == "upper"
    assert len(dates.source.requests) == len(set(dates.source.requests)), "what was fetched ahead is not fetched again"
    looked_at = sum(map(len, LOOKED_AT.values())) + N_TILES
    assert p.summary()["tiles"].item() == looked_at, "profiles count the tiles that rounds looked at"


@pytest.mark.usefixtures("to_the_end")
def test_under_a_clear_sky_a_far_store_is_asked_for_one_date_alone(dates: Dates, engine: str):
    clear_dates = dates.collection.filter(pl.col("datetime") < dt.datetime(2024, 5, 6, 12, tzinfo=dt.UTC))
    with far():
        clear_dates.raster.sample_points(points(), ["nir"], crs=32632, match="latest", valid=clear).collect(
            engine=engine
        )
    assert dates.read("scl") == dates.read("nir") == {5: set(range(N_TILES))}


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("speed", [(0.08, 1.0), (0.0, 1e12)], ids=["slow", "near"])
def test_what_costs_more_than_it_saves_is_not_fetched_ahead(speed: tuple[float, float], dates: Dates, engine: str):
    with seen_speed(*speed):
        latest_clear(dates).collect(engine=engine)
    assert dates.read("scl") == LOOKED_AT


@pytest.mark.usefixtures("to_the_end")
def test_a_budget_that_rounds_keep_is_kept_by_a_far_store(dates: Dates, engine: str):
    needed = (sum(map(len, LOOKED_AT.values())) + N_TILES) * TILE * TILE * 2
    with far():
        latest_clear(dates, budget_bytes=needed).collect(engine=engine)
    assert dates.source.bytes == needed
    process_scheduler().clear_cache()
    with far(), pytest.raises(pr.errors.BudgetError):
        latest_clear(dates, budget_bytes=needed - 1).collect(engine=engine)


@pytest.mark.usefixtures("to_the_end")
def test_nothing_is_fetched_ahead_that_the_cache_cannot_keep(dates: Dates, engine: str):
    with far(), pr.options(cache_bytes=0):
        latest_clear(dates).collect(engine=engine)
    assert dates.read("scl") == LOOKED_AT


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("min_valid_fraction", [None, 0.5])
def test_areas_are_chosen_from_rounds_fetched_ahead(min_valid_fraction: float | None, dates: Dates, engine: str):
    boxes = points().select(
        "tile",
        geometry=pl.struct(xmin=pl.col("x") - 20, ymin=pl.col("y") - 20, xmax=pl.col("x") + 20, ymax=pl.col("y") + 20),
    )
    asked = dates.collection.raster.read_windows(
        boxes, ["nir"], geometry="geometry", crs=32632, match="latest", valid=clear, masked="column", shape=(4, 4),
        min_valid_fraction=min_valid_fraction,
    )  # fmt: skip
    bound = pr.estimate(asked)
    with far():
        got = asked.collect(engine=engine)
    assert got["record_id"].to_list() == [f"d{first_clear(tile)}" for tile in range(N_TILES)]
    assert dates.read("scl") == {9: LOOKED_AT[9], **dict.fromkeys(range(9), LOOKED_AT[8])}
    assert dates.read("nir") == without_empty(CHOSEN)
    assert dates.source.bytes <= bound.bytes


@pytest.mark.usefixtures("to_the_end")
def test_a_file_that_is_broken_and_not_needed_is_no_error(dates: Dates, engine: str):
    broken = dates.collection.with_columns(
        scl=pl.when(pl.col("id") == "d2")
        .then(pl.col("scl").struct.with_fields(href=pl.lit(dates.prefix + "gone.tif")))
        .otherwise("scl")
    )
    with far():
        got = broken.raster.sample_points(points(), ["nir"], crs=32632, match="latest", valid=clear).collect(
            engine=engine
        )
    assert got["record_id"].to_list() == [f"d{first_clear(tile)}" for tile in range(N_TILES)]
