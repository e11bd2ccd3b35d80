"""Do windows of real files come back as another program reads them, with no tile read twice?"""

from __future__ import annotations

import _thread
import dataclasses
import itertools
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from rasterio.io import MemoryFile

from polars_rasteret.assemble.values import exact_scalar
from polars_rasteret.engine import (
    PixelReference,
    cost_of,
    decoding,
    read_windows,
    unpacked,
    unpacked_tables,
)
from polars_rasteret.errors import BudgetError, FetchError, FileFormatError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.options import ReadOptions
from polars_rasteret.profile import profile
from polars_rasteret.testing import FaultySource
from tests.support.engine_reads import (
    HEIGHT,
    OPTIONS,
    WIDTH,
    make_read,
    pixels_of,
    random_points,
    random_windows,
    reference_to,
    tables_of,
    tiff_of,
)


def expected_of(pixels, window, *, fill, nodata):
    """Give values and validity of one window, cut from the pixels another program gave."""
    _, row_start, col_start, height, width = window
    values = np.full((height, width), fill, np.float64)
    valid = np.zeros((height, width), bool)
    rows = np.arange(row_start, row_start + height)
    cols = np.arange(col_start, col_start + width)
    row_inside = (rows >= 0) & (rows < pixels.shape[0])
    col_inside = (cols >= 0) & (cols < pixels.shape[1])
    cut = pixels[np.ix_(rows[row_inside], cols[col_inside])]
    values[np.ix_(row_inside, col_inside)] = cut
    is_nodata = np.zeros(cut.shape, bool) if nodata is None else cut == nodata
    valid[np.ix_(row_inside, col_inside)] = ~(is_nodata | np.isnan(cut.astype(float)))
    return values, valid


def assert_answers(answer, images, windows, *, fill=0, nodata=None):
    for index, window in enumerate(windows):
        part = slice(answer.offset[index], answer.offset[index + 1])
        values, valid = expected_of(images[window[0]], window, fill=fill, nodata=nodata)
        np.testing.assert_array_equal(answer.values[part], values.ravel())
        np.testing.assert_array_equal(answer.valid[part], valid.ravel())


def rasterio_bands(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with MemoryFile(data) as memory, memory.open() as file:
            return file.read()


LAYOUTS = {
    "tiled deflate": {"tiled": True, "blockxsize": 64, "blockysize": 48, "compress": "deflate"},
    "tiled deflate predictor": {
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        "predictor": 2,
    },
    "tiled zstd predictor": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "zstd", "predictor": 2},
    "tiled lzw": {"tiled": True, "blockxsize": 128, "blockysize": 64, "compress": "lzw"},
    "tiled plain": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "one tile wider than the image": {"tiled": True, "blockxsize": 512, "blockysize": 64, "compress": "deflate"},
    "strips": {"blockysize": 16, "compress": "deflate", "predictor": 2},
    "strips of one row": {"blockysize": 1, "compress": "lzw"},
    "one strip": {"blockysize": HEIGHT, "compress": "zstd"},
    "big-endian": {
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "lzw",
        "predictor": 2,
        "endianness": "BIG",
    },
}


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_and_points_equal_what_rasterio_reads(store, layout, dtype, interleave):
    settings = dict(LAYOUTS[layout])
    if dtype == "float32" and settings.get("predictor"):
        settings["predictor"] = 3
    href = store.put(tiff_of(pixels_of(dtype, n_bands=3), interleave=interleave, nodata=7, **settings))
    bands = rasterio_bands(store.files[href])
    for windows in (random_windows(), random_points()):
        reads = [make_read([reference_to(store, href, band)], windows) for band in (0, 2)]
        for answer, band in zip(read_windows(reads, OPTIONS), (0, 2), strict=True):
            assert answer.values.dtype == np.dtype(dtype)
            assert_answers(answer, [bands[band]], windows, fill=7, nodata=7)


def test_many_small_windows_are_gathered_like_large_ones(store):
    href = store.put(tiff_of(pixels_of("uint16"), tiled=True, blockxsize=128, blockysize=128, compress="deflate"))
    windows = random_points(n=2000)
    windows[:, 3:] = np.random.default_rng(1).integers(0, 4, (2000, 2))
    (answer,) = read_windows([make_read([reference_to(store, href)], windows)], OPTIONS)
    assert_answers(answer, rasterio_bands(store.files[href]), windows)


def test_references_of_different_dtypes_meet_in_a_wider_one(store):
    hrefs = [
        store.put(tiff_of(pixels_of(dtype, seed=index), tiled=True, blockxsize=64, blockysize=64, nodata=index + 3))
        for index, dtype in enumerate(["uint8", "int16", "float32"])
    ]
    references = [reference_to(store, href) for href in hrefs]
    images = [rasterio_bands(store.files[href])[0] for href in hrefs]
    for windows in (random_windows(n_references=3), random_points(n_references=3)):
        (answer,) = read_windows([make_read(references, windows, dtype=np.dtype("float32"))], OPTIONS)
        assert answer.values.dtype == np.float32
        for index in range(3):
            mine = np.flatnonzero(windows[:, 0] == index)
            for one in mine:
                values, valid = expected_of(images[index], windows[one], fill=index + 3, nodata=index + 3)
                part = slice(answer.offset[one], answer.offset[one + 1])
                np.testing.assert_array_equal(answer.values[part], values.ravel())
                np.testing.assert_array_equal(answer.valid[part], valid.ravel())


def test_rows_without_a_reference_are_invalid_and_read_nothing(store):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64))
    references = [reference_to(store, href)]
    windows = np.array([[-1, 0, 0, 2, 2], [0, 0, 0, 2, 2]])
    (answer,) = read_windows([make_read(references, windows, fill=9)], OPTIONS)
    assert answer.values[:4].tolist() == [9] * 4
    assert answer.valid.tolist() == [False] * 4 + [True] * 4
    store.source.clear()
    (answer,) = read_windows([make_read(references, windows[:1])], OPTIONS)
    (nothing,) = read_windows([make_read(references, [])], OPTIONS)
    assert answer.valid.tolist() == [False] * 4
    assert len(nothing.values) == 0
    assert read_windows([], OPTIONS) == []
    assert store.source.requests == []


def test_a_level_reads_that_overview(store):
    data = tiff_of(pixels_of("uint16"), tiled=True, blockxsize=32, blockysize=32, compress="deflate", overviews=[2, 4])
    href = store.put(data)
    with MemoryFile(data) as memory:
        levels = []
        for options in ({}, {"OVERVIEW_LEVEL": 0}, {"OVERVIEW_LEVEL": 1}):
            with memory.open(**options) as file:
                levels.append(file.read(1))
    reference = reference_to(store, href)
    windows = random_windows(height=60, width=80)
    for level in range(3):
        (answer,) = read_windows([make_read([reference], windows, level=level)], OPTIONS)
        assert_answers(answer, [levels[level]], windows)
    read_windows([make_read([reference], windows, level=np.int64(2))], OPTIONS)
    mixed = np.arange(len(windows)) % 3
    (answer,) = read_windows([make_read([reference], windows, level=mixed)], OPTIONS)
    expected = windows.copy()
    expected[:, 0] = mixed
    assert_answers(answer, levels, expected)
    with pytest.raises(UsageError, match="has no level 3"):
        read_windows([make_read([reference], windows, level=3)], OPTIONS)


# -- nodata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "masked", "fill"),
    [(None, 7, 7), (5, 5, 5), (5.5, None, 5.5), (-1, None, -1), (300, None, 300), (np.float32(9), 9, 9)],
)
def test_an_override_replaces_the_nodata_of_the_file_and_masks_nothing_when_no_pixel_can_equal_it(
    store, override, masked, fill
):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64, nodata=7))
    windows = random_windows()
    read = make_read([reference_to(store, href, nodata=override)], windows, dtype=np.dtype("float32"))
    (answer,) = read_windows([read], OPTIONS)
    assert_answers(answer, rasterio_bands(store.files[href]), windows, fill=fill, nodata=masked)


def test_the_ignore_flag_makes_every_pixel_inside_valid(store):
    from polars_rasteret.tiff.tile_flags import with_flag
    from polars_rasteret.tiff.tile_table import pack

    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64, nodata=7))
    tiles = unpacked(with_flag(pack(tables_of(href, store.files[href])), ignore_nodata=True))
    assert tiles.nodata == 7
    windows = random_windows()
    (answer,) = read_windows([make_read([PixelReference(href, 0, tiles)], windows)], OPTIONS)
    assert_answers(answer, rasterio_bands(store.files[href]), windows, fill=0, nodata=None)


@pytest.mark.parametrize("nodata", [None, 3.0, float("nan")])
def test_nan_is_invalid_in_every_float_raster(store, nodata):
    pixels = pixels_of("float32")
    pixels[0, ::3, ::5] = np.nan
    href = store.put(tiff_of(pixels, tiled=True, blockxsize=64, blockysize=64, nodata=nodata))
    for windows in (random_windows(), random_points()):
        (answer,) = read_windows([make_read([reference_to(store, href)], windows, fill=-1)], OPTIONS)
        assert_answers(answer, pixels, windows, fill=-1, nodata=nodata)


@pytest.mark.parametrize("nodata", [None, 7])
def test_a_sparse_tile_is_nodata_or_zero_and_is_not_fetched(store, nodata):
    pixels = np.full((1, HEIGHT, WIDTH), nodata or 0, np.uint8)
    pixels[0, :40, :40] = 50
    data = tiff_of(pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate", nodata=nodata, sparse_ok=True)
    href = store.put(data)
    reference = reference_to(store, href)
    assert (reference.tiles.images[0].byte_count == 0).any()
    for windows in (random_windows(), random_points()):
        store.source.clear()
        clear_cache()
        (answer,) = read_windows([make_read([reference], windows)], OPTIONS)
        assert_answers(answer, pixels, windows, fill=nodata or 0, nodata=nodata)
        assert len(store.source.requests) == 1


def test_a_cast_that_could_lose_a_value_is_refused_before_any_request(store):
    href = store.put(tiff_of(pixels_of("int16"), tiled=True, blockxsize=64, blockysize=64))
    with pytest.raises(UsageError, match=r"int16 .* uint16"):
        read_windows([make_read([reference_to(store, href)], random_points(), dtype=np.dtype("uint16"))], OPTIONS)
    with pytest.raises(UsageError, match=r"1000000\.0 is not a value of int16"):
        read_windows([make_read([reference_to(store, href)], random_points(), fill=1e6)], OPTIONS)
    assert store.source.requests == []


def test_validity_is_only_made_when_it_is_wanted(store):
    href = store.put(tiff_of(pixels_of("int16"), tiled=True, blockxsize=64, blockysize=64))
    (answer,) = read_windows([make_read([reference_to(store, href)], random_points(), want_valid=False)], OPTIONS)
    assert answer.valid is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "int64", "float32", "float64"])
@pytest.mark.parametrize(
    "value", [0, -1, 7, 255, 256, 2**24 + 1, 2**53 + 1, 2**63, 2**64 - 1, 1e300, 10**400, 0.5, 0.1, float("inf"), -0.0]
)
def test_a_scalar_is_converted_exactly_or_not_at_all(dtype, value):
    dtype = np.dtype(dtype)
    converted = exact_scalar(value, dtype)
    if converted is not None:
        assert converted.dtype == dtype
        assert converted.item() == value
        assert exact_scalar(converted, dtype) is converted
        return
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            assert value > 1e308 or dtype.type(value).item() != value
    else:
        assert value != int(np.clip(value, np.iinfo(dtype).min, np.iinfo(dtype).max)) or value != int(value)


# -- every tile once ------------------------------------------------------------------------------------------------


def test_a_pixel_interleaved_tile_is_decoded_once_for_all_bands(store):
    href = store.put(
        tiff_of(pixels_of("uint8", 3), tiled=True, blockxsize=64, blockysize=64, compress="deflate", interleave="pixel")
    )
    for windows in (random_points(n=3000), np.array([[0, 0, 0, HEIGHT, WIDTH]])):
        with profile() as counted:
            read_windows([make_read([reference_to(store, href, band)], windows) for band in range(3)], OPTIONS)
        assert counted.summary()["decoded_tiles"].item() == 5 * 4
    different = [random_points(seed=1), random_windows(seed=2), random_points(seed=3)]
    reads = [make_read([reference_to(store, href, band)], windows) for band, windows in enumerate(different)]
    with profile() as counted:
        answers = read_windows(reads, OPTIONS)
    assert counted.summary()["decoded_tiles"].item() <= 5 * 4
    for band, (answer, windows) in enumerate(zip(answers, different, strict=True)):
        assert_answers(answer, rasterio_bands(store.files[href])[band : band + 1], windows)


def test_a_million_points_decode_each_tile_once_and_fetch_no_byte_twice(store):
    pixels = pixels_of("uint16", height=600, width=700)
    href = store.put(tiff_of(pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2))
    reference = reference_to(store, href)
    points = random_points(n=1_000_000, height=600, width=700)
    with profile() as counted:
        (answer,) = read_windows([make_read([reference], points)], OPTIONS)
    assert counted.summary()["decoded_tiles"].item() == len(reference.tiles.images[0].byte_count)
    assert store.source.bytes <= len(store.files[href])
    _, row, col, _, _ = points.T
    inside = (row >= 0) & (row < 600) & (col >= 0) & (col < 700)
    assert (answer.valid == inside).all()
    assert (answer.values[inside] == pixels[0, row[inside], col[inside]]).all()
    assert not answer.values[~inside].any()


def test_two_threads_that_want_the_same_tiles_share_them(store):
    pixels = pixels_of("uint16")
    href = store.put(tiff_of(pixels, tiled=True, blockxsize=32, blockysize=32, compress="deflate"))
    reference, windows = reference_to(store, href), random_windows(n=80)
    answers = []
    together = threading.Barrier(4)

    def work():
        together.wait()
        answers.extend(read_windows([make_read([reference], windows)], OPTIONS))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers:
        assert_answers(answer, pixels, windows)
    ranges = sorted((start, stop) for _, start, stop in store.source.requests)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))


# -- failures and limits --------------------------------------------------------------------------------------------


def broken_file(store, **layout):
    """Put a file of which one tile (row 1, column 2) does not decode; give href and reference."""
    href = store.put(
        tiff_of(pixels_of("uint16"), tiled=True, blockxsize=64, blockysize=64, compress="deflate", **layout)
    )
    reference = reference_to(store, href)
    image = reference.tiles.images[0]
    tile = image.tiles_across + 2
    start, count = int(image.byte_start[tile]), int(image.byte_count[tile])
    data = bytearray(store.files[href])
    data[start : start + count] = b"\xff" * count
    store.files[href] = bytes(data)
    return href, reference


def test_the_first_failure_is_raised_with_band_and_file(store):
    href, reference = broken_file(store)
    with pytest.raises(FileFormatError, match=f"B: {href}"):
        read_windows([make_read([reference], random_windows())], OPTIONS)
    missing = PixelReference(f"{store.prefix}missing.tif", 0, reference.tiles)
    with pytest.raises(FetchError, match=r"B: .*missing\.tif"):
        read_windows([make_read([missing], random_windows())], OPTIONS)


def test_no_message_tells_the_signature_of_an_href(store):
    _, reference = broken_file(store)
    signed = f"{store.prefix}signed.tif?sig=topsecret"
    store.files[signed] = store.files[reference.href]
    references = [dataclasses.replace(reference, href=signed)]
    for changes in ({}, {"level": 5}, {"dtype": np.dtype("int16")}):
        with pytest.raises((FileFormatError, UsageError), match=r"B: .*signed\.tif") as caught:
            read_windows([make_read(references, random_windows(), **changes)], OPTIONS)
        assert "topsecret" not in str(caught.value)


def test_with_null_only_windows_that_touch_the_failed_tile_are_invalid(store):
    href, reference = broken_file(store, nodata=3)
    whole = pixels_of("uint16")[0]
    options = ReadOptions(on_error="null")
    for windows in (random_windows(), random_points()):
        with profile() as counted:
            (answer,) = read_windows([make_read([reference], windows)], options)
        assert answer.errors
        assert sorted(counted.errors) == sorted(answer.errors.values())
        for index, (_, row, col, height, width) in enumerate(windows):
            part = slice(answer.offset[index], answer.offset[index + 1])
            touches = height > 0 and width > 0 and row < 128 and row + height > 64 and col < 192 and col + width > 128
            assert touches == (index in answer.errors)
            if touches:
                assert answer.errors[index].startswith("B: ")
                assert href in answer.errors[index]
                assert not answer.valid[part].any()
                assert (answer.values[part] == 3).all()
            else:
                values, valid = expected_of(whole, windows[index], fill=3, nodata=3)
                np.testing.assert_array_equal(answer.values[part], values.ravel())
                np.testing.assert_array_equal(answer.valid[part], valid.ravel())


def test_with_null_a_file_that_is_gone_nulls_its_own_windows_only(store):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64))
    good = reference_to(store, href)
    gone = PixelReference(f"{store.prefix}gone.tif", 0, good.tiles)
    windows = np.array([[0, 0, 0, 20, 20], [1, 0, 0, 20, 20], [1, 500, 0, 20, 20]])
    (answer,) = read_windows([make_read([good, gone], windows)], ReadOptions(on_error="null"))
    assert list(answer.errors) == [1]
    assert "gone.tif" in answer.errors[1]
    assert answer.valid.reshape(3, -1).all(axis=1).tolist() == [True, False, False]


def test_a_budget_refuses_before_the_first_request_and_tells_the_bill(store):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64, compress="deflate"))
    read = make_read([reference_to(store, href)], random_windows())
    bill = cost_of([read], OPTIONS)
    with pytest.raises(BudgetError, match=rf"{bill.tiles} tiles in {bill.requests} requests, {bill.bytes:,} bytes"):
        read_windows([read], ReadOptions(budget_bytes=bill.bytes - 1))
    assert store.source.requests == []
    read_windows([read], ReadOptions(budget_bytes=bill.bytes))
    assert (len(store.source.requests), store.source.bytes) == (bill.requests, bill.bytes)


def test_an_answer_that_is_too_large_is_refused_with_the_next_step(store):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64))
    reference = reference_to(store, href)
    with pytest.raises(UsageError, match=r"max_answer_bytes .* use lf\.raster"):
        read_windows([make_read([reference], random_points(n=1000))], ReadOptions(max_answer_bytes=1999))
    huge = [0, 0, 0, 2**40, 2**40]
    with pytest.raises(UsageError, match="do this instead"):
        read_windows([make_read([reference], [huge, huge])], OPTIONS, advice="do this instead")
    with pytest.raises(UsageError, match="a single row"):
        read_windows([make_read([reference], [huge])], OPTIONS, advice="do this instead")
    read_windows([make_read([reference], random_points(n=1000))], ReadOptions(max_answer_bytes=2000))
    assert store.source.requests


def test_two_tables_of_one_file_that_disagree_are_decoded_each_its_own_way(store):
    pixels = pixels_of("int16")
    href = store.put(tiff_of(pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate"))
    right = reference_to(store, href)
    wrong = PixelReference(href, 0, dataclasses.replace(right.tiles, dtype=np.dtype("uint16"), digest=b"another."))
    windows = random_windows(n_references=2)
    (answer,) = read_windows([make_read([right, wrong], windows, dtype=np.dtype("int32"))], OPTIONS)
    assert_answers(answer, [pixels[0], pixels[0].view("uint16")], windows)


def test_a_store_that_fails_now_and_then_changes_nothing(store):
    pixels = pixels_of("uint16")
    href = store.put(tiff_of(pixels, tiled=True, blockxsize=32, blockysize=32, compress="deflate"))
    reference = reference_to(store, href)
    configure_store(store.prefix, store=FaultySource(store.source, seed=3, error_rate=0.2, short_rate=0.2))
    options = ReadOptions(max_request_bytes=8_000, retries=12)
    (answer,) = read_windows([make_read([reference], random_windows())], options)
    assert_answers(answer, pixels, random_windows())


@pytest.fixture
def ctrl_c_raises():
    """Let Ctrl-C raise KeyboardInterrupt, as in a terminal: a shell starts what it runs in the background without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_ends_a_read_at_once(store):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64))
    reference = reference_to(store, href)
    asked, release = threading.Event(), threading.Event()

    class Slow:
        def get(self, href, byte_start, byte_stop, *, etag):
            asked.set()
            release.wait(60)
            return memoryview(store.files[href])[byte_start:byte_stop]

    configure_store(store.prefix, store=Slow())

    def interrupt():
        asked.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            read_windows([make_read([reference], random_windows())], OPTIONS)
        assert time.monotonic() - started < 50
    finally:
        release.set()


def test_after_an_exception_nothing_is_decoded_and_every_byte_is_given_back(store, monkeypatch):
    from polars_rasteret.fetch.scheduling.scheduler import process_scheduler

    href = store.put(tiff_of(pixels_of("uint16"), tiled=True, blockxsize=16, blockysize=16, compress="deflate"))
    reference = reference_to(store, href)

    def interrupted(self, _options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decoding.DecodeCall, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_windows([make_read([reference], random_windows())], OPTIONS)
    (answer,) = read_windows([make_read([reference], random_windows())], OPTIONS)
    assert_answers(answer, rasterio_bands(store.files[href]), random_windows())
    until_given_back = threading.Event()
    for _ in range(100):
        state = process_scheduler().state()
        if state.bytes_in_flight == state.n_queued == state.n_tiles_awaited == 0:
            break
        until_given_back.wait(0.05)
    assert (state.bytes_in_flight, state.n_queued, state.n_tiles_awaited) == (0, 0, 0)


def test_a_fault_on_a_decode_thread_reaches_the_caller(store, monkeypatch):
    href = store.put(tiff_of(pixels_of("uint16"), tiled=True, blockxsize=16, blockysize=16, compress="deflate"))
    reference = reference_to(store, href)

    def faulty(*_):
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(decoding.Target, "place", faulty)
        with pytest.raises(ZeroDivisionError, match="ours"):
            read_windows([make_read([reference], random_windows())], OPTIONS)
    read_windows([make_read([reference], random_windows())], OPTIONS)


def test_progress_shows_a_bar_of_tiles(store, capsys):
    href = store.put(tiff_of(pixels_of("uint8"), tiled=True, blockxsize=64, blockysize=64))
    read_windows([make_read([reference_to(store, href)], [[0, 0, 0, HEIGHT, WIDTH]])], ReadOptions(progress=True))
    assert "20/20" in capsys.readouterr().err


def test_a_table_is_unpacked_once_until_it_is_forgotten(store, monkeypatch):
    from polars_rasteret.tiff.tile_table import pack

    href = store.put(tiff_of(pixels_of("uint8", height=71), tiled=True, blockxsize=64, blockysize=64))
    packed = pack(tables_of(href, store.files[href]))
    assert unpacked(packed) is unpacked(bytes(bytearray(packed)))
    first = unpacked(packed)
    monkeypatch.setattr(unpacked_tables, "_UNPACKED_BYTES", 1)
    other = store.put(tiff_of(pixels_of("int16", height=72), tiled=True, blockxsize=64, blockysize=64))
    unpacked(pack(tables_of(other, store.files[other])))
    assert unpacked(packed) is not first
