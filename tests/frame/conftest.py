"""The small world as a collection, in memory and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.testing import MemorySource
from tests.support import frame_world as world

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(scope="session")
def in_memory() -> pl.LazyFrame:
    """The collection as builds give it, records in the order of the table."""
    pr.configure_store(world.PREFIX, store=MemorySource(world.files()))
    built = [pr.build_from_table(table, bands=bands) for table, bands in world.tables_with_band_indices()]
    return pl.concat(built, how="vertical").collect().sort("serial").lazy()


@pytest.fixture(scope="session")
def written(in_memory: pl.LazyFrame, tmp_path_factory: pytest.TempPathFactory) -> pl.LazyFrame:
    """The collection written and scanned; writing may change the order of records."""
    path = tmp_path_factory.mktemp("collection") / "scenes.parquet"
    in_memory.raster.sink_collection(path, row_group_size=3)
    return pr.scan_collection(path)


@pytest.fixture(scope="session")
def collections(in_memory: pl.LazyFrame, written: pl.LazyFrame) -> Mapping[str, pl.LazyFrame]:
    return {"memory": in_memory, "parquet": written}


@pytest.fixture
def cold_cache() -> None:
    clear_cache()
