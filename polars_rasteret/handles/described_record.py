"""What does one record at hand say of itself, without reading pixels?

What a handle holds is one row of a collection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely

from polars_rasteret.arguments import checked_bands
from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.queries.spatial import intersects
from polars_rasteret.errors import UsageError
from polars_rasteret.handles.facts import band_metadata, common_bounds, common_crs
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.handles.facts import BandMetadata, Bounds


class DescribedRecord:
    """One row of a collection, with what it says of its bands and its place."""

    def __init__(self, row: pl.DataFrame) -> None:
        self._row = row
        names = raster_columns(row.schema)
        if not names:
            raise UsageError(f"the row has no raster column; it has {', '.join(row.columns) or 'no column'}")
        self._bands = [name for name in names if row[name][0] is not None and row[name][0]["href"] is not None]

    def __repr__(self) -> str:
        place = "" if not self._bands else f", crs={self.metadata(self._bands[0]).crs}"
        return f"<RasterHandle {self.id!r}, bands={self._bands}{place}>"

    @property
    def id(self) -> str | None:
        """Id of the record; None where the row has none."""
        value = self.record.get("id")
        return None if value is None else str(value)

    @property
    def datetime(self) -> dt.datetime | None:
        """Time of the record, in UTC; None where it is not known."""
        return self.record.get("datetime")

    @property
    def bands(self) -> list[str]:
        """Names of the bands that the record has."""
        return list(self._bands)

    @property
    def record(self) -> dict[str, Any]:
        """Columns of the row that are no bands, such as ``eo:cloud_cover``."""
        return self._row.drop(raster_columns(self._row.schema)).row(0, named=True)

    @property
    def geometry(self) -> Any:
        """Footprint in longitude and latitude, as a shapely geometry; None for a record without a place."""
        wkb = with_places(self._row)["geometry"][0]
        return None if wkb is None else shapely.from_wkb(wkb)

    @property
    def crs(self) -> str | None:
        """CRS of the pixels, ``EPSG:n`` or WKT; None where the files name none."""
        return common_crs([self.metadata(name) for name in self._named(None)], label=self._label)

    @property
    def bounds(self) -> Bounds | None:
        """``(minx, miny, maxx, maxy)`` of all bands in `crs`; None without georeferencing."""
        return common_bounds([self.metadata(name) for name in self._named(None)], label=self._label)

    def metadata(self, band: str) -> BandMetadata:
        """Return what the reference of a band says: grid, dtype, nodata, scale, tiles, overviews; nothing is read.

        Parameters
        ----------
        band
            Name of a band.

        Returns
        -------
        BandMetadata
            Fields ``href``, ``band_index``, ``crs``, ``transform``, ``width``, ``height``, ``dtype``, ``nodata``, ``scale``,
            ``offset``, ``tile_width``, ``tile_height``, ``n_tiles``, ``overviews``, ``resolution``, ``bounds``, ...

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> red = pr.open(pr.testing.example_scenes().head(1)).metadata("red")
        >>> red.height, red.width, red.dtype, red.nodata, red.resolution
        (64, 64, dtype('uint16'), 0, (10.0, 10.0))
        """
        return band_metadata(self._row[self._named(band)[0]])

    def intersects(self, geometry: Any, crs: Any = None) -> bool:
        """Return whether the footprint meets a geometry or bounds.

        Parameters
        ----------
        geometry, crs
            As in ``lf.raster.intersects``; without `crs` longitude and latitude.

        Returns
        -------
        bool
            Whether they meet.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scene = pr.open(pr.testing.example_scenes().head(1))
        >>> scene.intersects((9.0, 45.1, 9.01, 45.2)), scene.intersects((500_000, 5_100_000, 500_010, 5_100_010), crs=32632)
        (True, False)
        """
        return intersects(self._row.lazy(), geometry, crs).collect().height == 1

    @property
    def _label(self) -> str:
        return f"record {self.id!r}"

    def _named(self, bands: str | Sequence[str] | None) -> list[str]:
        """Return the names of bands that the record has; all for None."""
        if bands is None:
            if not self._bands:
                raise UsageError(f"{self._label} has no raster in any band; its header_error says why")
            return self._bands
        names = list(checked_bands("bands", bands))
        if missing := [name for name in names if name not in self._bands]:
            raise UsageError(
                f"{self._label} has no band {', '.join(missing)}; it has {', '.join(self._bands) or 'none'}"
            )
        return names
