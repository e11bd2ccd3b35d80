"""What must `sample_points` answer, worked out one row, one record and one pixel at a time?

A literal reading of the interface in plain Python: rasterio says what pixels hold, pyproj moves points one by one, and positions
are exact fractions. Nothing here calls the package, and nothing is fast.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import polars as pl

from tests.support.oracle.planes import Place, Plane, cubic_weights, linear_weights

TICK = dt.timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class Record:
    """A row of the collection."""

    columns: Mapping[str, Any]
    planes: Mapping[str, Plane]
    """By band; a band whose raster is null is not in it."""

    @property
    def interval(self) -> tuple[dt.datetime, dt.datetime] | None:
        start, end = self.columns.get("start_datetime"), self.columns.get("end_datetime")
        if start is not None and end is not None:
            return start, end
        instant = self.columns.get("datetime")
        return None if instant is None else (instant, instant)


@dataclass(frozen=True, eq=False)
class Validity:
    """One rule in two words: the expression that is asked, and what it means of the values of one pixel."""

    expr: pl.Expr
    rule: Callable[[Mapping[str, Any]], bool | None]
    bands: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Validity({self.expr})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    bands: tuple[str, ...]
    crs: str
    match: str = "all"
    at: str | None = None
    tolerance: str | None = None
    valid: Validity | None = None
    unmatched: str = "null"
    max_distance_pixels: int = 0
    joint: bool = True
    return_neighbourhood: str = "off"
    method: str = "nearest"
    unscale: tuple[str, ...] = ()
    grid: str = "finest"
    layout: str = "wide"
    record_columns: tuple[str, ...] = ("id", "datetime")

    def words(self) -> dict[str, Any]:
        """The call's keyword arguments."""
        words = dict(self.__dict__)
        words.update(valid=self.valid and self.valid.expr, unscale=list(self.unscale) or False)
        if words["crs"] != "native":
            words["crs"] = int(words["crs"].removeprefix("EPSG:"))
        if self.layout == "long":
            del words["record_columns"]
        return words | {"x": "x", "y": "y"}


DURATIONS = {
    "0s": dt.timedelta(0),
    "12h": dt.timedelta(hours=12),
    "1d12h": dt.timedelta(days=1, hours=12),
    "2d": dt.timedelta(days=2),
    "20d": dt.timedelta(days=20),
}
"""Tolerances that questions may name."""


@dataclass(eq=False)
class Look:
    """One record seen from one row of the caller."""

    question: Question
    record: Record
    row: Mapping[str, Any]
    position: int
    """Of the record in the collection."""
    values: dict[str, Any] = field(default_factory=dict)
    distances: dict[str, float | None] = field(default_factory=dict)
    neighbourhoods: dict[str, list[list[Any]] | None] = field(default_factory=dict)
    known: dict[Any, Any] = field(default_factory=dict)
    """What was worked out before: places by plane, pixels of the common grid by row and column."""

    def place(self, plane: Plane) -> Place | None:
        if plane not in self.known:
            self.known[plane] = plane.place(self.row["x"], self.row["y"], self.question.crs)
        return self.known[plane]

    def covers(self) -> bool:
        planes = [self.record.planes[band] for band in self.question.bands if band in self.record.planes]
        return any(plane.holds(self.place(plane)) for plane in planes)

    def counts(self) -> bool:
        return any(value is not None for value in self.values.values())

    # Which grid a band is seen on, and what its pixels are there.

    def sheet(self, band: str) -> Plane:
        """The plane whose grid the band is seen on."""
        if self.question.valid is None:
            return self.record.planes[band]
        names = dict.fromkeys((*self.question.bands, *self.question.valid.bands))
        present = [name for name in names if name in self.record.planes]
        if self.question.grid in names:
            return self.record.planes[self.question.grid]
        sizes = [self.record.planes[name].pixel_size for name in present]
        best = min(sizes) if self.question.grid == "finest" else max(sizes)
        return self.record.planes[present[sizes.index(best)]]

    def pixel(self, band: str, row: int, col: int) -> Any:
        """Value of a band on its sheet's pixel, after `valid`."""
        sheet = self.sheet(band)
        if self.question.valid is None:
            return sheet.pixel(row, col)
        if (row, col) not in self.known:
            self.known[row, col] = self.common_pixel(*sheet.center(row, col))
        return self.known[row, col][band]

    def common_pixel(self, x: Fraction, y: Fraction) -> dict[str, Any]:
        """Values of all bands at the centre of a pixel of the common grid; all None where `valid` is not true."""
        raw: dict[str, Any] = {}
        for name in dict.fromkeys((*self.question.bands, *self.question.valid.bands)):
            plane = self.record.planes.get(name)
            raw[name] = None if plane is None else plane.pixel(*map(math.floor, plane.place_of(x, y)))
        is_valid = self.question.valid.rule({**self.row, **self.record.columns, **raw})
        return raw if is_valid is True else dict.fromkeys(raw)

    def is_on_image(self, band: str) -> bool:
        """Whether the band's own image holds the point; a band whose image does not is null in everything."""
        plane = self.record.planes.get(band)
        return plane is not None and plane.holds(self.place(plane))

    # The answer.

    def read(self) -> Look:
        bands = [band for band in self.question.bands if self.is_on_image(band)]
        pixels = {band: self.own_pixel(band) for band in bands}
        found: dict[str, tuple[int, int] | None] = dict(pixels)
        if self.question.max_distance_pixels:
            for band in bands:
                sheet = self.sheet(band)
                together = (
                    [one for one in bands if self.sheet(one).grid == sheet.grid] if self.question.joint else [band]
                )
                found[band] = self.nearest_pixel(together)
        for band in self.question.bands:
            self.values[band] = self.distances[band] = self.neighbourhoods[band] = None
            if band not in bands:
                continue
            if found[band] is not None:
                self.values[band] = self.value(band, found[band])
                self.distances[band] = self.distance(band, found[band])
            if self.question.return_neighbourhood == "always" or self.pixel(band, *pixels[band]) is None:
                self.neighbourhoods[band] = self.neighbourhood(band, pixels[band])
        return self

    def own_pixel(self, band: str) -> tuple[int, int]:
        row, col = self.place(self.sheet(band))
        return math.floor(row), math.floor(col)

    def around(self, band: str) -> list[tuple[int, int]]:
        reach = self.question.max_distance_pixels
        row, col = self.own_pixel(band)
        return [(r, c) for r in range(row - reach, row + reach + 1) for c in range(col - reach, col + reach + 1)]

    def distance(self, band: str, pixel: tuple[int, int]) -> float:
        return math.sqrt(self.squared_distance(band, pixel))

    def squared_distance(self, band: str, pixel: tuple[int, int]) -> float:
        """In doubles: pixels whose distances differ by less than those can tell are equally far."""
        away = [
            max(first - at, at - (first + 1), Fraction(0)) for at, first in zip(self.place(self.sheet(band)), pixel)
        ]
        return float(away[0]) ** 2 + float(away[1]) ** 2

    def nearest_pixel(self, bands: Sequence[str]) -> tuple[int, int] | None:
        own = self.own_pixel(bands[0])
        candidates = [pixel for pixel in self.around(bands[0]) if all(self.pixel(b, *pixel) is not None for b in bands)]
        if own in candidates:
            return own
        return min(candidates, key=lambda pixel: (self.squared_distance(bands[0], pixel), pixel), default=None)

    def value(self, band: str, pixel: tuple[int, int]) -> Any:
        value = self.pixel(band, *pixel) if self.question.method == "nearest" else self.interpolated(band)
        if value is None or band not in self.question.unscale:
            return value
        plane = self.record.planes[band]
        return float(value) * plane.scale + plane.offset

    def interpolated(self, band: str) -> float | None:
        (row, row_part), (col, col_part) = (
            (math.floor(at - Fraction(1, 2)), float((at - Fraction(1, 2)) % 1)) for at in self.place(self.sheet(band))
        )
        weights_of = {"bilinear": linear_weights, "cubic": cubic_weights}[self.question.method]
        total = weight_sum = 0.0
        for row_step, row_weight in weights_of(row_part).items():
            for col_step, col_weight in weights_of(col_part).items():
                value = self.pixel(band, row + row_step, col + col_step)
                if value is not None:
                    total += row_weight * col_weight * value
                    weight_sum += row_weight * col_weight
        return total / weight_sum if abs(weight_sum) > 1e-6 else None

    def neighbourhood(self, band: str, own: tuple[int, int]) -> list[list[Any]]:
        reach = range(-self.question.max_distance_pixels, self.question.max_distance_pixels + 1)
        values = [[self.pixel(band, own[0] + r, own[1] + c) for c in reach] for r in reach]
        if band not in self.question.unscale:
            return values
        plane = self.record.planes[band]
        return [[None if v is None else float(v) * plane.scale + plane.offset for v in line] for line in values]

    # Time.

    def record_order(self) -> tuple[Any, ...]:
        """Smaller id first, nulls last, then the order of the collection."""
        name = self.record.columns["id"]
        return name is None, name or "", self.position

    def time_order(self) -> tuple[Any, ...]:
        interval = self.record.interval
        return interval is None, *(_micros(one) for one in interval or (_EPOCH, _EPOCH)), *self.record_order()

    def gap(self) -> dt.timedelta | None:
        """Time between the record and `at`; None where either has none."""
        asked, interval = _interval_of(self.row[self.question.at]), self.record.interval
        if asked is None or interval is None:
            return None
        return max(interval[0] - asked[1], asked[0] - interval[1], dt.timedelta(0))

    def is_candidate(self) -> bool:
        question = self.question
        if question.at is None or (question.match == "all" and question.tolerance is None):
            return True
        gap, asked, interval = self.gap(), _interval_of(self.row[question.at]), self.record.interval
        if gap is None or (question.tolerance is not None and gap > DURATIONS[question.tolerance]):
            return False
        if question.match == "latest":
            return interval[0] <= asked[1]
        if question.match == "earliest":
            return interval[1] >= asked[0]
        return True

    def preference(self) -> tuple[Any, ...]:
        match self.question.match:
            case "latest":
                no_time, start, end, *rest = self.time_order()
                return no_time, -start, -end, *rest
            case "nearest":
                return self.gap(), *self.time_order()
            case _:
                return self.time_order()


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _micros(time: dt.datetime) -> int:
    return (time - _EPOCH) // TICK


def _interval_of(at: dt.datetime | dt.date | None) -> tuple[dt.datetime, dt.datetime] | None:
    if at is None or isinstance(at, dt.datetime):
        return None if at is None else (at, at)
    start = dt.datetime(at.year, at.month, at.day, tzinfo=dt.UTC)
    return start, start + dt.timedelta(days=1) - TICK


def looks(question: Question, caller: pl.DataFrame, records: Sequence[Record]) -> list[tuple[int, Look | None]]:
    """Give the answer as caller's row and what is seen there, in order."""
    found: list[tuple[int, Look | None]] = []
    for index, row in enumerate(caller.iter_rows(named=True)):
        candidates = [Look(question, record, row, position) for position, record in enumerate(records)]
        candidates = [look for look in candidates if look.covers() and look.is_candidate()]
        candidates.sort(key=Look.preference if question.match != "all" else Look.time_order)
        if question.match == "all":
            chosen = [look.read() for look in candidates]
        else:
            chosen = [next(iter(look for look in candidates if look.read().counts()), None)]
        found += [(index, look) for look in chosen if look is not None]
        if question.unmatched == "null" and not any(chosen):
            found.append((index, None))
    return found


def answer(
    question: Question,
    caller: pl.DataFrame,
    records: Sequence[Record],
    *,
    dtypes: Mapping[str, pl.DataType],
    record_dtypes: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """What the verb must give."""
    found = looks(question, caller, records)
    if question.layout == "long":
        return _long(question, caller, found, dtypes)
    columns = {name: [caller[name][index] for index, _ in found] for name in caller.columns}
    schema = dict(caller.schema)
    for name in question.record_columns:
        output = "record_id" if name == "id" else name
        columns[output] = [None if look is None else look.record.columns.get(name) for _, look in found]
        schema[output] = record_dtypes[name]
    for band in question.bands:
        columns[band] = [None if look is None else look.values[band] for _, look in found]
        schema[band] = _value_dtype(question, band, dtypes)
    for band in question.bands if question.max_distance_pixels else ():
        columns[f"{band}_distance"] = [None if look is None else look.distances[band] for _, look in found]
        schema[f"{band}_distance"] = pl.Float32()
    for band in question.bands if question.return_neighbourhood != "off" else ():
        columns[f"{band}_neighbourhood"] = [None if look is None else look.neighbourhoods[band] for _, look in found]
        side = 2 * question.max_distance_pixels + 1
        schema[f"{band}_neighbourhood"] = pl.Array(_pixel_dtype(question, band, dtypes), (side, side))
    return pl.DataFrame(columns, schema=schema)


def _pixel_dtype(question: Question, band: str, dtypes: Mapping[str, pl.DataType]) -> pl.DataType:
    return pl.Float64() if band in question.unscale else dtypes[band]


def _value_dtype(question: Question, band: str, dtypes: Mapping[str, pl.DataType]) -> pl.DataType:
    return pl.Float64() if question.method != "nearest" else _pixel_dtype(question, band, dtypes)


def _long(
    question: Question,
    caller: pl.DataFrame,
    found: Sequence[tuple[int, Look | None]],
    dtypes: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    rows = []
    for index, look in found:
        row = caller.row(index, named=True)
        record = look.record.columns if look else {}
        for band in question.bands:
            plane = look.record.planes.get(band) if look else None
            time = record.get("datetime")
            line = {
                "point_index": index,
                "point_x": row["x"],
                "point_y": row["y"],
                "point_crs": None if question.crs == "native" else int(question.crs.removeprefix("EPSG:")),
                "record_id": record.get("id"),
                "datetime": time and time.astimezone(dt.UTC).replace(tzinfo=None),
                "collection": record.get("collection"),
                "band": band,
                "value": look.values[band] if look else None,
                "raster_crs": int(plane.crs.removeprefix("EPSG:")) if plane else None,
            }
            if question.return_neighbourhood != "off":
                block = look.neighbourhoods[band] if look else None
                line["neighbourhood_values"] = block and [None if v is None else float(v) for one in block for v in one]
            rows.append({**line, **row})
    # The smallest dtype that holds all bands, from Polars itself.
    value_dtype = pl.concat(
        [pl.DataFrame(schema={"v": _value_dtype(question, band, dtypes)}) for band in question.bands],
        how="vertical_relaxed",
    ).schema["v"]
    schema = {
        "point_index": pl.Int64(),
        "point_x": pl.Float64(),
        "point_y": pl.Float64(),
        "point_crs": pl.Int32(),
        "record_id": pl.String(),
        "datetime": pl.Datetime("us"),
        "collection": pl.String(),
        "band": pl.String(),
        "value": value_dtype,
        "raster_crs": pl.Int32(),
    }
    if question.return_neighbourhood != "off":
        schema["neighbourhood_values"] = pl.List(pl.Float64())
    return pl.DataFrame(rows, schema={**schema, **caller.schema})
