"""Which verbs of ``.raster`` read areas? Methods are thin: they document a call and pass it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from polars_rasteret.module_loading import loading

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_rasteret.options import OnError
    from polars_rasteret.pairing.words import Unmatched
    from polars_rasteret.plan.time_match import Match

    Unscale = bool | Sequence[str]


class AreaVerbs:
    """Methods that pair the records of a collection with areas, and read windows or statistics."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def read_windows(
        self,
        aois: Any,
        bands: str | Sequence[str] | None = None,
        *,
        shape: tuple[int, int] | None = None,
        resolution: float | tuple[float, float] | None = None,
        coverage: Literal["center", "all_touched"] | None = None,
        masked: bool | Literal["column"] = False,
        fill_value: float | None = None,
        stack: bool = False,
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
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
        """Return the window of each record around each point, or over each area.

        Parameters
        ----------
        aois
            A frame with coordinate, geometry or bbox columns, a GeoDataFrame, or any Arrow, pandas or DuckDB table;
            or geometries, one or a list: shapely, WKB, GeoJSON dicts (in longitude and latitude, by RFC 7946),
            or boxes ``(xmin, ymin, xmax, ymax)``.
        bands
            Names of raster columns; None: all raster columns.
        shape
            ``(height, width)``. Points: the window has the raster's own pixels; its pixel ``(height // 2, width // 2)`` holds the
            point. Areas: the window is exactly the area's box in the raster's CRS, resampled from the best overview. Pixels
            outside the image are filled. Without `shape`: the smallest window of the raster's own pixels, clipped to the image.
        resolution
            Size of a pixel instead of `shape`, or ``(x, y)``, in units of the raster's CRS, adjusted to whole pixels.
        coverage
            Which pixels count as covered by an area: those with their ``"center"`` in it, or ``"all_touched"``. Others are
            treated as outside the image. None: no such test. A point keeps its whole window.
        masked
            True: null pixels are null elements. ``"column"``: adds ``{band}_valid`` (needs `shape`).
        fill_value
            Value of pixels outside the image or not covered; None: nodata, else 0. With `unscale` in unscaled units.
        grid
            With `shape` or `resolution`: grid that all bands of a row share, ``"finest"``, ``"coarsest"`` or a band's.
        resampling
            A method as in the expression ``read_window``, or a dict of methods by band (nearest for the others). Applies to
            areas on a grid of their own, and to bands that are brought onto the grid of another band.
        stack
            Whether to return one column ``pixels`` of ``Array(supertype, (bands, height, width))``.
        unscale
            True or names of bands: return ``value * scale + offset`` as Float32.
        valid
            As in `sample_points`, for each pixel of the grid that all bands of the row share. Pixels that are not valid are null
            with `masked`, and do not count for `match`.
        min_valid_fraction
            With `match`: share, 0 to 1, of the window's pixels (of covered ones with `coverage`) that must be valid in some band
            for a record to count. None: any valid pixel. A record without a valid pixel never counts.
        x, y, geometry, crs, match, at, tolerance, unmatched, record_columns, suffix, on_error, maintain_order, budget_bytes
            As in `sample_points`.

        Returns
        -------
        polars.LazyFrame
            One row per area and covering record: the caller's columns, record columns, and per band an
            ``Array(pixel dtype, shape)``, or without `shape` a Struct of ``pixels``, ``height``, ``width``, ``transform``,
            ``crs``. With `shape` or `resolution` also ``transform`` and ``raster_crs`` of the grid that the bands share.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> plots = pl.DataFrame({"x": [500_015.0], "y": [4_999_985.0]})
        >>> chips = pr.testing.example_scenes().raster.read_windows(plots, ["red"], shape=(3, 3), crs=32632)
        >>> chips.collect()["red"][0].to_list()
        [[1000, 1001, 1002], [1064, 1065, 1066], [1128, 1129, 1130]]
        """
        with loading():
            from polars_rasteret.frame.verbs.read_windows import read_windows as read
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

    def zonal_stats(
        self,
        zones: Any,
        bands: str | Sequence[str] | Mapping[str, str | pl.Expr] | None = None,
        stats: str | Sequence[str] = ("count", "mean"),
        *,
        coverage: Literal["exact", "center", "all_touched"] = "exact",
        approx: int | None = None,
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
        valid: pl.Expr | None = None,
        min_valid_fraction: float | None = None,
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
        """Return statistics of the pixels of each record in each zone.

        Zones are cut at the borders of a file's tiles, so that a tile is read once, however many zones share it. Memory does not
        grow with the size of a zone. Only ``median``, ``quantile``, ``majority``, ``minority``, ``variety`` and ``fractions``
        keep values until their rows are answered: 32 bytes per distinct value and weight of a zone and record, and three times
        as much while they are put together. Integers of up to 16 bits have few distinct values. Of wider dtypes nearly every
        pixel has its own: 100 bytes per pixel of all zones and records of a batch.

        Parameters
        ----------
        zones
            A frame with polygons or boxes, a GeoDataFrame, or any Arrow, pandas or DuckDB table;
            or polygons, one or a list: shapely, WKB, GeoJSON dicts (in longitude and latitude, by RFC 7946),
            or boxes ``(xmin, ymin, xmax, ymax)``.
        bands
            Names of raster columns; None: all raster columns. Or a dict from names of your own to bands and formulas, such as
            ``{"ndvi": pr.normalized_difference("B08", "B04")}``: statistics are of the formula's value in each pixel. A formula
            is a row-wise expression over bands. Its pixel is null where one of its bands is, or where it gives null or NaN.
        stats
            Names of statistics. Weights are the covered shares of pixels; null pixels are left out. ``"count"`` is the sum of
            weights. ``"sum"``, ``"mean"``, ``"var"``, ``"std"`` are weighted, for the population. ``"min"``, ``"max"``.
            ``"median"`` and ``"quantile(0.9)"`` sort pixels; with equal weights they are NumPy's linear quantiles. ``"majority"``
            and ``"minority"`` are the values of the largest and the smallest weight; ties go to the larger and the smaller value.
            ``"variety"`` is the number of values, ``"fractions"`` their shares. ``"valid_fraction"`` is the share of the zone
            that has valid pixels; parts of the zone beside the image have none.
        coverage
            ``"exact"``: each pixel counts by the share of it that the zone covers. ``"center"`` and ``"all_touched"``: whole
            pixels, as GDAL rasterises.
        approx
            None: pixels of full resolution. A number: each zone is read from the coarsest overview on which its area takes at
            least so many pixels, such as 1,000; its statistics are of the overview's pixels, as the file's writer made them.
            ``count`` and ``sum`` stay in pixels of full resolution. Zones that are too small for an overview, files without
            overviews, and records whose bands lie on several grids where `valid` or formulas need them together, are read at
            full resolution.
        valid
            As in `sample_points`, for each pixel of the grid on which the bands of a record meet.
        min_valid_fraction
            With `match`: share, 0 to 1, of the zone that must be valid in some band for a record to count. None: any valid pixel.
        grid, resampling
            With `valid` or a dict of `bands`: the grid on which the bands of a record meet, and how they come onto it.
        unscale
            True or names of bands: statistics of ``value * scale + offset``; formulas get these values.
        x, y, geometry, crs, match, at, tolerance, unmatched, record_columns, suffix, on_error, maintain_order, budget_bytes
            As in `sample_points`.

        Returns
        -------
        polars.LazyFrame
            One row per zone and covering record: the caller's columns, record columns, and ``{band}_{statistic}``. ``min``,
            ``max``, ``majority`` and ``minority`` have the dtype of the pixels or of the formula, ``variety`` is UInt32,
            ``fractions`` a List of Structs of ``value`` and ``fraction``; the others are Float64.
            ``"quantile(0.9)"`` is ``{band}_q90``. Without a valid pixel
            ``count``, ``sum``, ``variety`` and ``valid_fraction`` are 0, ``fractions`` is empty, and the others are null.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> import shapely
        >>> field = [shapely.box(500_005, 4_999_980, 500_020, 5_000_000)]
        >>> statistics = pr.testing.example_scenes().raster.zonal_stats(field, ["red"], ["count", "mean", "max"], crs=32632)
        >>> statistics.select("record_id", "red_count", "red_mean", "red_max").collect().rows()
        [('first', 3.0, 1032.6666666666667, 1065), ('second', 3.0, 2032.6666666666667, 2065)]
        """
        with loading():
            from polars_rasteret.frame.verbs.zonal_stats import zonal_stats as read
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
            zones,
            bands,
            stats,
            words,
            coverage=coverage,
            approx=approx,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
        )

    def pixels(
        self,
        zones: Any,
        bands: str | Sequence[str] | Mapping[str, str | pl.Expr] | None = None,
        *,
        coverage: Literal["exact", "center", "all_touched"] = "exact",
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
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
        """Return the pixels of each record in each zone, one row per pixel.

        A zone of any size may go to a sink: its pixels are read and handed on a part at a time.

        Parameters
        ----------
        zones
            A frame with polygons or boxes, a GeoDataFrame, an Arrow table, or a list of shapely polygons.
        bands
            Names of raster columns; None: all raster columns. Or a dict from names of your own to bands and formulas, as in
            `zonal_stats`.
        coverage
            Which pixels are in a zone and how much they weigh, as in `zonal_stats`.
        valid
            As in `sample_points`, for each pixel; where it is not true, the values are null.
        match, min_valid_fraction
            As in `zonal_stats`. With `match` all pixels of a zone and a record are in memory at once.
        unmatched
            ``"null"``: a zone without a record, and a zone without a pixel in its record, has one row of nulls.
        grid, resampling
            The grid on which the bands of a record meet, and how they come onto it.
        unscale
            True or names of bands: ``value * scale + offset`` as Float64; formulas get these values.
        x, y, geometry, crs, at, tolerance, record_columns, suffix, on_error, maintain_order, budget_bytes
            As in `sample_points`.

        Returns
        -------
        polars.LazyFrame
            The caller's columns without the geometry, record columns, then ``raster_crs``, ``x`` and ``y`` (Float64, the centre
            in that CRS), ``row`` and ``col`` (Int64, on the grid of the image), ``coverage`` (Float64, share of the pixel
            that counts), and the values in the dtype of the pixels or formulas; a null pixel is null. Rows are in order of zones,
            records, rows and columns.

        Raises
        ------
        UsageError
            For points and lines, for formulas that look at other pixels, and for a band named as one of these columns.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> import shapely
        >>> field = [shapely.box(500_005, 4_999_990, 500_020, 5_000_000)]
        >>> pixels = pr.testing.example_scenes().raster.pixels(field, ["red"], crs=32632)
        >>> pixels.select("record_id", "x", "coverage", "red").head(2).collect().rows()
        [('first', 500005.0, 0.5, 1000), ('first', 500015.0, 1.0, 1001)]
        >>> pixels.group_by("record_id", maintain_order=True).agg(pr.weighted_mean("red").round(2)).collect().rows()
        [('first', 1000.67), ('second', 2000.67)]
        """
        with loading():
            from polars_rasteret.frame.verbs.pixels import pixels as read
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
            zones,
            bands,
            words,
            coverage=coverage,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
        )
