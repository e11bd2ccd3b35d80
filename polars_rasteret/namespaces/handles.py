"""Which methods of ``.raster`` hand a collection on: record by record, or to other libraries?

Methods are thin: they document a call and pass it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import geopandas
    import polars as pl
    import pyarrow as pa

    from polars_rasteret.handles.handle import RasterHandle


class Handles:
    """Methods that hand a collection on: a LazyFrame with raster columns."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def iter_rasters(self, bands: str | Sequence[str] | None = None) -> Iterator[RasterHandle]:
        """Return an iterator of handles, one of each record, to read its pixels without a query.

        Parameters
        ----------
        bands
            Names of raster columns; None: all.

        Returns
        -------
        iterator of RasterHandle
            One handle per record, in the order of the rows. The first is ``next(lf.raster.iter_rasters())``.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> for scene in pr.testing.example_scenes().raster.iter_rasters():
        ...     print(scene.id, scene.read("red", window=(0, 1, 0, 2)))
        first [[1000 1001]]
        second [[2000 2001]]
        """
        from polars_rasteret.handles.opening import iter_rasters

        return iter_rasters(self._lf, bands)

    def footprints(self, *, crs: Any = None, band: str | None = None) -> geopandas.GeoDataFrame:
        """Return where the records are, as a GeoDataFrame with the columns ``id`` and ``datetime``.

        Parameters
        ----------
        crs
            CRS of the footprints. None: longitude and latitude.
        band
            Band whose image is outlined. None: the footprint of the record.

        Returns
        -------
        geopandas.GeoDataFrame
            One row per record; the geometry of a record without a place is None.

        Raises
        ------
        UsageError
            When the collection has no such band, or GeoPandas is not installed.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> outlines = pr.testing.example_scenes().raster.footprints(crs=32632)
        >>> outlines["id"].tolist(), [round(side) for side in outlines.total_bounds]
        (['first', 'second'], [500000, 4999360, 500640, 5000000])
        """
        from polars_rasteret.export.footprint_table import footprints

        return footprints(self._lf, crs=crs, band=band)

    def native_resolution(self, band: str | None = None) -> tuple[float, float]:
        """Return the size of a pixel, ``(x, y)``, in units of the CRS of the rasters.

        Parameters
        ----------
        band
            Name of a band; None: the finest band.

        Returns
        -------
        tuple of float
            The finest resolution of all records.

        Raises
        ------
        UsageError
            When records are in CRSs of different units, so that their sizes do not compare, or none is georeferenced.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.native_resolution()
        (10.0, 10.0)
        """
        from polars_rasteret.collection.queries.resolution import native_resolution

        return native_resolution(self._lf, band)

    def to_arrow(self, requested_schema: Any = None) -> pa.Table:
        """Return the collection as an Arrow table whose geometry is ``geoarrow.wkb`` in longitude and latitude.

        Parameters
        ----------
        requested_schema
            Arrow schema of the answer: its columns, in its order and with its types; None: all columns as they are.

        Returns
        -------
        pyarrow.Table
            The columns; other programs (GeoPandas, DuckDB, SedonaDB) know the geometry and its CRS.

        Raises
        ------
        UsageError
            When a column that is requested is not there, or cannot have its type.

        Examples
        --------
        >>> import geopandas as gpd
        >>> import polars_rasteret as pr
        >>> table = pr.testing.example_scenes().raster.to_arrow()
        >>> gpd.GeoDataFrame.from_arrow(table.select(["id", "geometry"])).crs.to_string()
        'OGC:CRS84'
        """
        from polars_rasteret.export.geoarrow_table import to_arrow

        return to_arrow(self._lf, requested_schema)

    def to_reader(self, requested_schema: Any = None) -> pa.RecordBatchReader:
        """Return the collection as a reader of Arrow batches, as `to_arrow`; only some rows are held at a time.

        Parameters
        ----------
        requested_schema
            Arrow schema of the answer, as in `to_arrow`.

        Returns
        -------
        pyarrow.RecordBatchReader
            Reader of all rows.

        Raises
        ------
        UsageError
            When a column that is requested is not there, or cannot have its type.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.to_reader().read_all().num_rows
        2
        """
        from polars_rasteret.export.geoarrow_table import to_reader

        return to_reader(self._lf, requested_schema)
