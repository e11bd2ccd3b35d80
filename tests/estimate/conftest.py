"""A store that writes down what it is asked, a collection in it, and both engines."""

from __future__ import annotations

import time

import estimate_world as world
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.engine import at_exit
from polars_rasteret.fetch.scheduler import process_scheduler
from polars_rasteret.testing import MemorySource, RecordingSource


@pytest.fixture(scope="session")
def files():
    return world.files()


@pytest.fixture
def source(files):
    source = RecordingSource(MemorySource(files))
    pr.configure_store(world.PREFIX, store=source)
    yield source
    # Under a limit, Polars leaves a source running when it has its rows: what it still reads belongs to this test.
    deadline = time.monotonic() + 5
    while at_exit._runs.running or process_scheduler().state().n_running:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    pr.configure_store(world.PREFIX)


@pytest.fixture(scope="session")
def collection(files):
    pr.configure_store(world.PREFIX, store=MemorySource(files))
    built = pr.build_from_table(world.table(), bands=world.BANDS, on_error="raise").collect()
    pr.configure_store(world.PREFIX)
    return built


@pytest.fixture
def scenes(source, collection) -> pl.LazyFrame:
    process_scheduler().clear_cache()
    return collection.lazy()


@pytest.fixture(params=["in-memory", "streaming"])
def engine(request):
    return request.param
