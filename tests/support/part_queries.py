"""Which queries are asked of the world of parts, and how is it told what became of each part?"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from tests.support.part_workers import log
from tests.support.part_world import CRS

KEYS = ["pid", "record_id"]
MATCHES = ("all", "latest", "earliest", "nearest")
VERBS = {
    "sample_points": lambda world, **words: world.scenes.raster.sample_points(world.points, crs=CRS, **words),
    "read_windows": lambda world, **words: world.scenes.raster.read_windows(
        world.boxes, ["red"], crs=CRS, shape=(4, 5), **words
    ),
    "zonal_stats": lambda world, **words: world.scenes.raster.zonal_stats(
        world.boxes, ["red"], ["count", "mean"], crs=CRS, **words
    ),
    "pixels": lambda world, **words: world.scenes.raster.pixels(world.boxes[:60], ["red"], crs=CRS, **words),
}


def verb_query(world, verb, match, unmatched):
    """Return the query of a verb, and the columns that tell its rows apart."""
    words = {"match": match, "unmatched": unmatched}
    if match == "nearest":
        words["at"] = pl.lit("2024-01-02").str.to_datetime(time_zone="UTC")
    return VERBS[verb](world, **words), [*KEYS, "row", "col"] if verb == "pixels" else KEYS


def points(world, **words):
    """Return the query of one band at the points of the world."""
    return world.scenes.raster.sample_points(world.points, ["red"], crs=CRS, **words)


def logged(query, folder, **at):
    """Return a query that notes its parts in a folder; `at` as in `part_workers.log`."""
    return query.with_columns(pl.col("pid").map_batches(log(folder, **at), pl.Int64, is_elementwise=True))


def notes(into, kind="done"):
    """Return what the manifest of a folder says of its parts, done or failed."""
    return [json.loads(one.read_text()) for one in sorted(Path(f"{into}.job", kind).glob("*.json"))]
