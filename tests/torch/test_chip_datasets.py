"""Are samples the pixels that rasterio reads, in any kind of batch and process?"""

from __future__ import annotations

import datetime as dt
import pickle
import warnings

import numpy as np
import polars as pl
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rasterio.windows import Window

import polars_rasteret as pr
from tests.support.recorded import Store, build, noise, points, tiff

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; `.ci/run torch` installs it where a CPU build can be had"
)
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split  # noqa: E402

SHAPE = (32, 24)
SIZE = 256
BANDS = ["red", "nir"]
DAYS = [dt.datetime(2024, 5, day, 10, tzinfo=dt.UTC) for day in (1, 2, 3)]


class Scenes:
    """Three dates of two bands each, on one grid."""

    def __init__(self, dtype="uint16", **profile):
        self.store = Store()
        self.pixels = {
            (day, band): noise(10 * day + at, height=SIZE, width=SIZE).astype(dtype)
            for day in range(3)
            for at, band in enumerate(BANDS)
        }
        rows = [
            {
                "id": f"day{day}",
                "datetime": DAYS[day],
                "season": ["wet", "dry", "wet"][day],
                **{
                    band: self.store.put(f"{day}-{band}.tif", tiff(self.pixels[day, band], **profile)) for band in BANDS
                },
            }
            for day in range(3)
        ]
        self.collection = build(self.store, rows, {band: band for band in BANDS})

    def window(self, day, row, col, height=SHAPE[0], width=SHAPE[1], fill=0):
        """Cut a window out of the arrays that were written, filled beyond the image."""
        padded = np.full((2, SIZE + 512, SIZE + 512), fill, np.int64)
        for at_band, band in enumerate(BANDS):
            padded[at_band, 256 : 256 + SIZE, 256 : 256 + SIZE] = self.pixels[day, band][0]
        return padded[:, 256 + row : 256 + row + height, 256 + col : 256 + col + width]


@pytest.fixture(scope="module")
def scenes():
    world = Scenes()
    yield world
    world.store.close()


PLOTS = points(
    [(40, 60), (250, 3), (100, 101), (100, 102)], crop=[3, 1, 4, 1], split=["train", "val", "train", "train"]
)
CORNERS = [(24, 48), (234, -9), (84, 89), (84, 90)]
"""First pixel of the window around each plot: the point is in pixel (height // 2, width // 2)."""


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]


def test_a_sample_is_the_window_around_its_chip_and_tells_where_it_is(scenes):
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, label="crop")
    assert len(chips) == 12
    for sample, (chip, day) in zip(chips, [(chip, day) for chip in range(4) for day in range(3)], strict=True):
        row, col = CORNERS[chip]
        assert sample["image"].dtype == torch.int32  # uint16 holds more than int16
        np.testing.assert_array_equal(sample["image"].numpy(), scenes.window(day, row, col))
        x, y = 500_000 + 10 * col, 5_000_000 - 10 * row
        assert sample["transform"].tolist() == [10, 0, x, 0, -10, y]
        assert sample["bounds"].tolist() == [x, y - 320, x + 240, y]
        assert (sample["crs"], sample["record_id"]) == ("EPSG:32632", f"day{day}")
        assert sample["datetime"].item() == DAYS[day].timestamp() * 1e6
        assert (sample["chip"], sample["label"]) == (chip, PLOTS["crop"][chip])
        assert sample.keys() == {"image", "bounds", "transform", "crs", "record_id", "datetime", "chip", "label"}


def test_a_batch_is_one_read_of_each_tile_whatever_order_it_is_in(scenes):
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632)
    scenes.store.clear()
    with pr.options(cache_bytes=0):
        again = pickle.loads(pickle.dumps(chips))
        order = [11, 6, 9, 9, 0, -1]
        samples = again.__getitems__(order)
    assert scenes.store.most_often_asked() == 1
    for index, sample in zip(order, samples, strict=True):
        torch.testing.assert_close(sample["image"], chips[index]["image"], rtol=0, atol=0)
    assert chips.__getitems__([]) == []


def test_the_loader_of_torch_reads_batches_and_its_own_wrappers_pass_them_on(scenes):
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, label="crop")
    asked = []
    read = type(chips).__getitems__
    type(chips).__getitems__ = lambda self, ids: asked.append(len(ids)) or read(self, ids)
    try:
        batches = list(DataLoader(chips, batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(1)))
        assert asked == [5, 5, 2]
        assert sorted(torch.cat([one["chip"] for one in batches]).tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        assert [tuple(one["image"].shape) for one in batches] == [(5, 2, *SHAPE), (5, 2, *SHAPE), (2, 2, *SHAPE)]
        asked.clear()
        train, _ = random_split(chips, [8, 4], generator=torch.Generator().manual_seed(1))
        assert len(list(DataLoader(train, batch_size=8))) == 1
        assert asked == [8]
    finally:
        type(chips).__getitems__ = read
    both = ConcatDataset([chips, Subset(chips, [3])])
    assert both[12]["record_id"] == chips[3]["record_id"]


def test_boxes_are_resampled_and_polygons_blanked_where_rasterio_has_no_polygon(scenes):
    triangle = shapely.Polygon([(500_100, 4_999_900), (500_340, 4_999_900), (500_100, 4_999_580)])
    box = shapely.box(500_100, 4_999_580, 500_340, 4_999_900)
    frame = pl.DataFrame({"geometry": shapely.to_wkb([triangle, box])})
    chips = scenes.collection.raster.to_torch(frame, BANDS, shape=SHAPE, crs=32632, coverage="center", fill_value=7)
    whole = scenes.window(0, 10, 10)
    outside = geometry_mask([triangle], SHAPE, Affine(10, 0, 500_100, 0, -10, 4_999_900))
    np.testing.assert_array_equal(chips[0]["image"].numpy(), np.where(outside, 7, whole))
    np.testing.assert_array_equal(chips[3]["image"].numpy(), whole)
    half = scenes.collection.raster.to_torch(frame[1:], BANDS, shape=(16, 12), crs=32632, resampling="average")[0]
    assert half["transform"].tolist() == [20, 0, 500_100, 0, -20, 4_999_900]
    means = whole.reshape(2, 16, 2, 12, 2).mean(axis=(2, 4))
    assert np.abs(half["image"].numpy() - means).max() <= 0.5


def test_windows_over_images_cover_every_pixel_once_and_belong_to_their_own_record(scenes):
    chips = scenes.collection.raster.to_torch(None, BANDS, shape=(100, 90), label="season")
    assert len(chips) == 3 * 3 * 3
    for at_sample, sample in enumerate(chips):
        day, window = divmod(at_sample, 9)
        row, col = 100 * (window // 3), 90 * (window % 3)
        assert (sample["record_id"], sample["chip"]) == (f"day{day}", at_sample)
        assert sample["label"] == ["wet", "dry", "wet"][day]
        np.testing.assert_array_equal(sample["image"].numpy(), scenes.window(day, row, col, 100, 90))
    overlapping = scenes.collection.raster.to_torch(None, "red", shape=(128, 128), stride=(64, 128))
    assert len(overlapping) == 3 * 3 * 2
    np.testing.assert_array_equal(overlapping[3]["image"].numpy()[0], scenes.pixels[0, "red"][0, 64:192, 128:])


def test_a_series_has_every_record_of_a_chip_by_time(scenes):
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, time_series=True, label="crop")
    assert len(chips) == 4
    batch = next(iter(DataLoader(chips, batch_size=4)))
    assert tuple(batch["image"].shape) == (4, 3, 2, *SHAPE)
    for chip, (row, col) in enumerate(CORNERS):
        for day in range(3):
            np.testing.assert_array_equal(batch["image"][chip, day].numpy(), scenes.window(day, row, col))
    assert batch["datetime"].tolist() == [[one.timestamp() * 1e6 for one in DAYS]] * 4
    assert batch["label"].tolist() == PLOTS["crop"].to_list()
    assert chips[2]["record_id"] == ["day0", "day1", "day2"]


def test_splits_choose_chips_or_records_and_chips_keep_their_row(scenes):
    ask = scenes.collection.raster.to_torch
    train = ask(PLOTS, BANDS, shape=SHAPE, crs=32632, split="train")
    assert [one["chip"] for one in train] == [0, 0, 0, 2, 2, 2, 3, 3, 3]
    wet = ask(PLOTS, BANDS, shape=SHAPE, crs=32632, split="wet", split_column="season", label="season")
    assert [(one["record_id"], one["label"]) for one in wet] == [("day0", "wet"), ("day2", "wet")] * 4


def test_one_record_is_chosen_by_its_pixels(scenes):
    # The newest date has no valid pixel around chip 2 and 3.
    cloudy = scenes.collection.with_columns(
        pl.when(pl.col("id") == "day2").then(pl.lit(5)).otherwise(pl.lit(0)).alias("limit")
    )
    valid = (pl.col("limit") == 0) | (pl.col("crop") == 3)
    chips = cloudy.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, match="latest", valid=valid, masked=True)
    assert [one["record_id"] for one in chips] == ["day2", "day1", "day1", "day1"]
    batch = chips.__getitems__([3, 0, 3])
    assert [one["record_id"] for one in batch] == ["day1", "day2", "day1"]
    np.testing.assert_array_equal(batch[1]["image"].numpy(), scenes.window(2, *CORNERS[0]))
    assert bool(batch[0]["valid"].all())
    nothing = cloudy.raster.to_torch(
        PLOTS, BANDS, shape=SHAPE, crs=32632, match="latest", valid=pl.lit(1) > pl.col("crop")
    )
    assert {one["record_id"] for one in nothing} == {""}
    assert not any(one["image"].any() for one in nothing)


@pytest.mark.parametrize(
    ("dtype", "is_image", "wanted"),
    [
        ("uint8", True, torch.uint8),
        ("int16", True, torch.int16),
        ("uint32", True, torch.int64),
        ("float32", True, torch.float32),
        ("uint8", False, torch.int64),
        ("uint16", False, torch.int64),
    ],
)
def test_no_value_is_lost_in_the_dtype_of_a_tensor(dtype, is_image, wanted):
    world = Scenes(dtype)
    top = np.finfo(dtype).max if dtype == "float32" else np.iinfo(dtype).max
    world.pixels[0, "red"][0, 0, 0] = top
    world.store.put("0-red.tif", tiff(world.pixels[0, "red"]))
    chips = world.collection.raster.to_torch(None, "red", shape=(16, 16), is_image=is_image)
    sample = chips[0]["image" if is_image else "mask"]
    assert sample.dtype == wanted
    assert sample.reshape(-1)[0].item() == float(top)
    assert tuple(sample.shape) == ((1, 16, 16) if is_image else (16, 16))
    world.store.close()


def test_pixels_that_do_not_count_are_told_and_failed_samples_stay():
    world = Scenes(nodata=9)
    for day in range(3):
        world.pixels[day, "red"][0, 40, 60] = 9
        world.store.put(f"{day}-red.tif", tiff(world.pixels[day, "red"], nodata=9))
    world.store.files.by_name["1-nir.tif"] = world.store.files.by_name["1-nir.tif"][:3000]
    ask = world.collection.raster.to_torch
    chips = ask(PLOTS, BANDS, shape=SHAPE, crs=32632, masked=True, on_error="null")
    assert len(chips) == 12
    batch = next(iter(DataLoader(chips, batch_size=12)))
    assert [bool(one) for one in batch["read_error"]] == [False, True, False] * 4
    assert "1-nir.tif" in batch["read_error"][1]
    assert (batch["image"][1::3, 1] == 9).all()  # a failed band has its nodata value
    assert not batch["valid"][1::3, 1].any()
    mask = np.ones((2, *SHAPE), bool)
    mask[0, 16, 12] = False
    np.testing.assert_array_equal(batch["valid"][0].numpy(), mask)
    with pytest.raises(pr.errors.FetchError, match=r"1-nir\.tif"):
        ask(PLOTS, BANDS, shape=SHAPE, crs=32632)[1]
    world.store.close()


def test_a_stream_gives_the_samples_in_order_and_its_workers_take_turns(scenes, monkeypatch):
    ask = scenes.collection.raster.to_torch
    chips, stream = (ask(PLOTS, BANDS, shape=SHAPE, crs=32632, chips_per_read=n) for n in (None, 5))
    assert len(stream) == 12
    for one, other in zip(stream, chips, strict=True):
        assert_equal(one, other)
    found = []
    for worker in range(2):
        info = type("Info", (), {"id": worker, "num_workers": 2})
        monkeypatch.setattr("polars_rasteret.chips.torch_samples.get_worker_info", lambda info=info: info)
        found.append([(one["chip"], one["record_id"]) for one in stream])
    assert [len(one) for one in found] == [7, 5]
    assert sorted(found[0] + found[1]) == [(chip, f"day{day}") for chip in range(4) for day in range(3)]


def as_floats(sample):
    return {**sample, "image": sample["image"].float() / 10_000}


def files_on_disk(folder):
    pixels = noise(1, height=SIZE, width=SIZE, n_bands=2)
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(tiff(pixels))
    return pixels


def test_spawned_workers_read_what_this_process_reads(tmp_path):
    files_on_disk(tmp_path)
    collection = pr.build_from_files(str(tmp_path / "*.tif"), bands=BANDS)
    chips = collection.raster.to_torch(PLOTS, shape=SHAPE, crs=32632, label="crop", transform=as_floats)
    ours = list(DataLoader(chips, batch_size=3))
    theirs = list(DataLoader(chips, batch_size=3, num_workers=2, multiprocessing_context="spawn"))
    assert ours[0]["image"].dtype == torch.float32
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(one, other)
    with rasterio.open(tmp_path / "a.tif") as file:
        window = file.read(window=Window(48, 24, SHAPE[1], SHAPE[0]))
    np.testing.assert_array_equal(theirs[0]["image"][0].numpy(), (window / 10_000).astype(np.float32))


def test_forked_workers_are_refused_before_they_hang(tmp_path):
    files_on_disk(tmp_path)
    chips = pr.build_from_files(str(tmp_path / "*.tif"), bands=BANDS).raster.to_torch(PLOTS, shape=SHAPE, crs=32632)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and Polars warn of forks, too
        loader = DataLoader(chips, batch_size=3, num_workers=1, multiprocessing_context="fork")
        with pytest.raises(pr.errors.UsageError, match="multiprocessing_context='spawn'"):
            next(iter(loader))


def test_what_is_pickled_is_small_and_holds_no_pixels(scenes):
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632)
    before = len(pickle.dumps(chips))
    chips.__getitems__(range(12))
    assert len(pickle.dumps(chips)) == before < 50_000


def test_a_budget_refuses_a_dataset_before_its_first_request(scenes):
    with pytest.raises(pr.errors.BudgetError):
        scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, budget_bytes=100)
    scenes.store.clear()
    chips = scenes.collection.raster.to_torch(PLOTS, BANDS, shape=SHAPE, crs=32632, budget_bytes=10_000_000)
    assert scenes.store.requests == []
    for _ in range(2):  # every pass may read
        assert len(list(DataLoader(chips, batch_size=12))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"shape": None}, "shape is None"),
        ({"label": "kind"}, "label='kind'; expected a column of the chips"),
        ({"split": "a", "split_column": "fold"}, "split_column='fold'"),
        ({"stride": (8, 8)}, "stride"),
        ({"time_series": True, "match": "latest"}, "time_series=True"),
        ({"chips": None, "match": "latest", "crs": 4326}, "match, crs"),
        ({"chips": None, "stride": (0, 8)}, "stride="),
        ({"chips_per_read": 0}, "chips_per_read=0"),
        ({"on_error": "ignore"}, "on_error"),
        ({"bands": ["blue"]}, "blue: no such band"),
    ],
)
def test_words_that_are_wrong_are_refused_at_the_call(scenes, words, message):
    asked = {"chips": PLOTS, "bands": BANDS, "shape": SHAPE, **words}
    if asked["chips"] is not None:
        asked = {"crs": 32632, **asked}
    with pytest.raises(pr.errors.UsageError, match=message):
        scenes.collection.raster.to_torch(**asked)


def test_pixels_that_no_tensor_holds_are_refused(scenes):
    store = Store()
    href = store.put("a.tif", tiff(noise(1, dtype="uint64")))
    collection = build(store, [{"id": "a", "datetime": DAYS[0], "red": href}], {"red": "red"})
    with pytest.raises(pr.errors.UsageError, match="uint64"):
        collection.raster.to_torch(None, shape=(8, 8))
    store.close()


def test_no_chips_make_an_empty_dataset_and_an_index_beyond_it_an_error(scenes):
    far = points([(9_000, 9_000)])
    chips = scenes.collection.raster.to_torch(far, BANDS, shape=SHAPE, crs=32632)
    assert len(chips) == 0
    assert list(chips) == []
    with pytest.raises(IndexError, match="sample 3 of a dataset of 3 samples"):
        scenes.collection.raster.to_torch(PLOTS[:1], BANDS, shape=SHAPE, crs=32632)[3]
    kept = scenes.collection.raster.to_torch(far, BANDS, shape=SHAPE, crs=32632, unmatched="null")
    assert [(one["record_id"], one["crs"], int(one["image"].sum())) for one in kept] == [("", "", 0)]
