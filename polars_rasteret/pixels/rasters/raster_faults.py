"""Which faults of a raster value prevent reading its pixels, or placing coordinates in it?

A value may come from a foreign table, so each field is checked before it is used. A fault belongs to the rows with that value;
other rows are still read.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from polars_rasteret.assemble.values import check_lossless
from polars_rasteret.engine import PixelReference, unpacked
from polars_rasteret.errors import FileFormatError, RasteretError, UsageError
from polars_rasteret.geo.crs import NATIVE, normalize_crs, transform_xy
from polars_rasteret.hrefs import shown
from polars_rasteret.profile import record_error
from polars_rasteret.schema import PIXEL_DTYPES, RASTER_FIELDS
from polars_rasteret.tiff.band_tiles import BandTiles, Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_PIXELS = tuple(PIXEL_DTYPES.values())
_WHOLE = tuple(dtype for dtype in _PIXELS if dtype.is_integer())


def _is_of_numbers(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Array | pl.List) and dtype.inner.is_numeric()


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "href": ("text", lambda dtype: dtype == pl.String),
    "band_index": ("whole numbers", _WHOLE.__contains__),
    "crs": ("text", lambda dtype: dtype in (pl.String, pl.Null)),
    "transform": ("six numbers", lambda dtype: dtype == pl.Null or _is_of_numbers(dtype)),
    "width": ("whole numbers", _WHOLE.__contains__),
    "height": ("whole numbers", _WHOLE.__contains__),
    "nodata": ("the dtype of the pixels", _PIXELS.__contains__),
    "scale": ("numbers", lambda dtype: dtype.is_numeric() or dtype == pl.Null),
    "offset": ("numbers", lambda dtype: dtype.is_numeric() or dtype == pl.Null),
    "tiles": ("bytes", lambda dtype: dtype == pl.Binary),
}
NO_SIDECARS = "sidecar files (.aux.xml, .tfw, .msk, .ovr) are not read"
_NO_BYTES = np.zeros(1, np.int64)


class RasterValue(NamedTuple):
    """Fields of one raster value that a read needs; any may be null."""

    tiles: bytes | None
    href: str | None
    band_index: int | None
    width: int | None
    height: int | None
    transform: list[float | None] | None
    crs: str | None
    nodata: Any


def check_fields(name: str, dtype: pl.DataType) -> None:
    """Raise when a column lacks a field of a raster column, or has a field of another type.

    Raises
    ------
    UsageError
        The message names the column and the field.
    """
    where = "Raster columns come from a collection (pr.scan_collection, pr.build_from_files)."
    fields = {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    if missing := [field for field in RASTER_FIELDS if field not in fields]:
        lacking = (
            f"its field{'s' * (len(missing) > 1)} {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing"
        )
        raise UsageError(
            f"column {name!r} is not a raster column: expected a Struct with the fields {', '.join(RASTER_FIELDS)}, "
            + (f"but {lacking}. {where}" if fields else f"got {dtype}. {where}")
        )
    for field, (expected, is_right) in _KINDS.items():
        if not is_right(fields[field]):
            raise UsageError(f"column {name!r}: its field {field!r} is {fields[field]}; expected {expected}. {where}")


def reference_of(
    value: RasterValue, dtype: np.dtype[np.generic], name: str
) -> tuple[PixelReference, RasteretError | None]:
    """Return the reference that the engine reads for a raster value, and the value's fault (None: no fault).

    For a faulty value the reference has no tiles, but the size in the value or in its tiles. So windows can be placed on it; its
    pixels must not be read.
    """
    href, tiles = value.href or "", None
    try:
        if value.href is None or value.tiles is None:
            missing = "href" if value.href is None else "tiles"
            raise FileFormatError(f"the field {missing!r} of the raster value is null")  # noqa: TRY301
        tiles = unpacked(value.tiles)
        _check_numbers(value, tiles)
        if tiles.dtype != dtype:
            check_lossless(tiles.dtype, dtype, label=name, href=href)
        nodata = None if value.nodata is None else dtype.type(value.nodata)
        assert value.band_index is not None
        return PixelReference(href=href, band_index=value.band_index, tiles=tiles, nodata=nodata), None
    except (FileFormatError, UsageError) as error:
        told = str(error).removeprefix(f"{name}: ")
        where = name if not href or shown(href) in told else f"{name}: {shown(href)}"
        return PixelReference(href=href, band_index=0, tiles=_no_tiles(value, tiles, dtype)), type(error)(
            f"{where}: {told}"
        )


def _check_numbers(value: RasterValue, tiles: BandTiles) -> None:
    full = tiles.images[0]
    if (value.width, value.height) != (full.width, full.height):
        raise FileFormatError(
            f"width and height are {value.width} and {value.height}, but its tiles are those of an image of {full.width} x "
            f"{full.height} pixels; the fields of a raster value belong together. Index the file again."
        )
    if tiles.plane is not None and value.band_index != tiles.plane:
        raise FileFormatError(
            f"band_index is {value.band_index}, but its tiles are those of band {tiles.plane} of a file that keeps bands apart; "
            "take the value of the band itself, or index the file again."
        )
    # A table of one plane that does not name its band may belong to any band.
    n_bands = tiles.samples_per_tile if tiles.planar == 1 else 1 << 16
    if value.band_index is None or not 0 <= value.band_index < n_bands:
        raise FileFormatError(
            f"band_index is {value.band_index}, but the file has bands 0 to {n_bands - 1}; take the value of the band itself, or "
            "index the file again."
        )
    if value.transform is not None and not spans_pixels(value.transform):
        raise FileFormatError(
            f"transform is {value.transform}; expected six finite numbers a, b, c, d, e, f that span a pixel, or null "
            "without georeferencing."
        )


def spans_pixels(transform: list[float | None]) -> bool:
    """Return whether six numbers are an affine transform that can be inverted; null numbers cannot."""
    a, b, _, d, e, _ = numbers = [math.nan if one is None else one for one in transform]
    return all(map(math.isfinite, numbers)) and a * e != b * d


def _no_tiles(value: RasterValue, tiles: BandTiles | None, dtype: np.dtype[np.generic]) -> BandTiles:
    """Return a tile table without bytes, for a value that must not be read; its image has no pixels when no size is known."""
    full = None if tiles is None else tiles.images[0]
    width = max(value.width or 0, 0 if full is None else full.width)
    height = max(value.height or 0, 0 if full is None else full.height)
    image = Image(
        width=width,
        height=height,
        tile_width=max(width, 1),
        tile_height=max(height, 1),
        byte_start=_NO_BYTES,
        byte_count=_NO_BYTES,
    )
    return BandTiles(
        dtype=dtype,
        byte_order="<",
        bits_per_sample=dtype.itemsize * 8,
        compression=1,
        predictor=1,
        samples_per_tile=1,
        planar=1,
        nodata=None,
        ignore_nodata=False,
        images=(image,),
        file_size=None,
        etag=None,
        last_modified=None,
    )


def placing_fault(
    name: str, href: str, crs: str | None, transform: NDArray[np.float64], targets_in: str
) -> RasteretError | None:
    """Return why map coordinates in the CRS `targets_in` cannot be placed in a raster; None when they can.

    A `UsageError` when the file is not georeferenced; a `FileFormatError` when the raster's CRS is damaged.
    """
    no_grid = not np.isfinite(transform).all()
    if no_grid or (crs is None and targets_in != NATIVE):
        return UsageError(
            f"{name}: {shown(href)} has no {'transform' if no_grid else 'CRS'}, so map "
            "coordinates cannot be placed in it. Read it by pixels (read_window(window=...))"
            + ("" if no_grid else ", or pass crs='native' with coordinates in the file's own system")
            + f"; {NO_SIDECARS}."
        )
    if crs is None or targets_in == NATIVE:
        return None
    error = _no_way(targets_in, crs)
    return None if error is None else type(error)(f"{name}: {shown(href)}: {error}")


@lru_cache(maxsize=1024)
def _no_way(source: str, target: str) -> RasteretError | None:
    """Return why coordinates cannot be transformed from one CRS to another; None when they can."""
    if source == target:
        return None
    try:
        normalize_crs(target)
    except UsageError as error:
        return FileFormatError(str(error))
    try:
        transform_xy(source, target, np.zeros(1), np.zeros(1))
    except UsageError as error:
        return UsageError(str(error))
    return None


def tell_faults(faults: Mapping[int, RasteretError], *, on_error: str) -> dict[int, str]:
    """Return the reason of each row with a faulty raster value; raise the first fault when `on_error` is ``"raise"``."""
    if faults and on_error == "raise":
        raise next(iter(faults.values()))
    reasons = {row: str(error) for row, error in faults.items()}
    for reason in reasons.values():
        record_error(reason)
    return reasons
