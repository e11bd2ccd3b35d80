"""Which verbs does ``.raster`` offer on LazyFrames? Methods are thin: they document a call and pass it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from polars_rasteret.module_loading import loading

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.options import OnError
    from polars_rasteret.pairing.words import Unmatched
    from polars_rasteret.plan.time_match import Match

    Method = Literal["nearest", "bilinear", "cubic"]
    Unscale = bool | Sequence[str]


class Verbs:
    """Methods that pair the records of a collection with the rows of a table, and read pixels."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def pair(
        self,
        targets: Any,
        *,
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
        unmatched: Unmatched = "drop",
        record_columns: Any = ("id", "datetime"),
        suffix: str = "_right",
        on_error: OnError | None = None,
        maintain_order: bool = True,
        budget_bytes: int | None = None,
    ) -> pl.LazyFrame:
        """Return the pairs of records and the rows of a table that they cover; no pixel is read.

        Parameters
        ----------
        targets
            A frame with coordinate or geometry columns, a GeoDataFrame, or any Arrow, pandas or DuckDB table;
            or geometries, one or a list: shapely, WKB, GeoJSON dicts (in longitude and latitude, by RFC 7946),
            or boxes ``(xmin, ymin, xmax, ymax)``.
        x, y, geometry, crs
            Columns with the places of the targets, and their CRS; coordinate columns are inferred from the usual names.
        at, tolerance
            Time, and greatest distance from it, of the records kept; as in `sample_points`.
        unmatched
            Treatment of rows that no record covers; as in `sample_points`.
        record_columns
            Columns of the record to add: names, a selector, ``"all"``, ``[]``, or a dict from names to names in the answer
            (``{"datetime": "scene_time"}``). ``id`` is added as ``record_id``.
        suffix
            Suffix of added columns whose names exist already.
        on_error, maintain_order, budget_bytes
            As in `sample_points`.

        Returns
        -------
        polars.LazyFrame
            One row per target and covering record, with the caller's columns, record columns and raster columns.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"plot": ["a"], "x": [500_005.0], "y": [4_999_995.0]})
        >>> pairs = pr.testing.example_scenes().raster.pair(plots, crs=32632)
        >>> pairs.select("plot", "record_id").collect().rows()
        [('a', 'first'), ('a', 'second')]
        """
        with loading():
            from polars_rasteret.frame.verbs.pair import pair
            from polars_rasteret.pairing.words import Pairing

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
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
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
        """Return the pixels of each record at each point.

        Filters, ``head`` and column selection after this verb act before any pixel is requested, unless that could change the
        answer: filters of records in the scan, filters of your columns in your frame, comparisons of both on the pairs.

        Parameters
        ----------
        points
            A frame with coordinate or geometry columns, a GeoDataFrame, or any Arrow, pandas or DuckDB table;
            or points, one or a list: shapely, WKB, GeoJSON dicts (in longitude and latitude, by RFC 7946).
        bands
            Names of raster columns; None: all raster columns.
        x, y, geometry, crs
            Places of the points as names, columns or expressions of your frame, and their CRS. Columns are inferred from x/y,
            lon/lat, longitude/latitude, lng/lat, or ``geometry``; where the frame has several, name one. With a `crs` of None,
            the CRS is taken from GeoArrow metadata or EWKB and never guessed; a `crs` that contradicts them is an error.
        match
            ``"all"``: one row per point and covering record. ``"latest"``, ``"earliest"``, ``"nearest"``: exactly one row per
            point, with the first record in that order whose pixel there is not null in at least one of `bands`. A later record
            is read only for points without an answer so far.
        at
            Time of each row for `match` and `tolerance`: a column or expression of your frame, a Date (the whole UTC day) or a
            Datetime with a time zone. A row whose time is null has no answer.
        tolerance
            Greatest time between `at` and a record, such as ``"3d"`` or a timedelta (inclusive).
        valid
            Boolean expression over bands (raw values), record columns and yours. Where it is false or null, the pixel is null in
            every band. Bands that only `valid` names are read first, the others only where it may be true. It is evaluated for
            one pixel at a time: aggregates, ``shift``, ``rank``, ``over`` and the like are refused.
        method
            ``"nearest"``: the pixel that holds the point. ``"bilinear"``, ``"cubic"``: interpolation between pixel centres as
            Float64, with null pixels left out.
        max_distance_pixels
            Where the point's own pixel is null: rows and columns up to which the nearest valid pixel is searched. Adds
            ``{band}_distance`` (Float32, pixels from the point to the pixel's edge, 0 for the point's own pixel).
        joint
            True: the pixel found must be valid in all bands of the same grid. False: each band finds its own pixel.
        return_neighbourhood
            ``"always"`` or ``"if_center_nodata"``: add ``{band}_neighbourhood``, the square of ``2 r + 1`` pixels around the
            point's own pixel, null where pixels are null (`r` is `max_distance_pixels`).
        layout
            ``"long"``: one row per point, record and band, with the columns ``point_index``, ``point_x``, ``point_y``,
            ``point_crs``, ``record_id``, ``datetime``, ``collection``, ``band``, ``value``, ``raster_crs``, with
            `return_neighbourhood` also ``neighbourhood_values``, then yours.
        grid
            With `valid`: grid on which bands of different pixel sizes are compared, ``"finest"``, ``"coarsest"`` or a band's.
        unmatched
            ``"null"`` keeps points that no record covers, with nulls; ``"drop"`` drops them.
        record_columns
            Columns of the record to add: names, a selector, ``"all"``, ``[]``, or a dict from names to names in the answer
            (``{"datetime": "scene_time"}``). ``id`` is added as ``record_id``.
        suffix
            Suffix of added columns whose names exist already.
        on_error
            ``"raise"``, or ``"null"``: failed values are null and column ``read_error`` has the reason.
        unscale
            True or names of bands: return ``value * scale + offset`` as Float64.
        maintain_order
            Whether rows keep the caller's order. False reads them along a curve through the plane: where an answer needs several
            batches, or has more than 8 million rows, neighbours then share their tiles, which otherwise are read again.
        resampling
            ``"nearest"``: method that brings bands of other grids onto `grid`.
        budget_bytes
            Bytes that may be fetched. A read that would take more is refused: before its first request if the cost is known by
            then, else before the request that would exceed the budget.

        Returns
        -------
        polars.LazyFrame
            The caller's columns, record columns, one column per band in its pixel dtype (null where the pixel is null). Rows
            are in the caller's order, then by record time, then by record id.

        Raises
        ------
        UsageError
            When names, dtypes or a CRS do not fit.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"plot": ["a", "b"], "x": [500_005.0, 0.0], "y": [4_999_995.0, 0.0]})
        >>> scenes = pr.testing.example_scenes()
        >>> scenes.raster.sample_points(plots, ["red"], crs=32632).select("plot", "record_id", "red").collect().rows()
        [('a', 'first', 1000), ('a', 'second', 2000), ('b', None, None)]

        The newest clear pixel before each visit, one row per plot:

        >>> import datetime as dt
        >>> newest = scenes.raster.sample_points(
        ...     plots, ["red"], crs=32632, match="latest", at=dt.date(2024, 5, 20), valid=pl.col("nir") > 0
        ... )
        >>> newest.select("plot", "record_id", "red").collect().rows()
        [('a', 'first', 1000), ('b', None, None)]
        """
        with loading():
            from polars_rasteret.frame.verbs.sample_points import sample_points as sample
            from polars_rasteret.pairing.words import Pairing

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

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        """Add columns, as Polars' ``with_columns`` does, in batches bounded by the bytes of their answers.

        This is for raster expressions on rows with raster columns (and geometry), when the result is larger than memory and goes
        to a sink. Wide rows need small row groups: ``sink_parquet(..., row_group_size=64)``.

        Parameters
        ----------
        *exprs, **named_exprs
            Row-wise expressions. Each batch is evaluated by itself, so expressions that use other rows (an aggregate, ``shift``,
            ``over``, ...) are refused, as are Python functions that are not declared ``is_elementwise=True``.

        Returns
        -------
        polars.LazyFrame
            The rows with the columns added.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> chips = scenes.raster.with_columns(chip=pr.read_window(["red"], window=(0, 2, 0, 2), stack=True))
        >>> chips.select("id", "chip").collect().height
        2
        """
        with loading():
            from polars_rasteret.frame.query.bounded_columns import as_columns, with_columns

        return with_columns(self._lf, as_columns(exprs, named_exprs))
