"""What does a raster value say of its band, and a record of its place, without any reading?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import masking_value
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.geo.crs import same_crs
from polars_rasteret.options import current_options
from polars_rasteret.pixels.rasters.own_tables import columns_with_own_tables
from polars_rasteret.pixels.rasters.raster_column import raster_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandMetadata:
    """Facts of one band of a record, from its reference alone."""

    band: str
    href: str
    band_index: int
    """0-based band of the file."""
    crs: str | None
    """``EPSG:n``, or WKT where there is no code; None where the file names none."""
    transform: tuple[float, float, float, float, float, float] | None
    """``a, b, c, d, e, f``, as in rasterio; None without georeferencing."""
    width: int
    height: int
    dtype: np.dtype[Any]
    nodata: int | float | None
    """Pixel value that is null: the collection's, else the file's."""
    scale: float | None
    offset: float | None
    tile_width: int
    tile_height: int
    n_tiles: int
    overviews: tuple[tuple[int, int], ...]
    """``(height, width)`` of each overview, the largest first."""
    compression: int
    """TIFF tag 259: 1 none, 5 LZW, 7 JPEG, 8 DEFLATE, 50000 ZSTD, ..."""
    predictor: int
    is_interleaved: bool
    """Whether the tiles hold all bands of the file (PlanarConfiguration 1)."""

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Size of a pixel along x and along y, in units of the CRS; None without georeferencing."""
        if self.transform is None:
            return None
        a, b, _, d, e, _ = self.transform
        return float(np.hypot(a, d)), float(np.hypot(b, e))

    @property
    def bounds(self) -> Bounds | None:
        """``(minx, miny, maxx, maxy)`` in the CRS of the band; None without georeferencing."""
        if self.transform is None:
            return None
        row, col = np.array([0, 0, self.height, self.height]), np.array([0, self.width, 0, self.width])
        x, y = map_coordinates(np.array(self.transform), row, col)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def band_metadata(raster: pl.Series) -> BandMetadata:
    """Return the facts of a raster column with one row.

    Raises
    ------
    UsageError, FileFormatError
        When the raster value is damaged.
    """
    column = raster_column(raster)
    (column,) = columns_with_own_tables([column], [column.reference_id], current_options(on_error="raise").begun())
    for fault in column.faults.values():
        raise fault
    reference, value = column.references[0], raster[0]
    tiles, grid = reference.tiles, column.grids.grid(0)
    image = tiles.images[0]
    nodata = masking_value(tiles, reference.nodata)
    return BandMetadata(
        band=raster.name,
        href=reference.href,
        band_index=int(value["band_index"]),
        crs=grid.crs,
        transform=grid.transform if np.isfinite(grid.transform).all() else None,
        width=image.width,
        height=image.height,
        dtype=tiles.dtype,
        nodata=None if nodata is None else nodata.item(),
        scale=value["scale"],
        offset=value["offset"],
        tile_width=image.tile_width,
        tile_height=image.tile_height,
        n_tiles=len(image.byte_start),
        overviews=tuple((one.height, one.width) for one in tiles.images[1:]),
        compression=image.compression,
        predictor=image.predictor,
        is_interleaved=tiles.planar == 1,
    )


def common_crs(bands: Sequence[BandMetadata], *, label: str) -> str | None:
    """Return the CRS of all bands.

    Raises
    ------
    UsageError
        When bands are in several CRSs.
    """
    first, *others = bands
    for one in others:
        if one.crs != first.crs and not (one.crs and first.crs and same_crs(one.crs, first.crs)):
            raise UsageError(
                f"{label}: band {first.band} is in {first.crs}, band {one.band} in {one.crs}; ask .metadata(band) for each"
            )
    return first.crs


def common_bounds(bands: Sequence[BandMetadata], *, label: str) -> Bounds | None:
    """Return the bounds of all bands in their CRS; None when no band is georeferenced."""
    common_crs(bands, label=label)
    each = np.array([one.bounds for one in bands if one.bounds is not None])
    if not len(each):
        return None
    (minx, miny), (maxx, maxy) = each[:, :2].min(axis=0).tolist(), each[:, 2:].max(axis=0).tolist()
    return minx, miny, maxx, maxy
