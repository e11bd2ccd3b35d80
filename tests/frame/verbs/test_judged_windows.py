"""Do windows obey `valid`, `match` and `min_valid_fraction`, pixel by pixel and record by record?

Expected windows are cut from the arrays that the files were made of.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import MemorySource, RecordingSource, make_cog

PREFIX = "memory://judged-windows/"
SIZE, TILE = 96, 32
RNG = np.random.default_rng(4)
RED = [RNG.integers(1, 3000, (SIZE, SIZE)).astype(np.uint16) for _ in range(3)]
CLASS = [np.where(RNG.random((SIZE // 2, SIZE // 2)) < share, 4, 9).astype(np.uint8) for share in (0.9, 0.5, 0.02)]
CLASS[2][:, :24] = 9  # the newest has no clear pixel in the west
for one in RED:
    one[::7, ::5] = 0
DAYS = [dt.datetime(2024, 5, day, 10, tzinfo=dt.UTC) for day in (1, 11, 21)]
LEFT, TOP = 500_000.0, 5_000_000.0
BOXES = [(3, 11, 5, 13), (40, 60, 2, 20), (50, 90, 60, 94), (0, 96, 0, 96)]
"""row_start, row_stop, col_start, col_stop in pixels of 10 m, all even or odd."""
AOIS = [shapely.box(LEFT + c0 * 10, TOP - r1 * 10, LEFT + c1 * 10, TOP - r0 * 10) for r0, r1, c0, c1 in BOXES]
CLEAR = pl.col("SCL") == 4


@pytest.fixture(scope="module")
def store():
    grid = (20.0, 0, LEFT, 0, -20.0, TOP)
    files = {f"{PREFIX}red{n}.tif": make_cog(one, nodata=0, tile_size=TILE) for n, one in enumerate(RED)}
    files |= {
        f"{PREFIX}scl{n}.tif": make_cog(one, nodata=0, tile_size=TILE, transform=grid) for n, one in enumerate(CLASS)
    }
    recording = RecordingSource(MemorySource(files))
    pr.configure_store(PREFIX, store=recording)
    return recording


@pytest.fixture(scope="module")
def scenes(store):
    table = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "datetime": DAYS,
            "red": [f"{PREFIX}red{n}.tif" for n in range(3)],
            "scl": [f"{PREFIX}scl{n}.tif" for n in range(3)],
        }
    )
    return pr.build_from_table(table, bands={"red": "red", "SCL": "scl"}, geometry=None)


def clear(record: int) -> np.ndarray:
    return (CLASS[record] == 4).repeat(2, axis=0).repeat(2, axis=1) & (RED[record] != 0)


def cut(array: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    return array[box[0] : box[1], box[2] : box[3]]


def pixels(values: np.ndarray, valid: np.ndarray) -> list:
    return [value if ok else None for value, ok in zip(values.ravel().tolist(), valid.ravel().tolist(), strict=True)]


def test_what_is_not_valid_is_a_null_element(scenes, engine):
    got = scenes.raster.read_windows(AOIS, ["red"], crs=32632, valid=CLEAR, masked=True).collect(engine=engine)
    expected = [pixels(cut(RED[n], box), cut(clear(n), box)) for box in BOXES for n in range(3)]
    assert got["red"].struct.field("pixels").to_list() == expected
    unmasked = scenes.raster.read_windows(AOIS, ["red"], crs=32632, valid=CLEAR).collect(engine=engine)
    kept = [cut(RED[n], box).ravel().tolist() for box in BOXES for n in range(3)]
    assert unmasked["red"].struct.field("pixels").to_list() == kept


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("fraction", [None, 0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("match", ["latest", "earliest", "nearest"])
def test_the_first_record_with_enough_clear_pixels_is_chosen(scenes, engine, match, fraction, stack):
    order = {"latest": [2, 1, 0], "earliest": [0, 1, 2], "nearest": [1, 0, 2]}[match]
    aois = pl.DataFrame({"n": range(len(BOXES)), "geometry": [shapely.to_wkb(one) for one in AOIS]})
    same = [box for box in BOXES if (box[1] - box[0], box[3] - box[2]) == (8, 8)]
    words = {"match": match, "valid": CLEAR, "min_valid_fraction": fraction, "masked": True, "unmatched": "null"}
    if match == "nearest":
        words["at"] = DAYS[1] - dt.timedelta(days=1)
    if stack:
        aois, words = aois.head(1), {**words, "stack": True, "shape": (8, 8)}
    got = scenes.raster.read_windows(aois, ["red"], crs=32632, **words).collect(engine=engine)
    assert same == BOXES[:1]
    for row, box in enumerate(BOXES[: aois.height]):
        chosen = None
        for record in order:
            share = cut(clear(record), box).mean()
            if share > 0 and share >= (fraction or 0):
                chosen = record
                break
        assert got["record_id"][row] == (None if chosen is None else "abc"[chosen])
        value = got["pixels"][row] if stack else got["red"][row]
        if chosen is None:
            assert value is None
            continue
        flat = np.array(value.to_list()).ravel().tolist() if stack else value["pixels"]
        assert flat == pixels(cut(RED[chosen], box), cut(clear(chosen), box))


def test_the_share_is_one_of_the_pixels_that_the_area_covers(scenes, engine):
    triangle = shapely.Polygon([(LEFT, TOP), (LEFT + 395, TOP), (LEFT, TOP - 395)])
    covered = np.add.outer(np.arange(40), np.arange(40)) + 1 < 39.5  # centres beyond the long side are not covered
    share = (cut(clear(1), (0, 40, 0, 40)) & covered).sum() / covered.sum()
    for fraction, expected in ((share - 1e-9, "b"), (share + 1e-9, "a")):
        got = scenes.raster.read_windows(
            [triangle], ["red"], crs=32632, match="latest", valid=CLEAR, coverage="center", min_valid_fraction=fraction
        ).collect(engine=engine)
        assert got["record_id"].to_list() == [expected]


@pytest.mark.parametrize("shape", [None, (12, 12), (5, 7)])
@pytest.mark.parametrize("coverage", [None, "center", "all_touched"])
@pytest.mark.parametrize("fraction", [None, 0, 0.0, 0.01, 1.0])
def test_a_record_without_a_valid_pixel_never_counts(scenes, engine, fraction, coverage, shape):
    west = shapely.box(LEFT + 40, TOP - 200, LEFT + 160, TOP - 80)  # the newest is cloudy here
    sliver = shapely.box(LEFT + 41, TOP - 204, LEFT + 44, TOP - 201)  # holds no centre of a pixel
    beyond = shapely.box(LEFT - 400, TOP - 200, LEFT - 100, TOP - 80)  # off the image
    words = {"match": "latest", "valid": CLEAR, "min_valid_fraction": fraction, "unmatched": "null", "shape": shape}
    got = scenes.raster.read_windows([west, sliver, beyond], ["red"], crs=32632, coverage=coverage, **words).collect(
        engine=engine
    )
    assert got["record_id"][0] != "c"
    if coverage == "center" and shape is None:
        assert got["record_id"][1] is None
    assert got["record_id"][2] is None
    cloudy = scenes.filter(pl.col("id") == "c").raster.read_windows(
        [west, sliver], ["red"], crs=32632, coverage=coverage, **words
    )
    assert cloudy.collect(engine=engine)["record_id"].to_list() == [None, None]


def test_a_share_is_met_exactly_by_that_many_pixels():
    values = np.zeros((10, 10), np.uint8)
    windows = [shapely.box(LEFT, TOP - 100, LEFT + 100, TOP)]
    for n_valid in range(1, 101):
        values.reshape(-1)[:n_valid] = 1
        pr.configure_store(
            "memory://exact-share/", store=MemorySource({"memory://exact-share/a.tif": make_cog(values, nodata=0)})
        )
        scene = pr.build_from_files(["memory://exact-share/a.tif"], bands=["b"])
        for fraction, counts in ((n_valid / 100, True), (np.nextafter(n_valid / 100, 2), False)):
            if fraction > 1:
                continue
            got = scene.raster.read_windows(windows, ["b"], crs=32632, match="latest", min_valid_fraction=fraction)
            assert got.collect().height == counts


@pytest.mark.parametrize("grid", ["finest", "coarsest", "SCL", "red"])
@pytest.mark.parametrize("bands", [["red"], ["SCL"]])
def test_windows_are_judged_on_the_grid_that_bands_and_masks_share(scenes, engine, bands, grid):
    box = (2, 10, 4, 12)
    aoi = shapely.box(LEFT + box[2] * 10, TOP - box[1] * 10, LEFT + box[3] * 10, TOP - box[0] * 10)
    valid = CLEAR & (pl.col("red") > 0)
    got = scenes.raster.read_windows([aoi], bands, crs=32632, valid=valid, masked=True, grid=grid).collect(
        engine=engine
    )
    is_fine = grid in {"finest", "red"}
    for record in range(3):
        value = got[bands[0]][record]
        ok, red, scl = clear(record), RED[record], CLASS[record].repeat(2, axis=0).repeat(2, axis=1)
        picked = (slice(None), slice(None)) if is_fine else (slice(1, None, 2), slice(1, None, 2))
        array = red if bands == ["red"] else scl
        assert (value["height"], value["width"]) == ((8, 8) if is_fine else (4, 4))
        assert value["pixels"] == pixels(cut(array, box)[picked], cut(ok, box)[picked])


def test_a_record_without_a_clear_pixel_gives_only_its_mask(scenes, store, engine):
    with pr.options(cache_bytes=0):
        store.requests.clear()
        got = scenes.raster.read_windows(AOIS[:1], ["red"], crs=32632, match="latest", valid=CLEAR).collect(
            engine=engine
        )
    assert got["record_id"].to_list() == ["b"]
    asked = [href.removeprefix(PREFIX) for href, *_ in store.requests]
    assert sorted(asked) == ["red1.tif", "scl1.tif", "scl2.tif"]


def test_bills_of_chosen_windows_are_upper_bounds(scenes, store, engine):
    query = scenes.raster.read_windows(AOIS, ["red"], crs=32632, match="latest", valid=CLEAR, masked=True)
    store.requests.clear()
    bill = pr.estimate(query)
    assert store.requests == []
    assert bill.bound == "upper"
    with pr.options(cache_bytes=0), pr.profile() as p:
        query.collect(engine=engine)
    assert p.summary()["tiles"].item() <= bill.tiles


def test_a_share_without_a_choice_is_refused(scenes):
    with pytest.raises(UsageError, match="min_valid_fraction"):
        scenes.raster.read_windows(AOIS, ["red"], crs=32632, min_valid_fraction=0.5)
    with pytest.raises(UsageError, match="min_valid_fraction"):
        scenes.raster.read_windows(AOIS, ["red"], crs=32632, match="latest", min_valid_fraction=1.5)
