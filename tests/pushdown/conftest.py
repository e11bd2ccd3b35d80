"""Every test starts with a cold cache and must leave nothing in flight."""

from __future__ import annotations

import pytest

from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support.quiet import end_all_reads
from tests.support.recorded import Store


@pytest.fixture(autouse=True)
def cold():
    process_scheduler().clear_cache()
    yield
    end_all_reads()
    state = process_scheduler().state()
    assert (state.n_queued, state.n_delayed, state.n_tiles_awaited) == (0, 0, 0), "a read was left behind"


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()
