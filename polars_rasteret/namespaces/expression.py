"""Which methods does ``.raster`` offer on expressions?

Methods are thin: they document a call and pass it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from polars_rasteret.module_loading import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.options import OnError

    Method = Literal["nearest", "bilinear", "cubic"]


@pl.api.register_expr_namespace("raster")
class RasterExpr:
    """Methods on an expression that is a raster column; each row is read by itself."""

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def sample_points(
        self,
        x: Any,
        y: Any = None,
        *,
        crs: Any = None,
        method: Method = "nearest",
        max_distance_pixels: int = 0,
        unscale: bool = False,
        on_error: OnError | None = None,
    ) -> pl.Expr:
        """Return the pixel of each row's raster at a point.

        Parameters
        ----------
        x, y
            Column names, expressions or numbers; without `y`, `x` is a point geometry (WKB, EWKB or GeoArrow).
        crs
            CRS of the coordinates: EPSG code, ``"EPSG:n"``, WKT2, PROJJSON, ``pyproj.CRS``, or ``"native"`` for coordinates
            in each raster's own CRS. None: taken from GeoArrow metadata or EWKB, else an error.
        method
            ``"nearest"``: the pixel that holds the point (the floor of the inverse affine).
        max_distance_pixels
            Rows and columns up to which a valid pixel is searched around a null one; 0: no search.
        unscale
            Whether to return ``value * scale + offset`` as Float64.
        on_error
            ``"raise"``, or ``"null"``: a failed read is null, and its reason is in the ``errors`` of ``pr.profile()``.

        Returns
        -------
        polars.Expr
            Pixel dtype (Float64 when unscaled). Null where the pixel is nodata, NaN or masked by the file's mask or alpha band,
            where the point is null or outside the image, and where the raster is null.

        Raises
        ------
        UsageError
            When the CRS is not known, or a raster has none.
        FetchError, FileFormatError
            When a read fails and `on_error` is ``"raise"``.

        Notes
        -----
        Filter on the values in a later step (``with_columns(v=...).filter("v")``): Polars pushes a Python function inside
        ``.filter()`` into a scan, and would evaluate it on far more rows.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> red = pl.col("red").raster.sample_points(500_015, 4_999_995, crs=32632)
        >>> scenes.select("id", red).collect().rows()
        [('first', 1001), ('second', 2001)]
        """
        with loading():
            from polars_rasteret.frame.expressions import sample_points as sample_expression

        return sample_expression.sample_points(
            [self._expr],
            x,
            y,
            crs=crs,
            method=method,
            max_distance_pixels=max_distance_pixels,
            joint=True,
            unscale=unscale,
            on_error=on_error,
            form="single",
        )

    def read_window(
        self,
        bounds: Any = None,
        *,
        window: Any = None,
        crs: Any = None,
        shape: tuple[int, int] | None = None,
        resolution: float | tuple[float, float] | None = None,
        resampling: str = "nearest",
        masked: bool = False,
        fill_value: float | None = None,
        unscale: bool = False,
        on_error: OnError | None = None,
    ) -> pl.Expr:
        """Return a window of each row's raster.

        Parameters
        ----------
        bounds
            A geometry column, a bbox struct column, or ``(minx, miny, maxx, maxy)``, in map coordinates. The window is the
            smallest that contains these bounds, clipped to the image. In geographic CRSs minx > maxx crosses the antimeridian.
            With `shape` or `resolution`, the window is exactly the bounding box in the raster's CRS, unclipped, resampled from
            the best overview. For a point geometry with `shape` the window has the raster's own pixels, unclipped; its pixel
            ``(height // 2, width // 2)`` holds the point.
        window
            Window in pixels instead of `bounds`: ``(row_start, row_stop, col_start, col_stop)``, numbers or columns. Not
            clipped, and resampled where its size is not `shape`. Works without georeferencing. Without `bounds` and `window`
            the whole image is read.
        crs
            CRS of `bounds`; None: taken from GeoArrow metadata or EWKB, else an error. Edges get more vertices before they are
            transformed to the raster's CRS.
        shape
            ``(height, width)`` of the answer's arrays.
        resolution
            Size of a pixel instead of `shape`: a number or ``(x, y)``, in units of the raster's CRS. It is adjusted so that a
            whole number of pixels fits the box.
        resampling
            Method, as in rasterio and GDAL: ``"nearest"``, ``"bilinear"``, ``"cubic"``, ``"cubic_spline"``, ``"lanczos"``,
            ``"average"``, ``"mode"``. Null pixels are left out and the weights of the others renormalised. Values keep the pixel
            dtype, rounded and clamped.
        masked
            Whether null pixels (nodata, NaN, or masked by the file's mask or alpha band) are null elements. If not, the file's
            own values are returned and no mask is read.
        fill_value
            Value of pixels outside the image; None: nodata, else 0. With `unscale` in unscaled units.
        unscale
            Whether to return ``value * scale + offset`` as Float32.
        on_error
            As in `sample_points`.

        Returns
        -------
        polars.Expr
            With `shape` an ``Array(pixel dtype, shape)``, else a Struct of ``pixels`` (List, row-major), ``height``, ``width``,
            ``transform``, ``crs``. Null where the window does not meet the image, where the raster or the bounds are null or
            empty, and where a read failed.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> chip = pl.col("red").raster.read_window(window=(0, 2, 0, 3))
        >>> scenes.select(chip).unnest("red").select("pixels", "height", "width").collect().row(0)
        ([1000, 1001, 1002, 1064, 1065, 1066], 2, 3)

        The same place at half the resolution:

        >>> half = pl.col("red").raster.read_window(window=(0, 4, 0, 6), shape=(2, 3), resampling="average")
        >>> scenes.select(half).collect().item().to_list()
        [[1033, 1035, 1037], [1161, 1163, 1165]]
        """
        with loading():
            from polars_rasteret.frame.expressions import read_window as window_expression

        return window_expression.read_window(
            [self._expr],
            bounds,
            window=window,
            crs=crs,
            shape=shape,
            resolution=resolution,
            resampling=resampling,
            masked=masked,
            fill_value=fill_value,
            unscale=unscale,
            on_error=on_error,
            form="single",
        )

    def zonal_stats(
        self,
        geometry: Any,
        stats: str | Sequence[str] = ("count", "mean"),
        *,
        crs: Any = None,
        coverage: Literal["exact", "center", "all_touched"] = "exact",
        unscale: bool = False,
        on_error: OnError | None = None,
    ) -> pl.Expr:
        """Return statistics of the pixels of each row's raster in a polygon.

        Formulas over several bands belong to the verb ``zonal_stats``; an expression that computes numbers is an error.

        Parameters
        ----------
        geometry
            A column of polygons, or a bbox struct column.
        stats
            Names of statistics, as in the verb ``zonal_stats``.
        crs
            CRS of the polygons; None: taken from GeoArrow metadata or EWKB, else an error.
        coverage
            ``"exact"``: each pixel counts by the share of it that the polygon covers. ``"center"`` and ``"all_touched"``: whole
            pixels, as GDAL rasterises.
        unscale
            Whether the statistics are of ``value * scale + offset``.
        on_error
            As in `sample_points`.

        Returns
        -------
        polars.Expr
            Struct with a field for each statistic. Fields are null where the polygon does not meet the image.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> box = pl.struct(xmin=500_005.0, ymin=4_999_980.0, xmax=500_020.0, ymax=5_000_000.0)
        >>> statistics = pl.col("red").raster.zonal_stats(box, ["count", "mean", "max"], crs=32632)
        >>> scenes.select(statistics).unnest("red").collect().row(0)
        (3.0, 1032.6666666666667, 1065)
        """
        with loading():
            from polars_rasteret.frame.expressions import zonal_stats as zonal_expression

        return zonal_expression.zonal_stats(
            self._expr, geometry, stats, crs=crs, coverage=coverage, unscale=unscale, on_error=on_error
        )

    def with_metadata(self, *, nodata: Any = "keep", scale: Any = "keep", offset: Any = "keep") -> pl.Expr:
        """Return the raster column with other nodata, scale or offset; nothing is read and the pixel dtype stays.

        Parameters
        ----------
        nodata
            A number or an expression that the pixel dtype can hold; None: no pixel is nodata. The file's mask or alpha
            band stays in force.
        scale, offset
            Numbers or expressions, applied by reads with ``unscale``; None: 1 and 0.

        Returns
        -------
        polars.Expr
            Raster column with these values.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> red = pl.col("red").raster.with_metadata(scale=0.0001)
        >>> scenes.with_columns(red).select(
        ...     pl.col("red").raster.sample_points(500_005, 4_999_995, crs=32632, unscale=True)
        ... ).collect().item()
        0.1
        """
        with loading():
            from polars_rasteret.frame.expressions.with_metadata import with_metadata

        return with_metadata(self._expr, nodata=nodata, scale=scale, offset=offset)

    def bounds(self, crs: Any = None) -> pl.Expr:
        """Return the bounds of each row's image; nothing is read.

        Parameters
        ----------
        crs
            CRS of the bounds; edges get more vertices, because they are curved in another CRS. None: each raster's own CRS.

        Returns
        -------
        polars.Expr
            Struct of ``xmin``, ``ymin``, ``xmax``, ``ymax``, which can also be used as a ``geometry`` of boxes. Null where the
            raster is null, has no georeferencing, or has no place in `crs`. In longitude and latitude ``xmin > xmax`` across
            the antimeridian.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> scenes.select(pl.col("red").raster.bounds()).unnest("red").collect().row(0)
        (500000.0, 4999360.0, 500640.0, 5000000.0)
        """
        with loading():
            from polars_rasteret.frame.expressions.grid_facts import bounds

        return bounds(self._expr, crs)

    def pixel_size(self) -> pl.Expr:
        """Return the size of a pixel of each row's raster, in units of the raster's CRS; nothing is read.

        Returns
        -------
        polars.Expr
            Struct of ``x`` and ``y`` (Float64): lengths of a pixel's sides, also on a rotated grid. Null where the raster is
            null or has no georeferencing.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> scenes.select(pl.col("red").raster.pixel_size()).collect().item()
        {'x': 10.0, 'y': 10.0}
        """
        with loading():
            from polars_rasteret.frame.expressions.grid_facts import pixel_size

        return pixel_size(self._expr)

    def overviews(self) -> pl.Expr:
        """Return the overviews of each row's raster, the largest first; nothing is read.

        Returns
        -------
        polars.Expr
            List of Struct: ``level`` (1 is the largest overview), ``height``, ``width`` and ``decimation`` (all UInt32). Empty
            without overviews, null where the raster is null.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> scenes.select(pl.col("red").raster.overviews()).collect().item().to_list()
        []
        """
        with loading():
            from polars_rasteret.frame.expressions.grid_facts import overviews

        return overviews(self._expr)

    def row_col(self, x: Any, y: Any = None, *, crs: Any = None) -> pl.Expr:
        """Return the row and column of the pixel of each row's raster that holds a point; nothing is read.

        Parameters
        ----------
        x, y, crs
            As in `sample_points`.

        Returns
        -------
        polars.Expr
            Struct of ``row`` and ``col`` (Int64): the floor of the inverse affine, also for points outside the image. Null where
            the raster or the point is null, or the point has no place in the raster's CRS.

        Raises
        ------
        UsageError
            When the CRS is not known, or a raster has none.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> scenes.select(pl.col("red").raster.row_col(500_015, 5_000_005, crs=32632)).collect().item()
        {'row': -1, 'col': 1}
        """
        with loading():
            from polars_rasteret.frame.expressions.row_col import row_col

        return row_col(self._expr, x, y, crs)
