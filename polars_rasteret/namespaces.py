"""What does ``.raster`` offer on expressions, LazyFrames and DataFrames?

Methods are thin: they say what a call gives and hand it on. `raster` is the same for type checkers, which cannot see registered
namespaces. Nothing imports this module but the package itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import polars as pl

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from polars_rasteret.collection.describe import Description
    from polars_rasteret.frame.question import Unmatched
    from polars_rasteret.frame.verbs import Match
    from polars_rasteret.options import OnError

    Method = Literal["nearest", "bilinear", "cubic"]
    Unscale = bool | Sequence[str]


def sample_points(
    bands: Sequence[str],
    x: Any,
    y: Any = None,
    *,
    stack: bool = False,
    joint: bool = True,
    crs: Any = None,
    method: Method = "nearest",
    max_distance_pixels: int = 0,
    unscale: bool = False,
    on_error: OnError | None = None,
) -> pl.Expr:
    """Give the pixels of several bands at a point, all read together.

    Parameters
    ----------
    bands
        Names of raster columns.
    x, y
        Column names, expressions or numbers; without `y`, `x` is a point geometry.
    stack
        Give one array instead of a Struct.
    joint
        With ``max_distance_pixels``: one pixel for all bands.
    crs, method, max_distance_pixels, unscale, on_error
        As in the expression ``pl.col(band).raster.sample_points``.

    Returns
    -------
    polars.Expr
        Column ``pixels``: a Struct with a field per band in its pixel dtype, or with ``stack=True`` an
        ``Array(supertype, len(bands))``. A null pixel is a null field or element.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> scenes = pr.testing.example_scenes().head(1)
    >>> scenes.select(pr.sample_points(["red", "nir"], 500_005, 4_999_995, crs=32632)).collect()["pixels"].to_list()
    [{'red': 1000, 'nir': 3000}]
    """
    from polars_rasteret.frame import expressions
    from polars_rasteret.frame.arguments import refuse_later

    refuse_later("sample_points", joint=(joint, True))
    return expressions.sample_points(
        expressions.band_expressions("sample_points", bands),
        x,
        y,
        crs=crs,
        method=method,
        max_distance_pixels=max_distance_pixels,
        unscale=unscale,
        on_error=on_error,
        form="stack" if stack else "struct",
    )


def read_window(
    bands: Sequence[str],
    bounds: Any = None,
    *,
    window: Any = None,
    shape: tuple[int, int] | None = None,
    stack: bool = False,
    crs: Any = None,
    resolution: float | None = None,
    resampling: str = "nearest",
    masked: bool = False,
    fill_value: float | None = None,
    unscale: bool = False,
    on_error: OnError | None = None,
) -> pl.Expr:
    """Give a window of several bands, all read together.

    Parameters
    ----------
    bands
        Names of raster columns.
    bounds, window, shape, crs, resolution, resampling, masked, fill_value, unscale, on_error
        As in the expression ``pl.col(band).raster.read_window``. A `window` of four numbers has a known size and gives arrays
        by itself.
    stack
        Give one array instead of a Struct; needs a known size.

    Returns
    -------
    polars.Expr
        Column ``pixels``: a Struct of windows by band, or with ``stack=True`` an ``Array(dtype, (bands, height, width))``.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> scenes = pr.testing.example_scenes().head(1)
    >>> scenes.select(pr.read_window(["red", "nir"], window=(0, 2, 0, 2), stack=True)).collect().schema
    Schema({'pixels': Array(UInt16, shape=(2, 2, 2))})
    """
    from polars_rasteret.frame import expressions

    return expressions.read_window(
        expressions.band_expressions("read_window", bands),
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
        form="stack" if stack else "struct",
    )


@pl.api.register_expr_namespace("raster")
class RasterExpr:
    """Read pixels for each row of a raster column."""

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
        """Give the pixel of each row's raster at a point.

        Parameters
        ----------
        x, y
            Column names, expressions or numbers; without `y`, `x` is a point geometry (WKB, EWKB or GeoArrow).
        crs
            Of the coordinates: EPSG code, ``"EPSG:n"``, WKT2, PROJJSON, ``pyproj.CRS``, or ``"native"`` for coordinates that
            are in each raster's own CRS. None: taken from GeoArrow metadata, else an error.
        method
            ``"nearest"``: the pixel that holds the point (the floor of the inverse affine).
        max_distance_pixels
            Look that far for a valid pixel; 0 does not look.
        unscale
            Give ``value * scale + offset`` as Float64.
        on_error
            ``"raise"``, or ``"null"``: a failed read is null, its reason is in the ``errors`` of ``pr.profile()``.

        Returns
        -------
        polars.Expr
            Pixel dtype (Float64 when unscaled); null where the pixel is nodata or NaN, the point is null or outside of the
            image, or the raster is null.

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
        from polars_rasteret.frame import expressions

        return expressions.sample_points(
            [self._expr],
            x,
            y,
            crs=crs,
            method=method,
            max_distance_pixels=max_distance_pixels,
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
        resolution: float | None = None,
        resampling: str = "nearest",
        masked: bool = False,
        fill_value: float | None = None,
        unscale: bool = False,
        on_error: OnError | None = None,
    ) -> pl.Expr:
        """Give a window of each row's raster.

        Parameters
        ----------
        bounds
            A geometry column, a bbox struct column, or ``(minx, miny, maxx, maxy)``, in map space: the smallest pixel window
            that contains it, clipped to the image. With `shape`, point geometries: the unclipped window whose pixel
            ``(height // 2, width // 2)`` holds the point.
        window
            Instead: ``(row_start, row_stop, col_start, col_stop)`` in pixels, numbers or columns; not clipped. Works without
            georeferencing. Neither: the whole image.
        crs
            Of `bounds`; None: taken from GeoArrow metadata, else an error.
        shape
            ``(height, width)`` of the arrays wanted.
        resolution, resampling
            For resampled windows; not available yet.
        masked
            Make null pixels null elements; else the file's own values are kept.
        fill_value
            For pixels outside of the image; else nodata, else 0.
        unscale
            Give ``value * scale + offset`` as Float32.
        on_error
            As in `sample_points`.

        Returns
        -------
        polars.Expr
            With `shape` an ``Array(pixel dtype, shape)``, else a Struct of ``pixels`` (List, row-major), ``height``, ``width``,
            ``transform``, ``crs``. Null where nothing overlaps, the raster or the target is null or empty, or a read failed.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes().head(1)
        >>> chip = pl.col("red").raster.read_window(window=(0, 2, 0, 3))
        >>> scenes.select(chip).unnest("red").select("pixels", "height", "width").collect().row(0)
        ([1000, 1001, 1002, 1064, 1065, 1066], 2, 3)
        """
        from polars_rasteret.frame import expressions

        return expressions.read_window(
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

    def with_metadata(self, *, nodata: Any = "keep", scale: Any = "keep", offset: Any = "keep") -> pl.Expr:
        """Override what the file says about its values; nothing is read and the pixel dtype stays.

        Parameters
        ----------
        nodata
            A number or an expression that the pixel dtype can hold; None: no pixel is nodata.
        scale, offset
            Numbers or expressions, applied where a read says ``unscale``; None means 1 and 0.

        Returns
        -------
        polars.Expr
            The raster column with these values.

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
        from polars_rasteret.frame.metadata import with_metadata

        return with_metadata(self._expr, nodata=nodata, scale=scale, offset=offset)


@pl.api.register_lazyframe_namespace("raster")
class RasterLazyFrame:
    """Ask and read a collection: a LazyFrame with raster columns."""

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
        from polars_rasteret.collection.extent import bands

        return bands(self._lf)

    def bounds(self) -> tuple[float, float, float, float]:
        """Give ``(minx, miny, maxx, maxy)`` of all records in longitude and latitude."""
        from polars_rasteret.collection.extent import bounds

        return bounds(self._lf)

    def crs(self) -> list[str]:
        """Give the distinct CRSs of the rasters.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> pr.testing.example_scenes().raster.crs()
        ['EPSG:32632']
        """
        from polars_rasteret.collection.extent import crs

        return crs(self._lf)

    def describe(self) -> Description:
        """Summarise the collection; prints as a table and renders as HTML."""
        from polars_rasteret.collection.describe import describe

        return describe(self._lf)

    def intersects(self, geometry_or_bounds: Any, crs: Any = 4326) -> pl.LazyFrame:
        """Keep the records whose footprint meets a geometry or bounds.

        Parameters
        ----------
        geometry_or_bounds
            A shapely geometry, WKB, or ``(minx, miny, maxx, maxy)`` (``minx > maxx`` crosses the antimeridian).
        crs
            Of it; longitude and latitude by default.

        Notes
        -----
        Its bounding box lands in the Parquet scan and skips row groups; the exact footprint decides after.
        """
        from polars_rasteret.collection.spatial import intersects

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
        from polars_rasteret.collection.subset import subset

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
        storage_options, credential_provider
            For remote paths, as in Polars.

        Raises
        ------
        UsageError
            When `path` exists and `mode` is ``"error"``, or appended pixels have no common dtype with those there.
        """
        from polars_rasteret.collection.sink import sink_collection

        more: dict[str, Any] = {} if row_group_size is None else {"row_group_size": row_group_size}
        sink_collection(
            self._lf,
            path,
            mode=mode,
            partition_by=partition_by,
            format=format,
            storage_options=storage_options,
            credential_provider=credential_provider,
            **more,
        )

    def pair(
        self,
        targets: Any,
        *,
        x: str | None = None,
        y: str | None = None,
        geometry: str | None = None,
        crs: Any = None,
        at: Any = None,
        tolerance: str | None = None,
        unmatched: Unmatched = "drop",
        record_columns: Any = ("id", "datetime"),
        suffix: str = "_right",
        on_error: OnError | None = None,
        maintain_order: bool = True,
        budget_bytes: int | None = None,
    ) -> pl.LazyFrame:
        """Pair records with the rows of a table they cover; reads no pixel.

        Parameters
        ----------
        targets
            A frame with coordinate or geometry columns, a GeoDataFrame, an Arrow table, or a list of shapely geometries.
        x, y, geometry, crs
            Where the targets are; coordinate columns are inferred from the usual names.
        at, tolerance
            Restrict records by time; not available yet.
        unmatched
            What becomes of a row that no record covers.
        record_columns
            Columns of the record to add: names, a selector, ``"all"`` or ``[]``. ``id`` comes as ``record_id``.
        suffix
            For names that are taken.
        on_error, maintain_order, budget_bytes
            As in the other verbs.

        Returns
        -------
        polars.LazyFrame
            The caller's columns, record columns and raster columns: one row per target and covering record.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"plot": ["a"], "x": [500_005.0], "y": [4_999_995.0]})
        >>> pairs = pr.testing.example_scenes().raster.pair(plots, crs=32632)
        >>> pairs.select("plot", "record_id").collect().rows()
        [('a', 'first'), ('a', 'second')]
        """
        from polars_rasteret.frame.verbs import Pairing, pair

        words = Pairing(
            x=x,
            y=y,
            geometry=geometry,
            crs=crs,
            at=at,
            tolerance=tolerance,
            unmatched=unmatched,
            record_columns=record_columns,
            suffix=suffix,
            on_error=on_error,
            maintain_order=maintain_order,
            budget_bytes=budget_bytes,
        )
        return pair(self._lf, targets, words)

    def sample_points(
        self,
        points: Any,
        bands: str | Sequence[str] | None = None,
        *,
        method: Method = "nearest",
        max_distance_pixels: int = 0,
        joint: bool = True,
        return_neighbourhood: Literal["off", "always", "if_center_nodata"] = "off",
        layout: Literal["wide", "long"] = "wide",
        x: str | None = None,
        y: str | None = None,
        geometry: str | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | None = None,
        valid: pl.Expr | None = None,
        unmatched: Unmatched = "null",
        record_columns: Any = ("id", "datetime"),
        suffix: str = "_right",
        on_error: OnError | None = None,
        maintain_order: bool = True,
        budget_bytes: int | None = None,
        grid: str = "finest",
        resampling: Any = "nearest",
        unscale: Unscale = False,
    ) -> pl.LazyFrame:
        """Give the pixels of each record at each point.

        Filters, ``head`` and column selection after this verb act before any pixel is requested wherever that cannot change
        the answer: record filters in the collection's scan, your columns in your frame, comparisons of both on the pairs.

        Parameters
        ----------
        points
            A frame with coordinate or geometry columns, a GeoDataFrame, an Arrow table, or a list of shapely points.
        bands
            Names of raster columns; None: all.
        x, y, geometry, crs
            Where the points are; columns are inferred from x/y, lon/lat, longitude/latitude, lng/lat, else ``geometry``. The
            CRS is never guessed.
        match
            ``"all"``: one row per point and covering record.
        unmatched
            ``"null"`` keeps points that no record covers, with nulls; ``"drop"`` drops them.
        record_columns
            Columns of the record to add: names, a selector, ``"all"`` or ``[]``. ``id`` comes as ``record_id``.
        suffix
            For names that are taken.
        on_error
            ``"null"``: failed values are null and column ``read_error`` says why.
        unscale
            True or names of bands: give ``value * scale + offset`` as Float64.
        budget_bytes
            Refuse to fetch more than this.
        method, max_distance_pixels, joint, return_neighbourhood, layout, at, tolerance, valid, maintain_order, grid, resampling
            Further words of the interface; values other than the defaults are refused by name until they are available.

        Returns
        -------
        polars.LazyFrame
            The caller's columns, record columns, one column per band in its pixel dtype (null where the pixel is null). Rows
            in the caller's order, then by record time, then by record id.

        Raises
        ------
        UsageError
            For names, dtypes or a CRS that do not fit; when the schema is resolved.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"plot": ["a", "b"], "x": [500_005.0, 0.0], "y": [4_999_995.0, 0.0]})
        >>> scenes = pr.testing.example_scenes()
        >>> scenes.raster.sample_points(plots, ["red"], crs=32632).select("plot", "record_id", "red").collect().rows()
        [('a', 'first', 1000), ('a', 'second', 2000), ('b', None, None)]
        """
        from polars_rasteret.frame.verbs import Pairing
        from polars_rasteret.frame.verbs import sample_points as sample

        words = Pairing(
            x=x,
            y=y,
            geometry=geometry,
            crs=crs,
            match=match,
            at=at,
            tolerance=tolerance,
            valid=valid,
            unmatched=unmatched,
            record_columns=record_columns,
            suffix=suffix,
            on_error=on_error,
            maintain_order=maintain_order,
            budget_bytes=budget_bytes,
        )
        return sample(
            self._lf,
            points,
            bands,
            words,
            method=method,
            max_distance_pixels=max_distance_pixels,
            joint=joint,
            return_neighbourhood=return_neighbourhood,
            layout=layout,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
        )

    def read_windows(
        self,
        aois: Any,
        bands: str | Sequence[str] | None = None,
        *,
        shape: tuple[int, int] | None = None,
        resolution: float | None = None,
        coverage: Literal["center", "all_touched"] | None = None,
        masked: bool | Literal["column"] = False,
        fill_value: float | None = None,
        stack: bool = False,
        x: str | None = None,
        y: str | None = None,
        geometry: str | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | None = None,
        valid: pl.Expr | None = None,
        min_valid_fraction: float | None = None,
        unmatched: Unmatched = "drop",
        record_columns: Any = ("id", "datetime"),
        suffix: str = "_right",
        on_error: OnError | None = None,
        maintain_order: bool = True,
        budget_bytes: int | None = None,
        grid: str = "finest",
        resampling: Any = "nearest",
        unscale: Unscale = False,
    ) -> pl.LazyFrame:
        """Give the window of each record around each point, or over each area, on the raster's own grid.

        Parameters
        ----------
        aois
            A frame with coordinate, geometry or bbox columns, a GeoDataFrame, an Arrow table, or a list of shapely geometries.
        bands
            Names of raster columns; None: all.
        shape
            ``(height, width)``: with points, the window whose pixel ``(height // 2, width // 2)`` holds the point, outside of
            the image filled. Without it, the smallest window that contains the area, clipped to the image.
        masked
            True: null pixels are null elements. ``"column"``: adds ``{band}_valid`` (needs `shape`).
        fill_value
            For pixels outside of the image; else nodata, else 0.
        stack
            Give one column ``pixels`` of ``Array(supertype, (bands, height, width))``.
        unscale
            True or names of bands: give ``value * scale + offset`` as Float32.
        x, y, geometry, crs, match, unmatched, record_columns, suffix, on_error, budget_bytes
            As in `sample_points`.
        resolution, coverage, at, tolerance, valid, min_valid_fraction, maintain_order, grid, resampling
            Further words of the interface; values other than the defaults are refused by name until they are available.

        Returns
        -------
        polars.LazyFrame
            One row per area and covering record: the caller's columns, record columns, and per band an
            ``Array(pixel dtype, shape)`` with ``transform`` and ``raster_crs``, or without `shape` a Struct of ``pixels``,
            ``height``, ``width``, ``transform``, ``crs``.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"x": [500_015.0], "y": [4_999_985.0]})
        >>> chips = pr.testing.example_scenes().raster.read_windows(plots, ["red"], shape=(3, 3), crs=32632)
        >>> chips.collect()["red"][0].to_list()
        [[1000, 1001, 1002], [1064, 1065, 1066], [1128, 1129, 1130]]
        """
        from polars_rasteret.frame.verbs import Pairing
        from polars_rasteret.frame.verbs import read_windows as read

        words = Pairing(
            x=x,
            y=y,
            geometry=geometry,
            crs=crs,
            match=match,
            at=at,
            tolerance=tolerance,
            valid=valid,
            min_valid_fraction=min_valid_fraction,
            unmatched=unmatched,
            record_columns=record_columns,
            suffix=suffix,
            on_error=on_error,
            maintain_order=maintain_order,
            budget_bytes=budget_bytes,
        )
        return read(
            self._lf,
            aois,
            bands,
            words,
            shape=shape,
            resolution=resolution,
            coverage=coverage,
            masked=masked,
            fill_value=fill_value,
            stack=stack,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
        )

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        """Add columns, as Polars' ``with_columns`` does, in units bounded by the bytes of their answers.

        For raster expressions on rows that already carry raster columns (and geometry), when the result is larger than memory
        and goes to a sink. Give wide rows small row groups: ``sink_parquet(..., row_group_size=64)``.

        Parameters
        ----------
        *exprs, **named_exprs
            Elementwise expressions: each unit is evaluated by itself, so an aggregate would see one unit only.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> chips = scenes.raster.with_columns(chip=pr.read_window(["red"], window=(0, 2, 0, 2), stack=True))
        >>> chips.select("id", "chip").collect().height
        2
        """
        from polars_rasteret.frame.batched import with_columns

        named = [_as_column(value).alias(name) for name, value in named_exprs.items()]
        return with_columns(self._lf, [*(_as_column(value) for value in exprs), *named])


def _as_column(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    raise UsageError(f"with_columns: {value!r} is a {type(value).__name__}; expected an expression or a column name")


@pl.api.register_dataframe_namespace("raster")
class RasterDataFrame:
    """The verbs of ``LazyFrame.raster`` on a DataFrame: verbs give a DataFrame, questions give the same."""

    def __init__(self, df: pl.DataFrame) -> None:
        self._df = df

    def __getattr__(self, name: str) -> Any:
        method = getattr(RasterLazyFrame(self._df.lazy()), name)

        def called(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return answer.collect() if isinstance(answer, pl.LazyFrame) else answer

        called.__doc__ = method.__doc__
        return called

    def __dir__(self) -> list[str]:
        return [name for name in dir(RasterLazyFrame) if not name.startswith("_")]


@overload
def raster(data: pl.LazyFrame) -> RasterLazyFrame: ...
@overload
def raster(data: pl.Expr) -> RasterExpr: ...
@overload
def raster(data: pl.DataFrame) -> RasterDataFrame: ...
def raster(data: pl.LazyFrame | pl.DataFrame | pl.Expr) -> RasterLazyFrame | RasterDataFrame | RasterExpr:
    """Give the raster namespace of a LazyFrame, a DataFrame or an expression, in a way that type checkers can see.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.raster(pr.testing.example_scenes()).bands()
    ['red', 'nir']
    """
    if isinstance(data, pl.LazyFrame):
        return RasterLazyFrame(data)
    if isinstance(data, pl.DataFrame):
        return RasterDataFrame(data)
    if isinstance(data, pl.Expr):
        return RasterExpr(data)
    raise UsageError(f"raster() takes a LazyFrame, a DataFrame or an expression, got a {type(data).__name__}")


def normalized_difference(a: str | pl.Expr, b: str | pl.Expr) -> pl.Expr:
    """Give ``(a - b) / (a + b)`` as Float32, without the wrap-around of unsigned integers.

    Parameters
    ----------
    a, b
        Column names or expressions.

    Returns
    -------
    polars.Expr
        Float32; null where either is null or the sum is 0.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> bands = pl.DataFrame({"nir": [3000, 0], "red": [1000, 0]}, schema={"nir": pl.UInt16, "red": pl.UInt16})
    >>> bands.select(ndvi=pr.normalized_difference("nir", "red"))["ndvi"].to_list()
    [0.5, None]
    """
    first, second = ((pl.col(one) if isinstance(one, str) else one).cast(pl.Float32) for one in (a, b))
    total = first + second
    return pl.when(total != 0).then((first - second) / total)
