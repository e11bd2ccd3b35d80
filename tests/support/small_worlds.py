"""Which small worlds are questions asked of?

Hypothesis draws a few records with tiny files on grids of three CRSs that lie over each other, and a few points among them. Files
are made once per description; their hrefs name what is in them, so that a cache of tiles can never mix two.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import polars as pl
import pyproj
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource
from tests.support.oracle import points as eager
from tests.support.oracle.planes import Plane, transformer
from tests.support.oracle.planes import planes_of as planes_by_rasterio

PREFIX = "memory://small-worlds/"
DTYPES: dict[str, pl.DataType] = {"red": pl.UInt16(), "nir": pl.UInt16(), "scl": pl.UInt8(), "temp": pl.Float32()}
NUMPY = {"red": "uint16", "nir": "uint16", "scl": "uint8", "temp": "float32"}
NODATA: dict[str, tuple[float | None, ...]] = {
    "red": (0, 65_535, None),
    "nir": (0, 65_535, None),
    "scl": (0, None),
    "temp": (-9_999.0, float("nan"), None),
}
RECORD_DTYPES: dict[str, pl.DataType] = {
    "id": pl.String(),
    "datetime": pl.Datetime("us", "UTC"),
    "start_datetime": pl.Datetime("us", "UTC"),
    "end_datetime": pl.Datetime("us", "UTC"),
    "cloud": pl.Int64(),
    "serial": pl.Int64(),
}
RECORD_COLUMNS = ("id", "datetime", "cloud", "serial")
CORNERS = {"EPSG:32632": (736_500.0, 4_987_800.0, 10.0), "EPSG:32633": (263_300.0, 4_987_840.0, 10.0)}
"""Upper left corners and pixel sizes of grids either side of 12 degrees east, where two zones meet."""
_LON, _LAT = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(736_500.0, 4_987_800.0)
CORNERS["EPSG:4326"] = (round(_LON * 8192) / 8192, round(_LAT * 8192) / 8192, 1 / 8192)


@dataclass(frozen=True)
class FileSpec:
    """What is in one file."""

    bands: tuple[str, ...]
    crs: str
    shift: tuple[float, float]
    """Of the corner, rows down and columns right, in pixels of the world."""
    shape: tuple[int, int]
    step: float
    """Size of a pixel, in pixels of the world."""
    nodata: float | None
    holes: float
    seed: int
    turn: str = "north_up"

    @property
    def href(self) -> str:
        names = (*self.bands, self.crs.removeprefix("EPSG:"), *self.shift, *self.shape, self.step, self.nodata)
        return PREFIX + "-".join(map(str, (*names, self.holes, self.seed, self.turn))) + ".tif"

    @property
    def transform(self) -> Affine:
        left, top, size = CORNERS[self.crs]
        step = self.step * size
        x, y = left + self.shift[1] * size, top - self.shift[0] * size
        match self.turn:
            case "south_up":
                return Affine(step, 0, x, 0, step, y - step * self.shape[0])
            case "turned":  # and a little aside, so that no point lies on a border, where rounding would decide
                return Affine(0.8 * step, 0.6 * step, x + 0.123 * step, 0.6 * step, -0.8 * step, y - 4.077 * step)
            case _:
                return Affine(step, 0, x, 0, -step, y)


class Files(Mapping[str, bytes]):
    """Files by href, made when they are first named."""

    def __init__(self) -> None:
        self.made: dict[str, bytes] = {}

    def __getitem__(self, href: str) -> bytes:
        return self.made[href]

    def __iter__(self) -> Any:
        return iter(self.made)

    def __len__(self) -> int:
        return len(self.made)


FILES = Files()


@cache
def planes_of(spec: FileSpec) -> tuple[Plane, ...]:
    """Write the file, and read it as rasterio does."""
    FILES.made[spec.href] = _written(spec)
    return tuple(planes_by_rasterio(FILES[spec.href], spec.crs))


def _written(spec: FileSpec) -> bytes:
    height, width = spec.shape
    rng = np.random.default_rng([spec.seed, *map(ord, "".join(spec.bands))])
    first = spec.bands[0]
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=height,
            width=width,
            count=len(spec.bands),
            dtype=NUMPY[first],
            crs=spec.crs,
            transform=spec.transform,
            nodata=spec.nodata,
            tiled=True,
            blockxsize=16,
            blockysize=16,
            compress="deflate",
        ) as sink:
            for at, band in enumerate(spec.bands, 1):
                if band == "scl":
                    values = rng.choice([3, 4, 5, 8, 9], (height, width), p=[0.1, 0.4, 0.2, 0.2, 0.1])
                elif band == "temp":
                    values = rng.normal(0, 100, (height, width))
                else:
                    values = rng.integers(1, 400, (height, width))
                values = values.astype(NUMPY[band])
                is_hole = rng.random((height, width)) < spec.holes
                if spec.nodata is not None:
                    values[is_hole] = spec.nodata
                elif band == "temp":
                    values[is_hole] = np.nan
                sink.write(values, at)
            sink.scales = [(0.5, 2.0)[spec.seed % 2]] * len(spec.bands)
            sink.offsets = [(0.0, -3.0)[spec.seed % 2]] * len(spec.bands)
        return bytes(memory.read())


@dataclass(frozen=True)
class World:
    """Records as columns and files, and a caller's table."""

    records: tuple[tuple[tuple[tuple[str, Any], ...], tuple[FileSpec, ...]], ...]
    points: tuple[tuple[Any, ...], ...]
    crs: str

    @property
    def bands(self) -> tuple[str, ...]:
        named = {band for _, files in self.records for file in files for band in file.bands}
        return tuple(band for band in DTYPES if band in named)

    def bands_of_all(self, bands: tuple[str, ...]) -> list[str]:
        """Those bands that every record has."""
        have = [{band for file in its_files for band in file.bands} for _, its_files in self.records]
        return [band for band in bands if all(band in one for one in have)]

    @cached_property
    def eager(self) -> list[eager.Record]:
        return [
            eager.Record(
                dict(columns),
                {band: plane for file in files for band, plane in zip(file.bands, planes_of(file), strict=True)},
            )
            for columns, files in self.records
        ]

    @cached_property
    def collection(self) -> pl.LazyFrame:
        """Built by the package, kept in memory; records in the order of the world."""
        return pl.concat([_built(record, self.bands) for record in self.records]).lazy()

    @cached_property
    def caller(self) -> pl.DataFrame:
        return pl.DataFrame(self.points, schema=CALLER, orient="row")

    def ask(self, question: eager.Question, records: pl.Expr | None = None) -> pl.LazyFrame:
        collection = self.collection if records is None else self.collection.filter(records)
        words = question.words()
        return collection.raster.sample_points(self.caller, list(words.pop("bands")), **words)


@cache
def _built(record: Any, bands: tuple[str, ...]) -> pl.DataFrame:
    """A collection of one record, with these bands and the world's dtypes."""
    columns, its_files = record
    row = dict(columns) | {f"href_{band}": None for band in bands}
    where: dict[str, Any] = {band: (f"href_{band}", 0) for band in bands}
    for file in its_files:
        planes_of(file)
        for index, band in enumerate(file.bands):
            row[f"href_{band}"] = file.href
            where[band] = (f"href_{band}", index)
    table = pl.DataFrame([row], schema={**RECORD_DTYPES, **{f"href_{band}": pl.String() for band in bands}})
    pr.configure_store(PREFIX, store=MemorySource(FILES))
    built = pr.build_from_table(table, bands=where, on_error="raise").collect().drop(pl.selectors.starts_with("href_"))
    # A band that this record lacks would be UInt8: the world's dtype is known.
    for band in bands:
        fields = built.schema[band].fields
        dtype = pl.Struct([pl.Field(one.name, DTYPES[band] if one.name == "nodata" else one.dtype) for one in fields])
        built = built.with_columns(pl.col(band).cast(dtype))
    return built


def day(number: int, hour: int = 10) -> dt.datetime:
    return dt.datetime(2024, 5, number, hour, tzinfo=dt.UTC)


CALLER: dict[str, pl.DataType] = {
    "point": pl.Int64(),
    "x": pl.Float64(),
    "y": pl.Float64(),
    "visited": pl.Datetime("us", "UTC"),
    "visited_berlin": pl.Datetime("ms", "Europe/Berlin"),
    "visited_day": pl.Date(),
    "limit": pl.Int64(),
}
TIMES = (None, day(1), day(2), day(2, 0), day(2, 22), day(3, 0) - eager.TICK, day(3, 0), day(3), day(5), day(9))
IDS = ("a", "b", "B", None)

clear = eager.Validity(
    pl.col("scl").is_in([4, 5]), lambda v: None if v["scl"] is None else v["scl"] in (4, 5), ("scl",)
)
not_cloud = eager.Validity(pl.col("scl") != 9, lambda v: None if v["scl"] is None else v["scl"] != 9, ("scl",))
clear_or_unknown = eager.Validity(
    pl.col("scl").is_null() | (pl.col("scl") == 4), lambda v: v["scl"] is None or v["scl"] == 4, ("scl",)
)
bright = eager.Validity(pl.col("red") > 150, lambda v: None if v["red"] is None else v["red"] > 150, ("red",))
few_clouds = eager.Validity(pl.col("cloud") < 50, lambda v: None if v["cloud"] is None else v["cloud"] < 50)
below_limit = eager.Validity(
    pl.col("red") < pl.col("limit") * 60,
    lambda v: None if v["red"] is None or v["limit"] is None else v["red"] < v["limit"] * 60,
    ("red",),
)


def _either(values: Mapping[str, Any]) -> bool | None:
    one, other = clear.rule(values), few_clouds.rule(values)
    return True if one or other else None if one is None or other is None else False


clear_or_few_clouds = eager.Validity(clear.expr | few_clouds.expr, _either, ("scl",))
warm = eager.Validity(pl.col("temp") > -50.0, lambda v: None if v["temp"] is None else v["temp"] > -50.0, ("temp",))
never = eager.Validity(pl.col("cloud") > 1_000, lambda v: None if v["cloud"] is None else v["cloud"] > 1_000)
VALIDITIES = (clear, not_cloud, clear_or_unknown, bright, few_clouds, below_limit, clear_or_few_clouds, warm, never)


@st.composite
def files(draw: st.DrawFn, crs: str) -> tuple[FileSpec, ...]:
    """The files of one record: red and near infrared often share one; coarse bands may be shifted by parts of a pixel."""
    shift = draw(st.sampled_from([(0.0, 0.0), (0.0, 0.0), (2.0, 1.0), (-3.0, 4.0), (0.5, -0.25)]))
    shape = draw(st.sampled_from([(8, 10), (8, 10), (4, 3), (20, 19), (1, 1)]))
    holes = draw(st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]))
    seed = draw(st.integers(0, 3))
    found = []
    turn = draw(st.sampled_from(["north_up"] * 6 + ["south_up", "turned"]))
    optical = draw(st.sampled_from([("red", "nir"), ("red", "nir"), ("red",), ()]))
    if len(optical) == 2 and draw(st.booleans()):
        found.append(FileSpec(optical, crs, shift, shape, 1.0, draw(st.sampled_from(NODATA["red"])), holes, seed, turn))
    else:
        for band in optical:
            nodata = draw(st.sampled_from(NODATA[band]))
            found.append(FileSpec((band,), crs, shift, shape, 1.0, nodata, holes, seed, turn))
    if draw(st.sampled_from([True, True, False])) or not found:
        coarse = draw(st.sampled_from([2.0, 2.0, 1.0, 3.0]))
        # Half a coarse image: some points lie on the fine image only.
        size = (shape[0] // 2 + 1, shape[1] // 4 + 1)
        scl_shift = (shift[0] + draw(st.sampled_from([0.0, 0.0, 0.5, -2.0])), shift[1])
        nodata = draw(st.sampled_from(NODATA["scl"]))
        found.append(FileSpec(("scl",), crs, scl_shift, size, coarse, nodata, draw(st.sampled_from([0.0, 0.3])), seed))
    if draw(st.sampled_from([True, False, False])):
        nodata = draw(st.sampled_from(NODATA["temp"]))
        away = draw(st.sampled_from([0.0, 0.0, 0.5, 3.0]))
        found.append(FileSpec(("temp",), crs, (shift[0] + away, shift[1]), shape, 1.0, nodata, holes, seed + 1))
    return tuple(found)


@st.composite
def records(draw: st.DrawFn, serial: int) -> tuple[Any, Any]:
    crs = draw(st.sampled_from(["EPSG:32632", "EPSG:32632", "EPSG:32633", "EPSG:4326"]))
    start, end = draw(st.sampled_from(TIMES)), draw(st.sampled_from(TIMES))
    if start is not None and end is not None and start > end:
        start, end = end, start
    if draw(st.booleans()):
        start = end = None
    columns = {
        "id": draw(st.sampled_from(IDS)),
        "datetime": draw(st.sampled_from(TIMES)),
        "start_datetime": start,
        "end_datetime": end,
        "cloud": draw(st.sampled_from([None, 10, 40, 80])),
        "serial": serial,
    }
    return tuple(columns.items()), draw(files(crs))


@st.composite
def points(draw: st.DrawFn, number: int, crs: str) -> tuple[Any, ...]:
    # Edges of the usual images more often than chance would have it.
    steps = st.integers(-4, 38).map(lambda quarters: quarters / 4) | st.sampled_from([0.0, 3.0, 8.0, 10.0])
    grid = draw(st.sampled_from(list(CORNERS)))
    left, top, size = CORNERS[grid]
    x: float | None = left + draw(steps) * size
    y: float | None = top - draw(steps) * size
    if crs not in (grid, "native"):
        x, y = transformer(grid, crs).transform(x, y)
    kind = draw(st.integers(0, 19))
    if kind == 0:
        x = None
    elif kind == 1:
        y = float("nan")
    elif kind == 2:
        x, y = draw(st.sampled_from([(1e30, 0.0), (float("inf"), y), (-200.0, 95.0)]))
    visited = draw(st.sampled_from(TIMES))
    visited_day = draw(st.sampled_from([None, dt.date(2024, 5, 1), dt.date(2024, 5, 2), dt.date(2024, 5, 4)]))
    limit = draw(st.sampled_from([None, 1, 3, 5]))
    return number, x, y, visited, visited, visited_day, limit


@st.composite
def worlds(draw: st.DrawFn) -> World:
    crs = draw(st.sampled_from(["EPSG:32632", "EPSG:32632", "EPSG:4326", "native"]))
    its_records = tuple(draw(records(serial)) for serial in range(draw(st.integers(1, 5))))
    its_points = tuple(draw(points(number, crs)) for number in range(draw(st.integers(1, 12))))
    return World(its_records, its_points, crs)


@st.composite
def questions(draw: st.DrawFn, world: World, match: str | None = None) -> eager.Question:
    """Any question that means something in a world."""
    bands = draw(st.permutations(world.bands))
    bands = tuple(bands[: draw(st.integers(1, len(bands)))])
    match = match or draw(st.sampled_from(["all", "latest", "latest", "earliest", "nearest"]))
    ats = ["visited", "visited", "visited_berlin", "visited_day"]
    at = draw(st.sampled_from(ats if match == "nearest" else [None, *ats]))
    tolerance = draw(st.sampled_from([None, None, *eager.DURATIONS])) if at else None
    askable = [one for one in VALIDITIES if set(one.bands) <= set(world.bands)]
    valid = draw(st.sampled_from([None, None, None, *askable]))
    method = draw(st.sampled_from(["nearest", "nearest", "nearest", "nearest", "bilinear", "cubic"]))
    reach = draw(st.sampled_from([0, 0, 1, 2, 3])) if method == "nearest" else 0
    return eager.Question(
        bands=bands,
        crs=world.crs,
        match=match,
        at=at,
        tolerance=tolerance,
        valid=valid,
        unmatched=draw(st.sampled_from(["null", "null", "drop"])),
        max_distance_pixels=reach,
        joint=draw(st.booleans()),
        return_neighbourhood=draw(st.sampled_from(["off", "off", "always", "if_center_nodata"]))
        if method == "nearest"
        else "off",
        method=method,
        unscale=tuple(draw(st.sampled_from([(), (), bands[:1], bands]))),
        grid=draw(st.sampled_from(["finest", "finest", "coarsest", *world.bands_of_all(bands)])),
        record_columns=RECORD_COLUMNS,
    )


def rich_world() -> World:
    """One world with every kind of record and point, larger than Hypothesis draws."""
    chance = np.random.default_rng(4)
    its_records = []
    for serial in range(9):
        crs = list(CORNERS)[serial % 3 if serial < 6 else 0]
        shift = [(0.0, 0.0), (3.0, -2.0), (-4.0, 5.0), (0.5, -0.25)][serial % 4]
        shape, holes = (20, 24), [0.3, 0.6, 0.85][serial % 3]
        optical = (
            [FileSpec(("red", "nir"), crs, shift, shape, 1.0, 0, holes, serial)]
            if serial % 2
            else [
                FileSpec((band,), crs, shift, shape, 1.0, NODATA[band][serial % 3], holes, serial)
                for band in ("red", "nir")
            ]
        )
        scl = FileSpec(("scl",), crs, (shift[0] - 4 * (serial % 2), shift[1]), (10, 7), 2.0, 0, 0.2, serial)
        temp = FileSpec(("temp",), crs, (shift[0] + 1.5, shift[1] + 0.25), (12, 24), 1.0, -9_999.0, 0.4, serial)
        times = [None, *map(day, chance.integers(1, 6, 3))] if serial == 6 else list(map(day, chance.integers(1, 6, 3)))
        interval = sorted(times[1:3]) if serial % 3 == 1 else (None, None)
        columns = {
            "id": IDS[serial % 4],
            "datetime": times[0],
            "start_datetime": interval[0],
            "end_datetime": interval[1],
            "cloud": [10, 40, None, 80][(serial * 7) % 4],
            "serial": serial,
        }
        its_files = [*optical, *([scl] if serial != 3 else []), *([temp] if serial % 4 != 2 else [])]
        its_records.append((tuple(columns.items()), tuple(its_files)))
    its_points = []
    days = [None, dt.date(2024, 5, 1), dt.date(2024, 5, 2), dt.date(2024, 5, 4)]
    for number in range(40):
        grid = list(CORNERS)[number % 3]
        left, top, size = CORNERS[grid]
        row, col = chance.integers(-12, 88, 2) / 4
        x, y = transformer(grid, "EPSG:32632").transform(left + col * size, top - row * size)
        x, y = {7: (None, y), 19: (x, float("nan")), 31: (0.0, 0.0)}.get(number, (x, y))
        visited = (None, *(day(at, 10 + at % 2 * 12) for at in range(1, 8)))[chance.integers(0, 8)]
        its_points.append((number, x, y, visited, visited, days[number % 4], [None, 1, 3, 5][chance.integers(0, 4)]))
    return World(tuple(its_records), tuple(its_points), "EPSG:32632")
