"""A store that writes down what it is asked, a collection in it, and both engines. Each test has a store of its own."""

from __future__ import annotations

import itertools

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource, RecordingSource
from tests.support import estimate_world as world

_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"memory://estimate-{next(_numbers)}/"


@pytest.fixture
def source(prefix):
    source = RecordingSource(MemorySource({prefix + name: data for name, data in world.files().items()}))
    pr.configure_store(prefix, store=source)
    yield source
    pr.configure_store(prefix)


@pytest.fixture(scope="session")
def collection():
    """The collection in a store that only its build sees; hrefs start with the prefix of that store."""
    prefix = "memory://estimate-build/"
    pr.configure_store(prefix, store=MemorySource({prefix + name: data for name, data in world.files().items()}))
    built = pr.build_from_table(world.table(prefix), bands=world.BANDS, on_error="raise").collect()
    pr.configure_store(prefix)
    return built


@pytest.fixture
def scenes(source, prefix, collection) -> pl.LazyFrame:
    """The collection in the store of this test."""
    name = pl.field("href").str.split("/").list.last()
    moved = pl.concat_str(pl.lit(prefix), name).alias("href")
    return collection.with_columns(pl.col(band).struct.with_fields(moved) for band in world.BANDS).lazy()
