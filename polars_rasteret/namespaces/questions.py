"""Which methods of ``.raster`` describe, filter and write a collection?

Methods are thin: they document a call and pass it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_rasteret.catalog.comparison import CatalogComparison
    from polars_rasteret.collection.queries.describe import Description


class Questions:
    """Methods that describe, filter and write a collection: a LazyFrame with raster columns."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def bands(self) -> list[str]:
        """Return the names of the raster columns.

        Returns
        -------
        list of str
            Names, in the order of the columns.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.bands()
        ['red', 'nir']
        """
        from polars_rasteret.collection.queries.extent import bands

        return bands(self._lf)

    def bounds(self) -> tuple[float, float, float, float]:
        """Return ``(minx, miny, maxx, maxy)`` of all records in longitude and latitude.

        Returns
        -------
        tuple of float
            Degrees; ``minx > maxx`` when a record crosses the antimeridian.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> [round(side, 2) for side in pr.testing.example_scenes().raster.bounds()]
        [9.0, 45.15, 9.01, 45.15]
        """
        from polars_rasteret.collection.queries.extent import bounds

        return bounds(self._lf)

    def crs(self) -> list[str]:
        """Return the distinct CRSs of the rasters.

        Returns
        -------
        list of str
            Codes such as ``EPSG:32632``, or WKT where there is no code.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.crs()
        ['EPSG:32632']
        """
        from polars_rasteret.collection.queries.extent import crs

        return crs(self._lf)

    def describe(self) -> Description:
        """Return a summary of the collection, which prints as a table and renders as HTML.

        Returns
        -------
        Description
            Records, times, bounds, CRSs, bands with their pixel dtypes, and what is missing.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.describe()
        records   2
        time      2024-05-01 to 2024-06-01
        bounds    9.0000, 45.1477, 9.0081, 45.1535
        crs       EPSG:32632
        band red  UInt16
        band nir  UInt16
        """
        from polars_rasteret.collection.queries.describe import describe

        return describe(self._lf)

    def compare_to_catalog(self, dataset_id: str | None = None) -> CatalogComparison:
        """Return what the collection has beside what the catalog says of its dataset; prints as a table and renders as HTML.

        Parameters
        ----------
        dataset_id
            Id of a dataset; None: the dataset whose STAC collection and bands are those of the records.

        Returns
        -------
        CatalogComparison
            STAC collection, times, place, bands, and nodata, scale and offset where the catalog states them. Reads no pixel.

        Raises
        ------
        UsageError
            When there is no such dataset, or the records do not tell which one it is.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.register(pr.DatasetDescriptor(id="mine/scenes", title="Scenes", path="/x", bands={"red": "red", "swir": "swir"}))
        >>> pr.testing.example_scenes().raster.compare_to_catalog("mine/scenes")
        what       here                      catalog    agrees
        dataset                              mine/scenes
        time       2024-05-01 to 2024-06-01
        band red   UInt16                    red        yes
        band swir                            swir       no
        band nir   UInt16                               no
        >>> pr.unregister("mine/scenes")
        """
        from polars_rasteret.catalog.comparison import compare_to_catalog

        return compare_to_catalog(self._lf, dataset_id)

    def intersects(self, geometry_or_bounds: Any, crs: Any = None) -> pl.LazyFrame:
        """Return the records whose footprint meets a geometry or bounds.

        Parameters
        ----------
        geometry_or_bounds
            A shapely geometry, WKB, a list, Series or GeoDataFrame of geometries, or ``(minx, miny, maxx, maxy)`` (in
            geographic CRSs ``minx > maxx`` crosses the antimeridian).
        crs
            CRS of the geometry or bounds. None: the CRS of a GeoDataFrame, GeoArrow metadata or EWKB, else longitude and
            latitude.

        Returns
        -------
        polars.LazyFrame
            The collection with these records only.

        Notes
        -----
        The bounding box is a filter of the Parquet scan and skips row groups; the exact footprints are compared afterwards.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> scenes.raster.intersects((9.0, 45.1, 9.01, 45.2)).select("id").collect()["id"].to_list()
        ['first', 'second']
        """
        from polars_rasteret.collection.queries.spatial import intersects

        return intersects(self._lf, geometry_or_bounds, crs)

    def subset(
        self,
        *,
        bbox: Any = None,
        datetime: Any = None,
        geometries: Any = None,
        cloud_cover_lt: float | None = None,
        split: Any = None,
        split_column: str = "split",
    ) -> pl.LazyFrame:
        """Return the records that meet all conditions given.

        Parameters
        ----------
        bbox
            ``(minx, miny, maxx, maxy)`` in longitude and latitude.
        datetime
            ``"2024-01"``, ``"2024-01-01/2024-01-31"``, or a tuple of two times; the end day is included. A record with an
            interval of time is kept when both overlap.
        geometries
            One geometry or several, in longitude and latitude; a record that meets any of them is kept.
        cloud_cover_lt
            Upper limit, exclusive, of ``eo:cloud_cover``.
        split, split_column
            Value or values of the column `split_column` that are kept.

        Returns
        -------
        polars.LazyFrame
            The collection with these records only.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> scenes.raster.subset(datetime="2024-05").select("id").collect()["id"].to_list()
        ['first']
        """
        from polars_rasteret.collection.queries.subset import subset

        return subset(
            self._lf,
            bbox=bbox,
            datetime=datetime,
            geometries=geometries,
            cloud_cover_lt=cloud_cover_lt,
            split=split,
            split_column=split_column,
        )

    def sink_collection(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["error", "overwrite", "append"] = "error",
        partition_by: str | Sequence[str] | None = None,
        row_group_size: int | None = None,
        format: Literal["native", "rasteret"] = "native",  # noqa: A002 - the public name
        description: str | None = None,
        source: str | None = None,
        wait_s: float = 0.0,
        storage_options: Mapping[str, Any] | None = None,
        credential_provider: Any = None,
    ) -> None:
        """Write the collection as GeoParquet, for `pr.scan_collection`.

        Parameters
        ----------
        path
            A ``.parquet`` file, or a folder of immutable parts.
        mode
            Treatment of a collection that exists at `path` already.
        partition_by
            Columns whose values become hive folders.
        row_group_size
            Records per row group; a few hundred by default, so that spatial filters skip most row groups.
        format
            ``"native"``: what rasteret wrote becomes a collection of this package, by the headers of the files. ``"rasteret"``: a
            local collection that rasteret 0.4.1 opens, in folders ``year=YYYY/month=M`` if `partition_by` is None; rasters that
            it would not read right are null there, and one warning counts them by reason.
        description, source
            What the collection is, and where its records come from: texts that its files carry, for `pr.list_collections`.
            None: an append keeps those that are there; else the source is the column ``collection``, where there is one.
        wait_s
            Seconds to wait for another writer of a local collection.
        storage_options, credential_provider
            Options for remote paths, as in Polars.

        Raises
        ------
        UsageError
            When `path` exists and `mode` is ``"error"``, when appended pixels have no common dtype with the existing ones, or
            when another writer is at work.

        Examples
        --------
        >>> import tempfile
        >>> import polars_rasteret as pr
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pr.testing.example_scenes().raster.sink_collection(f"{folder}/scenes.parquet")
        ...     pr.scan_collection(f"{folder}/scenes.parquet").raster.bands()
        ['red', 'nir']
        """
        from polars_rasteret.collection.writing.sink import sink_collection

        more: dict[str, Any] = {} if row_group_size is None else {"row_group_size": row_group_size}
        sink_collection(
            self._lf,
            path,
            mode=mode,
            partition_by=partition_by,
            format=format,
            description=description,
            source=source,
            wait_s=wait_s,
            storage_options=storage_options,
            credential_provider=credential_provider,
            **more,
        )
