"""What does ``.raster`` tell of a collection, and how is one narrowed and written?

Methods are thin: they say what a call gives and hand it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_rasteret.collection.queries.describe import Description


class Questions:
    """What a collection says of itself: a LazyFrame with raster columns."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def bands(self) -> list[str]:
        """Name the raster columns.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.bands()
        ['red', 'nir']
        """
        from polars_rasteret.collection.queries.extent import bands

        return bands(self._lf)

    def bounds(self) -> tuple[float, float, float, float]:
        """Give ``(minx, miny, maxx, maxy)`` of all records in longitude and latitude."""
        from polars_rasteret.collection.queries.extent import bounds

        return bounds(self._lf)

    def crs(self) -> list[str]:
        """Give the distinct CRSs of the rasters.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.crs()
        ['EPSG:32632']
        """
        from polars_rasteret.collection.queries.extent import crs

        return crs(self._lf)

    def describe(self) -> Description:
        """Summarise the collection; prints as a table and renders as HTML."""
        from polars_rasteret.collection.queries.describe import describe

        return describe(self._lf)

    def intersects(self, geometry_or_bounds: Any, crs: Any = None) -> pl.LazyFrame:
        """Keep the records whose footprint meets a geometry or bounds.

        Parameters
        ----------
        geometry_or_bounds
            A shapely geometry, WKB, a list, Series or GeoDataFrame of several, or ``(minx, miny, maxx, maxy)`` (in
            geographic CRSs ``minx > maxx`` crosses the antimeridian).
        crs
            Of it. None: what a GeoDataFrame, GeoArrow metadata or EWKB state, else longitude and latitude.

        Notes
        -----
        Its bounding box lands in the Parquet scan and skips row groups; the exact footprint decides after.
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
        """Keep the records that meet every one of the words given.

        Parameters
        ----------
        bbox
            ``(minx, miny, maxx, maxy)`` in longitude and latitude.
        datetime
            ``"2024-01"``, ``"2024-01-01/2024-01-31"``, or a tuple of two times; the end day is included. Records with an
            interval count by overlap.
        geometries
            One or several, in longitude and latitude; a record that meets any of them stays.
        cloud_cover_lt
            Keep ``eo:cloud_cover`` below this.
        split, split_column
            Keep these values of a column.
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
            What happens when there is one already.
        partition_by
            Columns for hive folders.
        row_group_size
            Records in a row group; a few hundred by default, so that spatial filters skip most.
        format
            ``"native"``; the predecessor's layout comes with a later version.
        wait_s
            Seconds to wait for another writer of a local collection.
        storage_options, credential_provider
            For remote paths, as in Polars.

        Raises
        ------
        UsageError
            When `path` exists and `mode` is ``"error"``, appended pixels have no common dtype with those there,
            or another writer is at work.
        """
        from polars_rasteret.collection.writing.sink import sink_collection

        more: dict[str, Any] = {} if row_group_size is None else {"row_group_size": row_group_size}
        sink_collection(
            self._lf,
            path,
            mode=mode,
            partition_by=partition_by,
            format=format,
            wait_s=wait_s,
            storage_options=storage_options,
            credential_provider=credential_provider,
            **more,
        )
