"""How do headers become the columns of a table of records?

Columns are made in bulk: each distinct (file, band) once, then gathered to its records. Where files and times come from belongs
in `build_from_files` and `build_from_table`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.geo.antimeridian import geometry_bounds
from polars_rasteret.geo.boxes import merge_bounds
from polars_rasteret.geo.footprints import Footprints, image_footprints
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.hrefs import shown
from polars_rasteret.ingest.headers import Header, Unreadable
from polars_rasteret.schema import (
    BBOX,
    PIXEL_DTYPES,
    RECORD_COLUMNS,
    lossless_supertype,
    raster_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_WIDENED: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.float32), "bool": np.dtype(np.uint8)}
"""Sample formats without a Polars dtype, to the dtype that holds their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandFiles:
    """The file and band of each record in one band column of the collection."""

    name: str
    file_id: NDArray[np.int64]
    """Index into the headers, shape (n_records,); -1: this record has no such band."""
    band_index: NDArray[np.int64]
    """0-based band of that file, shape (n_records,)."""


@dataclass(slots=True, kw_only=True)
class _Planes:
    """The distinct (file, band) pairs of one band column."""

    plane_of_record: NDArray[np.int64]
    file_id: NDArray[np.int64]
    band_index: NDArray[np.int64]
    refused: dict[int, str]
    """Index of each plane that cannot be used, to the reason."""


def check_band_names(names: Sequence[str], taken: Sequence[str] = ()) -> None:
    """Refuse band names that are empty, repeated or names of record columns.

    Raises
    ------
    UsageError
        For such a name; the message tells it.
    """
    for name, count in Counter(names).items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"band name {name!r}; expected a text that is not empty")
        if count > 1:
            raise UsageError(
                f"band name {name!r} is given {count} times; every band is a column and needs its own name"
            )
        if name in RECORD_COLUMNS or name in taken:
            raise UsageError(f"band name {name!r} is the name of a record column; choose another one for the band")


def own_band_names(header: Header) -> list[str]:
    """Return the names of the bands of a file: their descriptions where all can be column names, else b1, b2, ..."""
    names = [(text or "").strip() for text in header.descriptions]
    if (
        len(names) == header.n_bands
        and all(names)
        and len(set(names)) == len(names)
        and not RECORD_COLUMNS.keys() & names
    ):
        return names
    return [f"b{number}" for number in range(1, header.n_bands + 1)]


def records_frame(
    base: pl.DataFrame,
    bands: Sequence[BandFiles],
    headers: Sequence[Header | Unreadable],
    *,
    on_error: str,
    accepted: Mapping[str, np.dtype[np.generic]] | None = None,
) -> pl.DataFrame:
    """Return the records: time, place, header errors, the caller's columns, one raster column per band.

    Parameters
    ----------
    base
        One row per record: any of `RECORD_COLUMNS` that are known already, with their dtypes, and the caller's own columns.
    bands
        The file and band of each record, per band column.
    headers
        One entry per file id.
    on_error
        ``"null"``: a file that cannot be used becomes a null raster, with a reason in ``header_error``. ``"raise"``: such a file
        raises an error.
    accepted
        Pixel dtypes of bands in the rest of the collection, which the files must fit.

    Returns
    -------
    DataFrame
        Columns of `RECORD_COLUMNS`, the caller's columns, the bands.
    """
    if on_error not in ("raise", "null"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'null'")
    n_records = base.height
    grid_of_file, footprints = _grids(headers)
    crs_of_file = [header.crs if isinstance(header, Header) else None for header in headers]
    columns, files_of_bands, told = raster_series(bands, headers, n_records, on_error=on_error, accepted=accepted)
    grid_ids = [np.append(grid_of_file, -1)[files] for files in files_of_bands]
    geometry, bounds = _places(grid_ids, footprints.geometry, footprints.bounds, n_records)
    known = _known_places(base, geometry, bounds)
    projection = _projection(files_of_bands, crs_of_file, n_records)
    made: dict[str, pl.Series] = {
        **known,
        "proj:code": pl.Series(projection, dtype=pl.String),
        "proj:epsg": pl.Series([_epsg(code) for code in projection], dtype=pl.Int32),
        "indexed_at": pl.repeat(dt.datetime.now(dt.UTC), n_records, dtype=RECORD_COLUMNS["indexed_at"], eager=True),
        "header_error": pl.Series(told, dtype=pl.String),
    }
    for name in ("proj:code", "proj:epsg"):
        if name in base.columns:
            made[name] = pl.select(pl.coalesce(made[name], base[name])).to_series()
    record_columns = [
        made[name].rename(name)
        if name in made
        else base[name]
        if name in base.columns
        else pl.repeat(None, n_records, dtype=dtype, eager=True).rename(name)
        for name, dtype in RECORD_COLUMNS.items()
    ]
    band_names = {band.name for band in bands}
    extra = [base[name] for name in base.columns if name not in RECORD_COLUMNS and name not in band_names]
    return pl.DataFrame([*record_columns, *extra, *columns])


def raster_series(
    bands: Sequence[BandFiles],
    headers: Sequence[Header | Unreadable],
    n_records: int,
    *,
    on_error: str,
    accepted: Mapping[str, np.dtype[np.generic]] | None = None,
) -> tuple[list[pl.Series], list[NDArray[np.int64]], list[str | None]]:
    """Return the raster columns, the files that they refer to (-1: none), and the reasons of each record.

    Parameters are those of `records_frame`.
    """
    reasons: dict[int, dict[str, list[str]]] = {}
    columns: list[pl.Series] = []
    files_of_bands: list[NDArray[np.int64]] = []
    for band in bands:
        planes = _planes(band, headers, on_error)
        dtype = _settle_dtype(band.name, planes, headers, on_error, (accepted or {}).get(band.name))
        columns.append(_raster_series(band.name, planes, headers, dtype))
        for plane, reason in {**_without_crs(planes, headers), **planes.refused}.items():
            for record in np.flatnonzero(planes.plane_of_record == plane):
                reasons.setdefault(int(record), {}).setdefault(reason, []).append(band.name)
        readable = np.ones(len(planes.file_id) + 1, dtype=bool)
        readable[list(planes.refused)] = False
        readable[-1] = False  # what plane -1 looks up
        files_of_bands.append(np.where(readable[planes.plane_of_record], band.file_id, -1))
    told = [
        "; ".join(f"{_named(names)}: {reason}" for reason, names in reasons[record].items())
        if record in reasons
        else None
        for record in range(n_records)
    ]
    return columns, files_of_bands, told


def _named(bands: Sequence[str]) -> str:
    """Return the names of bands that share a reason, as a text; of dozens only the first few."""
    return ", ".join(bands) if len(bands) <= 5 else f"{', '.join(bands[:3])} and {len(bands) - 3} more"


def _planes(band: BandFiles, headers: Sequence[Header | Unreadable], on_error: str) -> _Planes:
    key = np.where(band.file_id < 0, -1, band.file_id * 65_536 + band.band_index)
    distinct, plane_of_record = np.unique(key, return_inverse=True)
    if len(distinct) and distinct[0] < 0:
        distinct, plane_of_record = distinct[1:], plane_of_record - 1
    file_id, band_index = distinct // 65_536, distinct % 65_536
    refused: dict[int, str] = {}
    for plane, (file, index) in enumerate(zip(file_id.tolist(), band_index.tolist(), strict=True)):
        header = headers[file]
        if isinstance(header, Unreadable):
            if on_error == "raise":
                raise header.error
            reason = header.reason
        elif index >= header.n_bands:
            reason = f"{shown(header.href)} has {header.n_bands} band(s), so there is no band index {index} (they count from 0)"
        elif index in header.refused:
            reason = header.refused[index]
        elif _held_by(header.dtype) is None:
            reason = f"{shown(header.href)}: samples are {header.dtype}, which Polars has no dtype for"
        else:
            continue
        if on_error == "raise":
            raise FileFormatError(f"{band.name}: {reason}")
        refused[plane] = reason
    return _Planes(plane_of_record=plane_of_record, file_id=file_id, band_index=band_index, refused=refused)


def _without_crs(planes: _Planes, headers: Sequence[Header | Unreadable]) -> dict[int, str]:
    """Return why bands have no CRS although their files describe one. Such bands are read in their own coordinates."""
    found: dict[int, str] = {}
    for plane, file in enumerate(planes.file_id.tolist()):
        header = headers[file]
        if isinstance(header, Header) and header.crs_refusal is not None:
            found[plane] = (
                f"{header.href} has no CRS that is read: {header.crs_refusal}; only crs='native' finds its pixels"
            )
    return found


def _held_by(dtype: np.dtype[np.generic]) -> np.dtype[Any] | None:
    """Return the pixel dtype that holds a native sample format; None where no dtype does."""
    if dtype.name in PIXEL_DTYPES:
        return np.dtype(dtype.name)
    return _WIDENED.get(dtype.name)


def _settle_dtype(
    band: str,
    planes: _Planes,
    headers: Sequence[Header | Unreadable],
    on_error: str,
    others: np.dtype[np.generic] | None,
) -> pl.DataType:
    """Return the pixel dtype of a band, and refuse files whose values it cannot hold; the commonest format decides."""
    dtypes: dict[int, np.dtype[np.generic]] = {}
    for plane, file in enumerate(planes.file_id.tolist()):
        header = headers[file]
        if plane not in planes.refused and isinstance(header, Header) and (held := _held_by(header.dtype)) is not None:
            dtypes[plane] = held
    if not dtypes:
        return pl.UInt8()
    accepted: list[np.dtype[np.generic]] = [] if others is None else [others]
    for dtype, _ in Counter(dtypes.values()).most_common():
        if lossless_supertype([*accepted, dtype]) is not None:
            accepted.append(dtype)
    settled = lossless_supertype(accepted)
    assert settled is not None
    for plane, dtype in dtypes.items():
        if dtype not in accepted:
            reason = (
                f"{shown(headers[int(planes.file_id[plane])].href)}: pixels are {dtype}, and no dtype holds these and the "
                f"{settled} of the other files exactly; build these files as a collection of their own"
            )
            if on_error == "raise":
                raise FileFormatError(f"{band}: {reason}")
            planes.refused[plane] = reason
    return PIXEL_DTYPES[settled.name]


def _raster_series(name: str, planes: _Planes, headers: Sequence[Header | Unreadable], dtype: pl.DataType) -> pl.Series:
    """Return the raster column: one struct per plane, gathered to the records."""
    rows: list[tuple[Header, int] | None] = []
    for plane, (file, index) in enumerate(zip(planes.file_id.tolist(), planes.band_index.tolist(), strict=True)):
        header = headers[file]
        rows.append((header, index) if plane not in planes.refused and isinstance(header, Header) else None)
    kept = [row for row in rows if row is not None]
    struct = raster_dtype(dtype)
    fields = {field.name: field.dtype for field in struct.fields}
    transforms = np.array([header.transform or [np.nan] * 6 for header, _ in kept], dtype=np.float64).reshape(-1, 6)
    placed = pl.Series([header.transform is not None for header, _ in kept], dtype=pl.Boolean)
    values: dict[str, pl.Series] = {
        "href": pl.Series([header.href for header, _ in kept], dtype=fields["href"]),
        "band_index": pl.Series([index for _, index in kept], dtype=fields["band_index"]),
        "crs": pl.Series([header.crs for header, _ in kept], dtype=fields["crs"]),
        "transform": pl.Series(transforms, dtype=fields["transform"]),
        "width": pl.Series([header.width for header, _ in kept], dtype=fields["width"]),
        "height": pl.Series([header.height for header, _ in kept], dtype=fields["height"]),
        "nodata": pl.repeat(None, len(kept), dtype=dtype, eager=True),
        "scale": pl.Series([_at(header.scales, index) for header, index in kept], dtype=fields["scale"]),
        "offset": pl.Series([_at(header.offsets, index) for header, index in kept], dtype=fields["offset"]),
        "tiles": pl.Series([header.tiles[index] for header, index in kept], dtype=fields["tiles"]),
    }
    frame = pl.DataFrame(values)
    if not placed.all():
        frame = frame.with_columns(pl.when(placed).then("transform"))
    references = frame.select(pl.struct(pl.all()).alias(name)).to_series().cast(struct)
    position = np.cumsum([row is not None for row in rows]) - 1
    position = np.where([row is None for row in rows], -1, position).astype(np.int64) if rows else np.empty(0, np.int64)
    of_record = np.append(position, -1)[planes.plane_of_record]
    index = pl.Series(of_record, dtype=pl.Int64)
    return references.gather(pl.select(pl.when(index >= 0).then(index)).to_series()).rename(name)


def _at(values: Sequence[float | None], index: int) -> float | None:
    value = values[index] if index < len(values) else None
    return None if value is None else float(value)


def _grids(headers: Sequence[Header | Unreadable]) -> tuple[NDArray[np.int64], Footprints]:
    """Return the number of the pixel grid of each file (-1: unreadable), and the footprints of the distinct grids."""
    distinct: dict[tuple[str | None, tuple[float, ...] | None, int, int], int] = {}
    grid_of_file = np.full(len(headers), -1, dtype=np.int64)
    for file, header in enumerate(headers):
        if isinstance(header, Header):
            grid = (header.crs, header.transform, header.width, header.height)
            grid_of_file[file] = distinct.setdefault(grid, len(distinct))
    footprints = image_footprints(
        [crs for crs, *_ in distinct],
        np.array([transform or (np.nan,) * 6 for _, transform, *_ in distinct], dtype=np.float64).reshape(-1, 6),
        np.array([width for *_, width, _ in distinct], dtype=np.int64),
        np.array([height for *_, height in distinct], dtype=np.int64),
    )
    return grid_of_file, footprints


def _places(
    grid_ids: Sequence[NDArray[np.int64]],
    grid_geometry: NDArray[np.object_],
    grid_bounds: NDArray[np.float64],
    n_records: int,
) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return the union of the footprints of the bands of each record, and bounds that enclose that union."""
    geometry_of = np.concatenate([grid_geometry, np.array([None], dtype=object)])
    bounds_of = np.concatenate([grid_bounds, np.full((1, 4), np.nan)])
    bounds = np.full((n_records, 4), np.nan)
    geometry = np.full(n_records, None, dtype=object)
    first = np.full(n_records, -1, dtype=np.int64)
    differing = np.zeros(n_records, dtype=bool)
    for grid_id in grid_ids:
        opens = (first < 0) & (grid_id >= 0)
        bounds[opens] = bounds_of[grid_id[opens]]
        geometry[opens] = geometry_of[grid_id[opens]]
        first[opens] = grid_id[opens]
        other = (grid_id >= 0) & (grid_id != first)
        if other.any():
            bounds[other] = merge_bounds(bounds[other], bounds_of[grid_id[other]])
            # Bands of 10 and 20 m pixels usually share their outline; only others need a union.
            same = shapely.equals_exact(geometry[other], geometry_of[grid_id[other]], tolerance=1e-9)
            differing[np.flatnonzero(other)[~same]] = True
    for record in np.flatnonzero(differing):
        parts = {int(grid_id[record]) for grid_id in grid_ids} - {-1}
        geometry[record] = shapely.union_all([geometry_of[part] for part in sorted(parts)])
    return geometry, bounds


def _known_places(
    base: pl.DataFrame, geometry: NDArray[np.object_], bounds: NDArray[np.float64]
) -> dict[str, pl.Series]:
    """Return the places with the caller's footprints kept, and ``bbox`` enclosing them too."""
    wkb = pl.Series(list(shapely.to_wkb(geometry)), dtype=pl.Binary)
    if "geometry" in base.columns:
        given = parsed(base["geometry"].to_list())
        bounds = merge_bounds(bounds, geometry_bounds(np.asarray(given, dtype=object).reshape(-1)))
        wkb = pl.select(pl.coalesce(base["geometry"], wkb)).to_series()
    sides = pl.DataFrame(bounds, schema=["xmin", "ymin", "xmax", "ymax"], orient="row").fill_nan(None)
    bbox = sides.select(
        pl.when(pl.col("xmin").is_not_null()).then(pl.struct("xmin", "ymin", "xmax", "ymax")).alias("bbox")
    ).to_series()
    if "bbox" in base.columns:
        bbox = pl.select(pl.coalesce(bbox, base["bbox"])).to_series()
    return {"geometry": wkb, "bbox": bbox.cast(BBOX)}


def _projection(
    files_of_bands: Sequence[NDArray[np.int64]], crs_of_file: Sequence[str | None], n_records: int
) -> list[str | None]:
    """Return the authority code that all bands of a record share, or None."""
    codes = [crs if crs is not None and ":" in crs and len(crs) < 40 else None for crs in crs_of_file]
    distinct = sorted({code for code in codes if code is not None})
    number = {code: index for index, code in enumerate(distinct)}
    of_file = np.array([-2 if code is None else number[code] for code in codes] + [-1], dtype=np.int64)
    shared = np.full(n_records, -1, dtype=np.int64)
    for files in files_of_bands:
        mine = of_file[files]
        shared = np.where(mine == -1, shared, np.where(shared == -1, mine, np.where(shared == mine, shared, -2)))
    return [distinct[index] if index >= 0 else None for index in shared.tolist()]


def _epsg(code: str | None) -> int | None:
    return int(code[5:]) if code is not None and code.startswith("EPSG:") and code[5:].isdecimal() else None
