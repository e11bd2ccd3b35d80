"""Which records do real files make, when a few dates are needed at one place?

Landsat and Sentinel-2 scenes, some of them moved by whole and half pixels and with bands in other roles, so that dates differ.
Moving changes the raster column's ``transform`` here, and the reference's in the same way.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import polars_rasteret as pr
from tests.support.oracle import points as eager
from tests.support.oracle.planes import Plane, planes_of, transformer

BANDS = ("blue", "red", "nir", "qa")
DTYPES: dict[str, pl.DataType] = dict.fromkeys(BANDS, pl.UInt16())
LANDSAT = "landsat__LC08_L2SP_008059_20191201_20200825_02_T1_"
RECORD_DTYPES: dict[str, pl.DataType] = {
    "id": pl.String(),
    "datetime": pl.Datetime("us", "UTC"),
    "start_datetime": pl.Datetime("us", "UTC"),
    "end_datetime": pl.Datetime("us", "UTC"),
    "cloud": pl.Int64(),
    "serial": pl.Int64(),
}
_L = {"B2": "SR_B2", "B3": "SR_B3", "B4": "SR_B4", "B5": "SR_B5", "QA": "QA_PIXEL"}


def _landsat(*names: str) -> dict[str, str]:
    return {band: f"{LANDSAT}{_L[name]}.TIF" for band, name in zip(BANDS, names, strict=False)}


def _day(number: int) -> dt.datetime:
    return dt.datetime(2019, 12, number, 14, tzinfo=dt.UTC)


SENTINEL = {"blue": "rio-stac__B01.tif", "red": "rio-stac__B04.tif", "nir": "rio-stac__B05.tif"}
ROLES: tuple[tuple[dict[str, str], tuple[float, float], dict[str, Any]], ...] = (
    (_landsat("B2", "B4", "B5", "QA"), (0, 0), {"id": "first", "datetime": _day(1), "cloud": 20}),
    (_landsat("B3", "B5", "B4", "QA"), (-77, 130), {"id": "moved", "datetime": _day(3), "cloud": 60}),
    (_landsat("B4", "B3", "B2"), (200.5, -90.25), {"id": "first", "datetime": _day(3), "cloud": None}),
    (
        _landsat("B5", "B2", "B3", "QA"),
        (-150, -210),
        {"id": None, "datetime": _day(6), "start_datetime": _day(2), "end_datetime": _day(4), "cloud": 5},
    ),
    (_landsat("B2", "B3"), (30, 30), {"id": "undated", "datetime": None, "cloud": 90}),
    (SENTINEL, (0, 0), {"id": "s2", "datetime": _day(2), "cloud": 0}),
    (
        {"red": "rio-tiler__scene_band2.tif", "nir": SENTINEL["red"]},
        (0, 0),
        {"id": "s2", "datetime": _day(5), "cloud": 50},
    ),
)


def _columns(serial: int) -> dict[str, Any]:
    return dict.fromkeys(RECORD_DTYPES) | {"serial": serial} | ROLES[serial][2]


def _moved_by(transform: Any, shift: tuple[float, float]) -> tuple[float, ...]:
    a, b, c, d, e, f = transform
    return a, b, c + a * shift[1] + b * shift[0], d, e, f + d * shift[1] + e * shift[0]


@cache
def _planes(path: Path) -> list[Plane]:
    return planes_of(str(path))


def records(folder: Path) -> list[eager.Record]:
    found = []
    for serial, (files, shift, _) in enumerate(ROLES):
        planes = {band: _planes(folder / name)[0] for band, name in files.items()}
        moved = {band: replace(plane, transform=_moved_by(plane.transform, shift)) for band, plane in planes.items()}
        found.append(eager.Record(_columns(serial), moved))
    return found


def collection(folder: Path) -> pl.LazyFrame:
    rows = [
        {**_columns(serial), **{f"href_{band}": str(folder / files[band]) if band in files else None for band in BANDS}}
        for serial, (files, _, _) in enumerate(ROLES)
    ]
    table = pl.DataFrame(rows, schema={**RECORD_DTYPES, **{f"href_{band}": pl.String() for band in BANDS}})
    built = pr.build_from_table(table, bands={band: f"href_{band}" for band in BANDS}, on_error="raise").collect()
    built = built.drop("geometry", "bbox", pl.selectors.starts_with("href_"))  # they lie where the files say
    for band in BANDS:
        transforms = [
            None if value is None else list(_moved_by(value["transform"], ROLES[serial][1]))
            for serial, value in zip(built["serial"], built[band], strict=True)
        ]
        where = pl.lit(pl.Series(transforms, dtype=pl.Array(pl.Float64, 6)))
        present = pl.col(band).is_not_null()
        built = built.with_columns(
            pl.when(present).then(pl.col(band).struct.with_fields(where.alias("transform"))).alias(band)
        )
    return built.lazy()


def points() -> pl.DataFrame:
    """Longitudes and latitudes on and around the scenes, many near the edge of what Landsat saw."""
    chance = np.random.default_rng(7)
    x, y = [], []
    for crs, (left, top, width, height), n in (
        ("EPSG:32618", (378_285.0, 275_715.0, 227_730.0, 232_230.0), 60),
        ("EPSG:32629", (199_980.0, 2_800_020.0, 109_800.0, 109_800.0), 20),
    ):
        for u, v in chance.random((n, 2)) * 1.3 - 0.15:
            lon, lat = transformer(crs, "EPSG:4326").transform(left + u * width, top - v * height)
            x.append(lon)
            y.append(lat)
    n = len(x)
    visited = [[None, _day(1), _day(3), _day(5), _day(9)][at % 5] for at in range(n)]
    return pl.DataFrame(
        {
            "point": range(n),
            "x": x,
            "y": y,
            "visited": visited,
            "visited_day": [None if one is None else one.date() - dt.timedelta(days=1) for one in visited],
            "limit": [[None, 1, 3, 5][at % 4] for at in range(n)],
        },
        schema_overrides={"visited": pl.Datetime("us", "UTC")},
    )


# Bits 0, 1 and 4 of QA_PIXEL are fill, dilated cloud and cloud shadow; most of the scene is plain cloud.
clear = eager.Validity(
    (pl.col("qa") & 0b10011) == 0, lambda v: None if v["qa"] is None else (v["qa"] & 0b10011) == 0, ("qa",)
)
few_clouds = eager.Validity(pl.col("cloud") < 50, lambda v: None if v["cloud"] is None else v["cloud"] < 50)
