"""Are chips read and paired rightly before any library for training sees them? Runs without PyTorch."""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.chips.chip_question import chip_question
from polars_rasteret.chips.chip_reads import ChipReader
from polars_rasteret.chips.image_grid import _starts
from polars_rasteret.pairing.words import Pairing
from polars_rasteret.pixels.windows.window_options import WindowOptions
from polars_rasteret.pixels.windows.window_product import WindowProduct
from tests.support.recorded import Store, build, noise, points, tiff

SHAPE = (24, 16)
PLOTS = points([(40, 60), (300, 8), (100, 200)], crop=[3, 1, 4])
DAYS = [dt.datetime(2024, 5, day, tzinfo=dt.UTC) for day in (1, 2)]


@pytest.fixture(scope="module")
def world():
    store = Store()
    pixels = [noise(day, n_bands=2) for day in range(2)]
    rows = [
        {"id": f"day{day}", "datetime": DAYS[day], "image": store.put(f"{day}.tif", tiff(pixels[day]))}
        for day in range(2)
    ]
    yield store, pixels, build(store, rows, {"red": ("image", 0), "nir": ("image", 1)})
    store.close()


def asked(collection, chips=PLOTS, *, is_series=False, **words):
    schema = collection.collect_schema()
    product = WindowProduct(
        bands={name: schema[name] for name in ("red", "nir")},
        window=WindowOptions(shape=SHAPE, grid="finest"),
        stack=True,
        clips_points=chips is not None,
    )
    words = {"crs": 32632, "unmatched": "drop", **words} if chips is not None else {}
    return chip_question(
        collection,
        chips,
        product=product,
        pairing=Pairing(**words),
        grid="finest",
        stride=(200, 300),
        label="crop" if chips is not None else "id",
        split=None,
        split_column="split",
        is_series=is_series,
    )


def test_images_are_those_of_the_pairs_in_the_order_asked_for(world):
    store, pixels, collection = world
    reader = ChipReader(pickle.loads(pickle.dumps(asked(collection))))
    assert len(reader) == 6
    store.clear()
    images = reader.read(np.array([5, 0, 2, 0]))
    assert store.most_often_asked() == 1
    assert images.record_id == ["day1", "day0", "day0", "day0"]
    assert images.chip.tolist() == [2, 0, 1, 0]
    assert images.label.to_list() == [4, 3, 1, 3]
    for image, chip, day in zip(images.pixels, images.chip, (1, 0, 0, 0), strict=True):
        row, col = [(28, 52), (288, 0), (88, 192)][chip]
        np.testing.assert_array_equal(image, pixels[day][:, row : row + 24, col : col + 16])


def test_a_series_has_the_images_of_a_chip_one_after_the_other(world):
    _, pixels, collection = world
    images = ChipReader(asked(collection, is_series=True)).read(np.array([2, 0]))
    assert images.offset.tolist() == [0, 2, 4]
    assert images.record_id == ["day0", "day1"] * 2
    np.testing.assert_array_equal(images.pixels[1], pixels[1][:, 88:112, 192:208])
    assert images.time[:2].tolist() == [int(one.timestamp() * 1e6) for one in DAYS]


def test_windows_over_images_start_where_the_stride_says(world):
    _, pixels, collection = world
    reader = ChipReader(asked(collection, None))
    assert len(reader) == 2 * 3 * 2
    images = reader.read(np.arange(12))
    assert images.label.to_list() == ["day0"] * 6 + ["day1"] * 6
    for sample, image in enumerate(images.pixels):
        row, col = 200 * (sample % 6 // 2), 300 * (sample % 2)
        np.testing.assert_array_equal(image, pixels[sample // 6][:, row : row + 24, col : col + 16])


@given(size=st.integers(1, 300), window=st.integers(1, 80), stride=st.integers(1, 80))
def test_windows_reach_the_end_of_an_image_and_no_window_is_left_out_or_too_many(size, window, stride):
    starts = _starts(size, window, stride).tolist()
    assert starts == list(range(0, stride * len(starts), stride))
    assert all(start < size and start - stride + window < size for start in starts[1:])  # each is needed
    assert starts[-1] + window >= size or starts[-1] + stride >= size


@pytest.mark.parametrize(("verb", "library"), [("to_torch", "torch"), ("to_torchgeo", "torchgeo")])
def test_a_missing_library_is_told_with_the_extra_that_brings_it(monkeypatch, verb, library):
    monkeypatch.setattr(f"polars_rasteret.chips.{verb}.find_spec", lambda name: None)
    words = {"shape": (8, 8)} if verb == "to_torch" else {}
    with pytest.raises(pr.errors.UsageError, match=rf'pip install "polars-rasteret\[{library}\]"'):
        getattr(pr.testing.example_scenes().raster, verb)(**words)
