"""Every test starts with a cold cache and must leave nothing in flight."""

from __future__ import annotations

import time

import pytest
from recorded import Store

from polars_rasteret.fetch.scheduler import process_scheduler


@pytest.fixture(autouse=True)
def cold():
    process_scheduler().clear_cache()
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        state = process_scheduler().state()
        if not (state.n_running or state.n_queued or state.n_delayed or state.n_tiles_awaited):
            return
        time.sleep(0.005)
    pytest.fail(f"a read was left behind: {process_scheduler().state()}")


@pytest.fixture(params=["in-memory", "streaming"])
def engine(request):
    return request.param


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()
