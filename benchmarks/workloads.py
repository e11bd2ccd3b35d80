"""What is read, and in which layout must the answer come?

The five workloads are data: numbers of records, rows, columns, longitudes and latitudes, made from fixed seeds. How
an engine gets there is its own business; it returns one array in the canonical layout, nodata as the file's 0, and
`digest` of that array must be the same for every engine. No engine and no timing belong here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from corpus import BANDS, DATES, RESOLUTION, SCENES, SIZE, WARMUP, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 11
WORKLOADS = ("points", "sparse", "windows", "big", "series")
EXTRA_WORKLOADS = ("series_one_band",)
TITLES = {
    "points": "10,000 points",
    "sparse": "400 scattered points",
    "windows": "200 windows 256x256",
    "big": "one 3000x3000 window",
    "series": "one window, 12 dates",
    "series_one_band": "one window, 12 dates, one band",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Sample every band at longitudes and latitudes; each point lies in exactly one record, away from pixel edges.

    Answer: uint16, shape (n, n_bands), in the order of the points.
    """

    name: str
    records: tuple[Scene, ...]
    bands: tuple[str, ...]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    record: NDArray[np.intp]
    """What the coordinates were made from; engines that pair points with records themselves do not look at it."""
    row: NDArray[np.int64]
    col: NDArray[np.int64]

    @property
    def answer_shape(self) -> tuple[int, ...]:
        return (len(self.lon), len(self.bands))


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Read every band in pixel boxes of one size that lie inside their record.

    Answer: uint16, shape (n, n_bands, height, width), in the order of the windows.
    """

    name: str
    records: tuple[Scene, ...]
    bands: tuple[str, ...]
    record: NDArray[np.intp]
    row_start: NDArray[np.int64]
    col_start: NDArray[np.int64]
    height: int
    width: int
    lon: NDArray[np.float64]
    """Centre of pixel (row_start + height // 2, col_start + width // 2), for engines that are asked by coordinates."""
    lat: NDArray[np.float64]

    @property
    def answer_shape(self) -> tuple[int, ...]:
        return (len(self.record), len(self.bands), self.height, self.width)

    @property
    def is_one_box(self) -> bool:
        """Say whether the same box is read from every record, one after the other."""
        return (
            len(self.record) <= len(self.records)
            and bool((self.record == np.arange(len(self.record))).all())
            # Not by np.unique, which imports numpy.ma: that is no part of a first query.
            and bool((self.row_start == self.row_start[0]).all() and (self.col_start == self.col_start[0]).all())
        )


Workload = Points | Windows


def digest(answer: NDArray[np.generic]) -> str:
    """Give a short hash of dtype, shape and pixels."""
    head = f"{answer.dtype.name}{answer.shape}".encode()
    return hashlib.sha1(head + np.ascontiguousarray(answer).tobytes()).hexdigest()[:16]


def lonlat(
    records: tuple[Scene, ...], record: NDArray[np.intp], row: NDArray[np.float64], col: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give longitude and latitude of fractional pixel positions (0.5 is the centre of pixel 0)."""
    from pyproj import Transformer

    lon, lat = np.empty(len(record)), np.empty(len(record))
    left, top, epsg = (np.array([getattr(one, name) for one in records])[record] for name in ("left", "top", "epsg"))
    for code in np.unique(epsg):
        chosen = epsg == code
        to_lonlat = Transformer.from_crs(int(code), 4326, always_xy=True)
        x, y = left + col * RESOLUTION, top - row * RESOLUTION
        lon[chosen], lat[chosen] = to_lonlat.transform(x[chosen], y[chosen])
    return lon, lat


def _points(name: str, n: int, *, seed: int) -> Points:
    rng = np.random.default_rng([SEED, seed])
    record = rng.integers(0, len(SCENES), n)
    row, col = rng.integers(0, SIZE, (2, n))
    # Up to 0.3 pixels off the centre: no rounding of coordinates can move a point into another pixel.
    jitter_row, jitter_col = rng.uniform(0.2, 0.8, (2, n))
    lon, lat = lonlat(SCENES, record, row + jitter_row, col + jitter_col)
    return Points(name=name, records=SCENES, bands=BANDS, lon=lon, lat=lat, record=record, row=row, col=col)


def _windows(
    name: str,
    records: tuple[Scene, ...],
    record: NDArray[np.intp],
    row_start: NDArray[np.int64],
    col_start: NDArray[np.int64],
    *,
    size: int,
    bands: tuple[str, ...] = BANDS,
) -> Windows:
    lon, lat = lonlat(records, record, row_start + size // 2 + 0.5, col_start + size // 2 + 0.5)
    return Windows(
        name=name,
        records=records,
        bands=bands,
        record=record,
        row_start=row_start,
        col_start=col_start,
        height=size,
        width=size,
        lon=lon,
        lat=lat,
    )


def workload(name: str, *, quick: bool = False) -> Workload:
    """Make a workload by name; `quick` makes it about a tenth, for trying things out."""
    match name:
        case "points":
            return _points(name, 1000 if quick else 10_000, seed=1)
        case "sparse":
            return _points(name, 100 if quick else 400, seed=2)
        case "windows":
            n = 20 if quick else 200
            rng = np.random.default_rng([SEED, 3])
            record = rng.integers(0, len(SCENES), n)
            row_start, col_start = rng.integers(0, SIZE - 256, (2, n))
            return _windows(name, SCENES, record, row_start, col_start, size=256)
        case "big":
            size = 1000 if quick else 3000
            return _windows(name, SCENES, np.array([0]), np.array([700]), np.array([900]), size=size)
        case "series" | "series_one_band":
            n = len(DATES)
            bands = BANDS if name == "series" else ("B04",)
            return _windows(name, DATES, np.arange(n), np.full(n, 1400), np.full(n, 2200), size=256, bands=bands)
    raise ValueError(f"unknown workload {name!r}; expected one of {', '.join(WORKLOADS + EXTRA_WORKLOADS)}")


def warmup_for(timed: Workload) -> Workload:
    """Give the tiny read, of the same kind but on another file, that precedes the clock in every engine."""
    records, record, corner, bands = (WARMUP,), np.zeros(1, np.intp), np.full(1, 16), ("B04",)
    if isinstance(timed, Windows):
        return _windows("warmup", records, record, corner, corner, size=16, bands=bands)
    lon, lat = lonlat(records, record, corner + 0.5, corner + 0.5)
    return Points(name="warmup", records=records, bands=bands, lon=lon, lat=lat, record=record, row=corner, col=corner)
