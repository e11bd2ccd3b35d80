"""Do bands that lie on equal grids give the same plan, requests and answers, whether they share their arrays or are copies?"""

from __future__ import annotations

from dataclasses import fields, replace
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.pixel_grid import GridTable, PixelGrids
from polars_rasteret.grids.windows import SharedWindows, Windows, taken_windows, windows_of_areas, windows_of_points
from polars_rasteret.options import current_options
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of
from polars_rasteret.pixels.reading import BandRows, begin_bands, window_reads
from polars_rasteret.pixels.windows import covered
from polars_rasteret.pixels.windows.aligned_bands import aligned_bands, are_answers
from polars_rasteret.pixels.windows.covered import blank_uncovered
from polars_rasteret.pixels.windows.resampled import begin_onto_grids
from polars_rasteret.pixels.windows.resampling import may_be_resampled

PREFIX = "memory://copied-grids/"
FINE, COARSE, ASIDE = (10.0, 0, 600_000, 0, -10.0, 5_000_000), (20.0, 0, 600_000, 0, -20.0, 5_000_000), (
    10.0, 0, 600_100, 0, -10.0, 5_000_000,
)  # fmt: skip
SIZE = {FINE: 64, COARSE: 32, ASIDE: 64}
N_RECORDS = 3
KINDS = {"none": None, "fine": FINE, "coarse": COARSE, "aside": ASIDE}
ADVICE = "ask for less"


@pytest.fixture(scope="module")
def store() -> pr.testing.RecordingSource:
    rng = np.random.default_rng(3)
    files = {}
    for band in "abc":
        for record in range(N_RECORDS):
            for kind, transform in KINDS.items():
                if transform is not None:
                    pixels = rng.integers(0, 200, (SIZE[transform],) * 2).astype(np.uint8)
                    made = pr.testing.make_cog(pixels, epsg=32632, transform=transform, nodata=0)
                    files[f"{PREFIX}{band}-{record}-{kind}.tif"] = made
    recording = pr.testing.RecordingSource(pr.testing.MemorySource(files))
    pr.configure_store(PREFIX, store=recording)
    return recording


def columns_of(kinds: dict[str, list[str]]):
    """Raster columns of three bands, whose records have these kinds of grids."""
    series = []
    for band, of_records in kinds.items():
        hrefs = [None if kind == "none" else f"{PREFIX}{band}-{at}-{kind}.tif" for at, kind in enumerate(of_records)]
        table = pl.DataFrame({"id": [str(at) for at in range(N_RECORDS)], "href": pl.Series(hrefs, dtype=pl.String)})
        series.append(pr.build_from_table(table, bands={band: "href"}).collect().sort("id")[band])
    return raster_columns_of(series, targets_in="EPSG:32632")


def bands_of(columns, windows_of) -> list[BandRows]:
    shared, bands = SharedWindows(windows_of), []
    for column in columns:
        windows = shared.of(column.grids_of(column.reference_id))
        reference_id, faults = column.readable(column.reference_id, windows)
        bands.append(BandRows(column=column, reference_id=reference_id, row=None, windows=windows, faults=faults))
    return bands


def copied_grids(grids: PixelGrids) -> PixelGrids:
    return PixelGrids(table=grids.table, grid_id=grids.grid_id.copy())


def copied(band: BandRows) -> BandRows:
    """The band with arrays of its own: nothing of it is an object of another band's."""
    windows = {}
    for one in fields(Windows):
        value = getattr(band.windows, one.name)
        windows[one.name] = value.copy() if isinstance(value, np.ndarray) else value
    windows["grids"] = copied_grids(band.windows.grids)
    column = replace(band.column, reference_id=band.column.reference_id.copy(), grids=copied_grids(band.column.grids))
    return replace(band, column=column, reference_id=band.reference_id.copy(), windows=Windows(**windows))


def firsts(objects) -> list[int]:
    """For each object, the first that is the same one."""
    return [next(at for at, other in enumerate(objects) if other is one) for one in objects]


def assert_equal_fields(one, other) -> None:
    for name in type(one).__slots__:
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
        elif not hasattr(a, "__slots__") and name not in ("image", "faults"):
            assert a == b


def answered(store, read):
    """The values and validity of all bands, and the requests made for them."""
    process_scheduler().clear_cache()
    store.clear()
    answers, errors = read()
    values = [(one.answer.values.tolist(), one.answer.valid.tolist(), one.is_read.tolist()) for one in answers]
    return values, errors, sorted(store.requests)


of_records = st.lists(st.sampled_from([*KINDS]), min_size=N_RECORDS, max_size=N_RECORDS)
# Two kinds of bands: some of the three lie on the same grids.
kinds_of_records = st.tuples(of_records, of_records, st.tuples(*[st.booleans()] * 3)).map(
    lambda drawn: {band: drawn[is_second] for band, is_second in zip("abc", drawn[2], strict=True)}
)
boxes = st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.integers(1, 30), st.integers(1, 30))


def areas_of(box) -> Areas:
    west, north, width, height = box
    x, y = 600_000 + 10 * west, 5_000_000 - 10 * north
    corners = [(x, y), (x + 10 * width, y), (x, y - 10 * height)]
    return Areas(np.array([shapely.to_wkb(shapely.Polygon(corners))] * N_RECORDS, dtype=object), "EPSG:32632")


@settings(deadline=None, max_examples=40)
@given(kinds=kinds_of_records, box=boxes, data=st.data())
def test_windows_of_copies_are_planned_read_and_covered_like_shared_ones(store, kinds, box, data):
    columns, areas, rows = columns_of(kinds), areas_of(box), np.arange(N_RECORDS)
    has_own_grid = data.draw(st.booleans())
    bands = bands_of(columns, lambda grids: windows_of_areas(grids, areas, rows, has_own_grid=has_own_grid))
    # Files are other ones in each band: grids are equal by value alone.
    assert firsts([band.windows for band in bands]) == [[*kinds.values()].index(one) for one in kinds.values()]
    copies = [copied(band) for band in bands]
    plain, of_copies = (window_reads(some, [None] * 3, want_valid=True) for some in (bands, copies))
    # The engine plans the tiles of reads once that are given the same arrays.
    shared = firsts([one.row_start for one in plain])
    assert shared == firsts([one.row_start for one in of_copies])
    assert all(one <= band for one, band in zip(shared, firsts([band.windows for band in bands]), strict=True))
    assert may_be_resampled(bands, None) == may_be_resampled(copies, None)
    index = np.array(data.draw(st.lists(st.integers(0, N_RECORDS - 1), max_size=5)), np.int64)
    taken, taken_copies = (taken_windows([band.windows for band in some], index) for some in (bands, copies))
    assert firsts(taken) == firsts(taken_copies)
    options = current_options()
    how = {"want_valid": True, "advice": ADVICE}
    assert answered(store, lambda: begin_bands(bands, options, **how).answers()) == answered(
        store, lambda: begin_bands(copies, options, **how).answers()
    )
    aligned, aligned_copies = (
        aligned_bands(some, grid="finest", shape=(6, 5), resolution=None, methods={"b": "bilinear"})
        for some in (bands, copies)
    )
    assert are_answers(aligned) == are_answers(aligned_copies)
    for one, other in zip(aligned, aligned_copies, strict=True):
        assert_equal_fields(one.sources, other.sources)
        assert_equal_fields(one.grids, other.grids)
    how["shape"] = (6, 5)
    n_covered = []

    def read_covered(some):
        answers, errors = begin_onto_grids(some, options, **how).answers()
        with patch.object(covered, "gdal_runs", wraps=covered.gdal_runs) as looked_at:
            blank_uncovered(answers, "center", None, pixels_per_row=30)
        n_covered.append(sum(call.args[0].n_zones for call in looked_at.call_args_list))
        return answers, errors

    assert answered(store, lambda: read_covered(aligned)) == answered(store, lambda: read_covered(aligned_copies))
    assert n_covered[0] == n_covered[1]


def test_bands_of_equal_grids_share_windows_though_their_references_are_other_ones():
    table = GridTable()
    transform = np.array([FINE, COARSE])
    one = table.add(["EPSG:32632"] * 2, transform, np.array([64, 32]), np.array([64, 32]))
    other = table.add(["EPSG:32632"] * 2, transform[::-1].copy(), np.array([32, 64]), np.array([32, 64]))
    points = Points(np.full(2, 600_005.0), np.full(2, 4_999_995.0), "EPSG:32632")
    shared = SharedWindows(lambda grids: windows_of_points(grids, points, np.arange(2)))
    rows = np.array([0, 1])
    assert shared.of(one.taken(rows)) is shared.of(other.taken(1 - rows))
    assert shared.of(one.taken(rows)) is not shared.of(other.taken(rows))
