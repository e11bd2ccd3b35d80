"""Every test starts with a cold cache and must leave nothing in flight."""

from __future__ import annotations

import itertools

import pytest

from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.testing import MemorySource, RecordingSource
from tests.support.range_server import RangeServer
from tests.support.receiver import DATA, quiet, wait_until

_names = itertools.count()


@pytest.fixture(autouse=True)
def scheduler():
    scheduler = process_scheduler()
    scheduler.clear_cache()
    yield scheduler
    wait_until(lambda: quiet(scheduler.state()))


@pytest.fixture
def server():
    with RangeServer({"f.bin": DATA}) as server:
        yield server


@pytest.fixture
def memory():
    """Two files under a prefix of their own, with a recording."""
    prefix = f"memory://test-{next(_names)}/"
    source = RecordingSource(MemorySource({prefix + "a": DATA, prefix + "b": DATA[::-1]}))
    source.a, source.b, source.prefix = prefix + "a", prefix + "b", prefix
    configure_store(prefix, store=source)
    yield source
    configure_store(prefix)
