"""A small world with every awkward record and point, and what the oracle answers in it, under the column names of answers."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from tests.support.oracle import points as oracle
from tests.support.oracle.planes import Plane, planes_of, transformer
from tests.support.oracle.windows import window, window_grid

PREFIX = "memory://frame-tests/"
BANDS = ("red", "nir", "swir", "temp")
DTYPES = {"red": pl.UInt16(), "nir": pl.UInt16(), "swir": pl.Int16(), "temp": pl.Float32()}
NUMPY = {"red": "uint16", "nir": "uint16", "swir": "int16", "temp": "float32"}
NODATA = {"red": 0, "nir": 65_535, "swir": -32_768, "temp": -9_999.0}
RECORD_COLUMNS = ("id", "datetime", "eo:cloud_cover", "platform", "serial")
"""What the shapes ask of a record; `serial` tells records apart where ids do not."""
ZONES = {"EPSG:32632": (736_500.0, 4_987_800.0), "EPSG:32633": (263_300.0, 4_987_900.0)}
"""Upper left corners of two grids that lie over each other, either side of the border of two UTM zones (12 degrees east)."""


def day(number: int, hour: int = 10) -> dt.datetime:
    return dt.datetime(2024, 5, number, hour, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Scene:
    serial: int
    id: str | None
    crs: str
    shift: tuple[float, float]
    time: dt.datetime | None
    cloud: float | None
    platform: str | None
    together: bool = True
    """Red and near infrared share a file; the other bands always have their own."""
    missing: tuple[str, ...] = ()
    half_nir: bool = False
    """The near infrared has pixels of 20 m and covers the western half only."""
    profile: dict[str, Any] = field(default_factory=dict)


TILED_32 = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate", "predictor": 2}
TILED_64 = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
STRIPED = {"compress": "deflate", "blockysize": 7}
BAND_SEPARATE = {**TILED_32, "interleave": "band"}

SCENES = (
    Scene(0, "A", "EPSG:32632", (0, 0), day(3), 5.0, "s2a", profile=TILED_32),
    Scene(1, "B", "EPSG:32632", (300, -200), day(3), 30.0, "s2b", together=False, profile=TILED_64),
    Scene(2, "A", "EPSG:32633", (100, 50), day(9), None, "s2a", profile=STRIPED),
    Scene(3, None, "EPSG:32632", (-400, 300), day(9), 10.0, None, profile=BAND_SEPARATE),
    Scene(4, "C", "EPSG:32633", (-200, -300), None, 80.0, "s2b", missing=("swir",), profile=TILED_64),
    Scene(5, "D", "EPSG:32632", (150, 150), day(15), 15.0, "s2a", half_nir=True, together=False, profile=TILED_32),
    Scene(6, "B", "EPSG:32632", (300, -200), day(3), 30.0, "s2c", together=False, missing=("temp",), profile=STRIPED),
    Scene(7, "E", "EPSG:32632", (90_000, 0), day(1), 1.0, "s2a", profile=TILED_32),
)


def _pixels(scene: Scene, band: str, height: int, width: int) -> np.ndarray:
    """Values that no other pixel of the world has nearby, with holes of nodata and NaN."""
    rng = np.random.default_rng([scene.serial, BANDS.index(band)])
    rows, cols = np.mgrid[:height, :width]
    if band == "temp":
        values = (scene.serial * 100 + rows + cols / 128 + rng.random((height, width)) / 256).astype("float32")
        values[(rows + cols) % 29 == 3] = np.nan
    else:
        values = (
            1 + scene.serial * 1_000 + (rows * 37 + cols * 11) % 900 + rng.integers(0, 50, (height, width))
        ).astype(NUMPY[band])
        if band == "swir":
            values = np.where((rows // 8) % 2 == 0, values, -values).astype("int16")
    values[(rows // 10 + cols // 9) % 5 == BANDS.index(band)] = NODATA[band]
    return values


def _write(scene: Scene, bands: tuple[str, ...], *, step: float = 10.0, height: int = 100, width: int = 120) -> bytes:
    left, top = ZONES[scene.crs]
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=height,
            width=width,
            count=len(bands),
            dtype=NUMPY[bands[0]],
            crs=scene.crs,
            transform=Affine(step, 0, left + scene.shift[0], 0, -step, top + scene.shift[1]),
            nodata=NODATA[bands[0]],
            **{**scene.profile, **({"predictor": 1} if bands[0] == "temp" else {})},
        ) as sink:
            for at, band in enumerate(bands, 1):
                pixels = _pixels(scene, band, height, width)
                # Bands of one file have one nodata value.
                pixels[pixels == NODATA[band]] = NODATA[bands[0]]
                sink.write(pixels, at)
        return bytes(memory.read())


@cache
def files() -> dict[str, bytes]:
    """The files by href."""
    made = {}
    for scene in SCENES:
        for name, bands, size in _files_of(scene):
            made[f"{PREFIX}{name}"] = _write(scene, bands, **size)
    return made


def _files_of(scene: Scene) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    of = f"scene-{scene.serial}"
    found: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
    if scene.together:
        found.append((f"{of}/optical.tif", ("red", "nir"), {}))
    else:
        half = {"step": 20.0, "height": 50, "width": 30} if scene.half_nir else {}
        found += [(f"{of}/red.tif", ("red",), {}), (f"{of}/nir.tif", ("nir",), half)]
    return found + [(f"{of}/{band}.tif", (band,), {}) for band in ("swir", "temp") if band not in scene.missing]


@cache
def grids() -> dict[tuple[int, str], Plane]:
    """Return what rasterio reads, by serial and band."""
    found = {}
    for scene in SCENES:
        for name, bands, _ in _files_of(scene):
            for band, plane in zip(bands, planes_of(files()[PREFIX + name]), strict=True):
                found[scene.serial, band] = plane
    return found


@cache
def record(serial: int) -> oracle.Record:
    """Return a scene as the oracle takes it."""
    scene = SCENES[serial]
    columns = {name: getattr(scene, attribute) for name, attribute in _ATTRIBUTES.items()}
    return oracle.Record(columns, {band: grids()[serial, band] for band in BANDS if (serial, band) in grids()})


def table() -> pl.DataFrame:
    """One row per scene, for `build_from_table`."""
    rows = []
    for scene in SCENES:
        href_of = {band: PREFIX + name for name, bands, _ in _files_of(scene) for band in bands}
        rows.append(
            {
                "id": scene.id,
                "datetime": scene.time,
                "eo:cloud_cover": scene.cloud,
                "platform": scene.platform,
                "serial": scene.serial,
                **{f"href_{band}": href_of.get(band) for band in BANDS},
            }
        )
    hrefs = dict.fromkeys((f"href_{band}" for band in BANDS), pl.String)
    schema = {
        "id": pl.String,
        "datetime": pl.Datetime("us", "UTC"),
        "eo:cloud_cover": pl.Float64,
        "platform": pl.String,
        "serial": pl.Int64,
        **hrefs,
    }
    return pl.DataFrame(rows, schema=schema)


def band_columns() -> dict[str, Any]:
    """Bands by where they are, for `build_from_table`: near infrared is the second band where it shares a file."""
    return {band: f"href_{band}" for band in BANDS}


def tables_with_band_indices() -> list[tuple[pl.DataFrame, dict[str, Any]]]:
    """The table in two, because scenes that keep red and nir in one file name another band index."""
    whole = table()
    shared = [scene.serial for scene in SCENES if scene.together]
    return [
        (whole.filter(pl.col("serial").is_in(shared)), {**band_columns(), "nir": ("href_nir", 1)}),
        (whole.filter(~pl.col("serial").is_in(shared)), band_columns()),
    ]


def points() -> pl.DataFrame:
    """The caller's table: points everywhere, and columns of its own, two of which clash."""
    left, top = ZONES["EPSG:32632"]
    rng = np.random.default_rng(20)
    xy: list[tuple[float | None, float | None]] = []
    # Anywhere in the neighbourhood of the scenes, some outside of all.
    for u, v in rng.random((34, 2)):
        xy.append((left - 600 + 2600 * u, top + 500 - 2000 * v))
    # Corners and borders of pixels, of tiles and of images.
    for row, col in (
        (0, 0),
        (0, 119),
        (99, 0),
        (99, 119),
        (32, 32),
        (31, 64),
        (64, 31),
        (50, 50),
        (100, 120),
        (10, 120),
    ):
        xy.append((left + 10 * col, top - 10 * row))
    # Middles of pixels next to them, with a repeated point.
    for row, col in ((0, 0), (99, 119), (32, 31), (50, 50), (50, 50), (12, 70), (71, 22)):
        xy.append((left + 10 * col + 5, top - 10 * row - 5))
    lonlat: list[tuple[float | None, float | None]] = [
        transformer("EPSG:32632", "OGC:CRS84").transform(x, y) for x, y in xy
    ]
    # Far away, nowhere, and places that no projection has.
    lonlat += [
        (-70.0, -33.0),
        (12.0, 91.5),
        (None, 45.0),
        (12.0, None),
        (None, None),
        (math.nan, 45.0),
        (12.0, math.inf),
    ]
    n = len(lonlat)
    crops = ["maize", "wheat", None, "barley"]
    planting = [None if at % 11 == 5 else day(1 + at % 14) for at in range(n)]
    return pl.DataFrame(
        {
            "point": range(n),
            "lon": [one[0] for one in lonlat],
            "lat": [one[1] for one in lonlat],
            "crop": [crops[at % 4] for at in range(n)],
            "planting": planting,
            "harvest": [
                None if one is None else one + dt.timedelta(days=1 + at % 8) for at, one in enumerate(planting)
            ],
            "weight": [None if at % 13 == 4 else float((at * 911) % 7_000) for at in range(n)],
            "platform": [("s2a", "s2b", None)[at % 3] for at in range(n)],
            "swir": [at / 2 for at in range(n)],
        },
        schema={
            "point": pl.Int64,
            "lon": pl.Float64,
            "lat": pl.Float64,
            "crop": pl.String,
            "planting": pl.Datetime("us", "UTC"),
            "harvest": pl.Datetime("us", "UTC"),
            "weight": pl.Float64,
            "platform": pl.String,
            "swir": pl.Float64,
        },
    )


def in_result_order(serials: list[int]) -> list[Scene]:
    """Scenes by time, then id, nulls last, then their order in the collection."""
    latest = dt.datetime.max.replace(tzinfo=dt.UTC)
    chosen = [SCENES[serial] for serial in serials]
    return sorted(chosen, key=lambda one: (one.time is None, one.time or latest, one.id is None, one.id or ""))


@dataclass(frozen=True)
class Pair:
    """One row of an answer: a row of the caller, and a record as the oracle sees it from there."""

    target: int
    look: oracle.Look | None

    @property
    def scene(self) -> Scene | None:
        return None if self.look is None else SCENES[self.look.record.columns["serial"]]


def pairs(
    xy: list[tuple[float | None, float | None]],
    serials: list[int],
    *,
    bands: tuple[str, ...] = BANDS,
    crs: str = "EPSG:4326",
    unmatched: str,
) -> list[Pair]:
    """Return every point in order with every scene that covers it, in order; `serials` is the order of the collection."""
    question = oracle.Question(bands=bands, crs=crs, unmatched=unmatched)
    caller = pl.DataFrame(xy, schema={"x": pl.Float64, "y": pl.Float64}, orient="row")
    return [Pair(target, look) for target, look in oracle.looks(question, caller, [record(one) for one in serials])]


def value_at(pair: Pair, band: str) -> int | float | None:
    """Return the pixel of a band under the point of a pair."""
    return None if pair.look is None else pair.look.values[band]


def raw_value_at(pair: Pair, band: str) -> int | float | None:
    """Return the pixel of a band under the point of a pair as the file holds it; None outside of the image."""
    if pair.look is None or not pair.look.is_on_image(band):
        return None
    return pair.look.record.planes[band].values[pair.look.own_pixel(band)].item()


def window_at(pair: Pair, band: str, shape: tuple[int, int], *, masked: bool = False) -> list[list[Any]] | None:
    """Return the window around the point of a pair; outside of the image the nodata of the file."""
    return None if pair.look is None else window(pair.look, band, shape, masked=masked)


def records_of(found: list[Pair], names: dict[str, str]) -> dict[str, list[Any]]:
    """Return columns of the records of pairs: output name to name in the collection."""
    return {
        output: [None if pair.look is None else pair.look.record.columns[name] for pair in found]
        for output, name in names.items()
    }


_ATTRIBUTES = {"id": "id", "datetime": "time", "eo:cloud_cover": "cloud", "platform": "platform", "serial": "serial"}
RECORD_NAMES = {
    "record_id": "id",
    "datetime": "datetime",
    "eo:cloud_cover": "eo:cloud_cover",
    "platform_right": "platform",
    "serial": "serial",
}
RECORD_SCHEMA = {
    "record_id": pl.String,
    "datetime": pl.Datetime("us", "UTC"),
    "eo:cloud_cover": pl.Float64,
    "platform_right": pl.String,
    "serial": pl.Int64,
}


def caller_rows(caller: pl.DataFrame, found: list[Pair]) -> pl.DataFrame:
    return caller[[pair.target for pair in found]] if found else caller.clear()


def xy_of(caller: pl.DataFrame, x: str = "lon", y: str = "lat") -> list[tuple[float | None, float | None]]:
    return list(caller.select(x, y).iter_rows())


def sampled(caller: pl.DataFrame, serials: list[int], *, unmatched: str, crs: str = "EPSG:4326") -> pl.DataFrame:
    """What sample_points must give for `points()`, with the record columns of the shapes."""
    found = pairs(xy_of(caller), serials, unmatched=unmatched, crs=crs)
    values = {band: [value_at(pair, band) for pair in found] for band in BANDS}
    return pl.concat(
        [
            caller_rows(caller, found),
            pl.DataFrame(records_of(found, RECORD_NAMES), schema=RECORD_SCHEMA),
            pl.DataFrame(
                {"swir_right" if band == "swir" else band: values[band] for band in BANDS},
                schema={"swir_right" if band == "swir" else band: DTYPES[band] for band in BANDS},
            ),
        ],
        how="horizontal",
    )


def windowed(
    caller: pl.DataFrame,
    serials: list[int],
    *,
    unmatched: str,
    shape: tuple[int, int],
    bands: tuple[str, ...],
    masked: bool,
) -> pl.DataFrame:
    """What read_windows with a shape must give; bands of a scene that lie on one grid only."""
    found = pairs(xy_of(caller), serials, unmatched=unmatched, bands=bands)
    values: dict[str, list[Any]] = {
        band: [window_at(pair, band, shape, masked=masked) for pair in found] for band in bands
    }
    grids_met = [window_grid(pair.look, bands, shape) if pair.look else None for pair in found]
    names = {band: "swir_right" if band == "swir" else band for band in bands}
    return pl.concat(
        [
            caller_rows(caller, found),
            pl.DataFrame(records_of(found, RECORD_NAMES), schema=RECORD_SCHEMA),
            pl.DataFrame(
                {
                    **{names[band]: values[band] for band in bands},
                    "transform": [one and one[0] for one in grids_met],
                    "raster_crs": [one and one[1] for one in grids_met],
                },
                schema={
                    **{names[band]: pl.Array(DTYPES[band], shape) for band in bands},
                    "transform": pl.Array(pl.Float64, 6),
                    "raster_crs": pl.String,
                },
            ),
        ],
        how="horizontal",
    )
