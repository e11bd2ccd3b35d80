"""Is an answer that is not the file ever taken for it, and is every legal answer read?

Files are not compressed, so that any bytes would become pixels.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.range_server import Fault, RangeServer

SIZE, TILE = 96, 32
PAGE = b"<!DOCTYPE html><html><title>Log in</title>" + b"Please log in. " * 4000
ANOTHER_RANGES = {"max_request_bytes": 1, "max_gap_bytes": 0}


def tiff(seed: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(1, 60_000, (SIZE, SIZE)).astype(np.uint16)
    how = {"width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "crs": "EPSG:32632", "nodata": 0}
    transform = Affine(10, 0, 600_000, 0, -10, 5_000_000)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", transform=transform, tiled=True, blockxsize=TILE, blockysize=TILE, **how
        ) as sink:
            sink.write(pixels, 1)
        return bytes(memory.read()), pixels


FILE, PIXELS = tiff(1)
OTHER, _ = tiff(2)


@pytest.fixture
def server():
    clear_cache()
    with RangeServer({"a.tif": FILE}) as server:
        yield server


def whole(records: pl.LazyFrame, **options) -> np.ndarray | None:
    """All pixels, by a verb, each tile by its own request; None is null."""
    with pr.options(timeout_s=20, **ANOTHER_RANGES, **options):
        frame = records.raster.with_columns(
            pixels=pl.col("b1").raster.read_window(window=(0, SIZE, 0, SIZE), shape=(SIZE, SIZE))
        ).collect()
    return frame["pixels"].to_numpy()[0] if not frame["pixels"].null_count() else None


def built(server, **options) -> pl.LazyFrame:
    with pr.options(**options):
        return pr.build_from_files([server.url("a.tif")], on_error="raise")


def page(**more) -> Fault:
    return Fault(page=PAGE, **more)


PAGES = {
    "closed": page(without=("Content-Length",)),
    "chunked": page(chunked=True),
    "with its length": page(),
    "with the length of the file": Fault(page=PAGE[: len(FILE)].ljust(len(FILE)), chunked=False),
    "under the right ETag": None,
}


def page_fault(server, kind):
    fault = PAGES[kind]
    if fault is None:
        etag = next(iter(server_etags(server)))
        fault = page(chunked=True, headers={"ETag": etag})
    return fault


def server_etags(server):
    import hashlib

    return {f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"' for data in server.files.values()}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_that_passes_is_not_taken_for_pixels(server, kind):
    records = built(server)
    fault = page_fault(server, kind)
    server.fault = lambda seen: fault if seen.number % 3 == 0 else None
    np.testing.assert_array_equal(whole(records, retries=8), PIXELS)
    server.fault = lambda _seen: None
    np.testing.assert_array_equal(whole(records), PIXELS)


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_that_stays_is_an_error_and_is_never_cached(server, kind):
    records = built(server)
    fault = page_fault(server, kind)
    server.fault = lambda _seen: fault
    with pytest.raises(pr.errors.FetchError, match=r"a\.tif.* 200 .*TIFF"):
        whole(records, retries=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert whole(records, retries=1, on_error="null") is None
    server.fault = lambda _seen: None
    np.testing.assert_array_equal(whole(records), PIXELS)


def test_a_redirect_to_a_page_is_tried_again(server):
    records = built(server)
    with RangeServer() as login:
        login.fault = lambda _seen: page(chunked=True)
        server.fault = lambda seen: (
            Fault(status=302, headers={"Location": login.url("login")}) if seen.number % 3 else None
        )
        np.testing.assert_array_equal(whole(records, retries=12), PIXELS)


def test_a_page_while_indexing_is_tried_again(server):
    server.fault = lambda seen: page(chunked=True) if seen.number < 3 else None
    np.testing.assert_array_equal(whole(built(server)), PIXELS)


def test_another_file_that_states_nothing_is_refused_and_tried_again(server):
    records = built(server)
    nameless = Fault(page=OTHER, chunked=True)
    server.fault = lambda seen: nameless if seen.number % 3 == 0 else None
    np.testing.assert_array_equal(whole(records, retries=8), PIXELS)
    server.fault = lambda _seen: nameless
    clear_cache()
    with pytest.raises(pr.errors.FetchError, match=r"without the size or the strong ETag"):
        whole(records, retries=1)


def test_another_file_of_the_same_length_is_a_stale_index(server):
    records = built(server)
    assert len(OTHER) == len(FILE)
    server.files["a.tif"] = OTHER
    server.fault = lambda _seen: Fault(ignore_range=True)
    with pytest.raises(pr.errors.StaleIndexError):
        whole(records)


def test_a_server_that_never_states_anything_is_read():
    with RangeServer({"a.tif": FILE}, etag=False, last_modified=None) as server:
        server.fault = lambda _seen: Fault(ignore_range=True, chunked=True)
        records = built(server)
        np.testing.assert_array_equal(whole(records), PIXELS)


LEGAL = {
    "chunked": Fault(chunked=True),
    "closed": Fault(without=("Content-Length",)),
    "a date of another form": Fault(headers={"Last-Modified": "Wednesday, 01-May-24 12:00:00 GMT"}),
    "a date that is none": Fault(headers={"Last-Modified": "yesterday"}),
    "an ISO date": Fault(headers={"Last-Modified": "2024-05-01T12:00:00Z"}),
    "a date of no time": Fault(headers={"Last-Modified": "Wed, 01 May 99999 12:00:00 GMT"}),
    "no date": Fault(without=("Last-Modified",)),
    "no ETag": Fault(without=("ETag",)),
    "an ETag beyond ASCII": Fault(headers={"ETag": '"\xe4"'}),
    "another case": None,
    "no size": None,
}


def legal(kind, seen):
    """Give the fault, the range told as the kind has it."""
    fault = LEGAL[kind]
    if fault is not None:
        return fault
    size = "*" if kind == "no size" else str(len(FILE))
    unit = "Bytes" if kind == "another case" else "bytes"
    stop = min(seen.byte_stop, len(FILE))
    return Fault(headers={"Content-Range": f"{unit} {seen.byte_start}-{stop - 1}/{size}"})


@pytest.mark.parametrize("kind", LEGAL)
def test_a_legal_answer_is_read_at_once(server, kind):
    server.if_match = kind != "an ETag beyond ASCII"  # the server knows its own one only
    if kind == "a date of another form":
        records = built(server)
        server.fault = lambda seen: legal(kind, seen)
    else:
        server.fault = lambda seen: legal(kind, seen)
        records = built(server, retries=0)
    np.testing.assert_array_equal(whole(records, retries=0), PIXELS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(LEGAL)), min_size=1, max_size=6))
def test_answers_that_are_legal_now_and_then_are_read(server, kinds):
    clear_cache()
    server.fault = lambda _seen: None
    records = built(server)
    # What names the file must be the same in every answer of one server.
    kinds = [kind for kind in kinds if kind != "an ETag beyond ASCII"] or ["chunked"]
    server.fault = lambda seen: legal(kinds[seen.number % len(kinds)], seen)
    np.testing.assert_array_equal(whole(records, retries=0), PIXELS)


@pytest.mark.parametrize("suffix", ["", "?x=1"])
def test_a_416_that_tells_the_size_is_asked_again_within_it(server, suffix):
    server.fault = lambda _seen: Fault(keeps_end=True)
    records = pr.build_from_files([server.url("a.tif") + suffix], on_error="raise")
    np.testing.assert_array_equal(whole(records, retries=0), PIXELS)


def test_a_range_that_is_encoded_is_given_as_it_is_stored(server):
    """A store that keeps such a header with the object gives ranges of its bytes."""
    server.fault = lambda _seen: Fault(headers={"Content-Encoding": "gzip"})
    for suffix in ("", "?x=1"):
        clear_cache()
        records = pr.build_from_files([server.url("a.tif") + suffix], on_error="raise")
        np.testing.assert_array_equal(whole(records, retries=0), PIXELS)


def test_a_shorter_part_than_it_says_while_indexing_is_tried_again(server):
    server.fault = lambda seen: Fault(shorten_to=40) if seen.number < 2 else None
    np.testing.assert_array_equal(whole(built(server)), PIXELS)
