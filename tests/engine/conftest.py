"""A store of its own for each test of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.engine_reads import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store() -> Iterator[Store]:
    clear_cache()
    store = Store()
    yield store
    store.close()
