"""Under which faces may one query be asked of the frame world, and what must each answer?"""

from __future__ import annotations

from functools import cache

import polars as pl

import polars_rasteret as pr
from tests.support import frame_world as world

FORMS = ("memory", "parquet")
UNMATCHED = ("null", "drop")
OUTPUT_OF = {"red": "red", "nir": "nir", "swir": "swir_right", "temp": "temp"}


def verb(collection: pl.LazyFrame, unmatched: str, caller: pl.DataFrame | None = None) -> pl.LazyFrame:
    return collection.raster.sample_points(
        world.points() if caller is None else caller,
        world.BANDS,
        crs=4326,
        unmatched=unmatched,
        record_columns=world.RECORD_COLUMNS,
    )


def verb_in_small_units(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    with pr.options(max_answer_bytes=4_000):
        return verb(collection, unmatched)


def paired(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return collection.raster.pair(
        world.points().lazy(), crs=4326, unmatched=unmatched, record_columns=world.RECORD_COLUMNS
    )


def samples() -> list[pl.Expr]:
    return [pl.col(name).raster.sample_points("lon", "lat", crs=4326) for name in OUTPUT_OF.values()]


def expressions(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return paired(collection, unmatched).with_columns(*samples())


def batched_expressions(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return paired(collection, unmatched).raster.with_columns(*samples())


def struct_expression(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    together = pr.sample_points(list(OUTPUT_OF.values()), "lon", "lat", crs=4326)
    return paired(collection, unmatched).with_columns(together).drop(list(OUTPUT_OF.values())).unnest("pixels")


FACES = {
    "verb": verb,
    "verb_in_small_units": verb_in_small_units,
    "expressions": expressions,
    "batched_expressions": batched_expressions,
    "struct_expression": struct_expression,
}


@cache
def reference(serials: tuple[int, ...], unmatched: str) -> pl.DataFrame:
    return world.sampled(world.points(), list(serials), unmatched=unmatched)


def serials_of(collection: pl.LazyFrame) -> tuple[int, ...]:
    return tuple(collection.select("serial").collect()["serial"])


def comparable(frame: pl.DataFrame, *, ordered: bool) -> pl.DataFrame:
    if ordered:
        return frame
    return frame.select(sorted(frame.columns)).sort(pl.all(), nulls_last=True)
