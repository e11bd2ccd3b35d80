"""How do the pixels of one record in many geometries become arrays, datasets or a GeoDataFrame?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.arguments import check_choice
from polars_rasteret.errors import UsageError
from polars_rasteret.export.geodataframe import geodataframe, objects, pandas_column
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.handles.datasets import dataset_of
from polars_rasteret.handles.places import geometries_of, places_of
from polars_rasteret.handles.record_pixels import read_record
from polars_rasteret.pairing.geometry_columns import wkb_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas
    import polars as pl
    import xarray
    from numpy.typing import NDArray

    from polars_rasteret.handles.record_pixels import ReadWords, RecordPixels

FORMS = ("numpy", "xarray", "geopandas")


def load(
    rasters: Sequence[pl.Series], geometries: Any, words: ReadWords, *, as_: str, crs: Any, record: dict[str, Any]
) -> Any:
    """Return the pixels of one record in each geometry.

    Parameters
    ----------
    rasters
        Raster column of each band, with one row.
    geometries, crs
        As in `RasterHandle.load`.
    words
        How pixels are read.
    as_
        One of `FORMS`.
    record
        Columns ``id`` and ``datetime`` of the record.
    """
    check_choice("load", "as_", as_, FORMS)
    frame, name = geometries_of("load", geometries)
    places = places_of("load", frame[name], crs)
    found = read_record(rasters, places, words, want_stack=as_ == "numpy") if places.n else None
    bands = [one.name for one in rasters]
    loaded = _Loaded(bands=bands, found=found, masked=words.masked, record=record)
    if as_ == "numpy":
        return [loaded.array(row) for row in range(places.n)]
    if as_ == "xarray":
        return [loaded.dataset(row) for row in range(places.n)]
    return loaded.geodataframe(frame, name, None if places.crs == NATIVE else places.crs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """Pixels of one record in some geometries, before they take the form that the caller wants."""

    bands: list[str]
    found: RecordPixels | None
    """None where there is no geometry."""
    masked: bool
    record: dict[str, Any]

    def is_met(self, row: int) -> bool:
        """Return whether the geometry of a row meets the image."""
        return self.found is not None and bool(self.found.grids.has_grid[row])

    def array(self, row: int) -> NDArray[Any] | None:
        """Return the pixels of one geometry, shape (bands, height, width); None where it does not meet the image."""
        if self.found is None or not self.is_met(row):
            return None
        values = self.found.values(row)
        return np.ma.MaskedArray(values, ~self.found.valid(row)) if self.masked else values

    def dataset(self, row: int) -> xarray.Dataset | None:
        """Return the pixels of one geometry as a Dataset; None where it does not meet the image."""
        if self.found is None or not self.is_met(row):
            return None
        return dataset_of(self.found, row, masked=self.masked, record=self.record)

    def geodataframe(self, frame: pl.DataFrame, name: str, crs: str | None) -> geopandas.GeoDataFrame:
        """Return the caller's rows with the record, the windows of the bands, their transform and CRS."""
        rows = range(frame.height)
        columns = {one.name: pandas_column(one) for one in frame.drop(name).iter_columns()}
        added: dict[str, Any] = {key: objects([value] * frame.height) for key, value in self.record.items()}
        added |= {band: objects([self._cell(row, at) for row in rows]) for at, band in enumerate(self.bands)}
        added["transform"] = objects([self._transform(row) for row in rows])
        added["raster_crs"] = objects(
            [self.found.grids.crs[row] if self.found and self.is_met(row) else None for row in rows]
        )
        if taken := [key for key in added if key in columns or key == name]:
            raise UsageError(
                f"load: the table has columns {', '.join(taken)}, which the answer has, too; rename these first"
            )
        shapes = parsed(wkb_array(frame[name], crs or NATIVE))
        return geodataframe({**columns, **added}, shapely.set_srid(shapes, 0), crs or self._crs(), geometry=name)

    def _cell(self, row: int, band: int) -> NDArray[Any] | None:
        if self.found is None or not self.is_met(row):
            return None
        values = self.found.band_values(row, band)
        return np.ma.MaskedArray(values, ~self.found.valid(row)[band]) if self.masked else values

    def _transform(self, row: int) -> tuple[float, ...] | None:
        return tuple(self.found.grids.transform[row].tolist()) if self.found and self.is_met(row) else None

    def _crs(self) -> str | None:
        """Return the CRS of the pixels, which is that of geometries in native coordinates."""
        known = [] if self.found is None else [one for one in self.found.grids.crs.tolist() if one is not None]
        return known[0] if known else None
