"""Which functions does the package offer beside the namespaces?

They return expressions over several bands, or over values that were read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.module_loading import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.options import OnError

    Method = Literal["nearest", "bilinear", "cubic"]

_MOST_BITS = 64
_SOLAR_US_PER_DEGREE = 240_000_000
"""Microseconds of solar time per degree of longitude: four minutes."""


def sample_points(
    bands: Sequence[str] | None = None,
    x: Any = None,
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
    """Return the pixels of several bands at a point, all read together.

    Parameters
    ----------
    bands
        Names of raster columns; None: all raster columns.
    x, y
        Column names, expressions or numbers; without `y`, `x` is a point geometry.
    stack
        Whether to return one array instead of a Struct.
    joint
        Whether ``max_distance_pixels`` finds one pixel for all bands, or one for each band.
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
    with loading():
        from polars_rasteret.frame.expressions import sample_points as sample_expression
        from polars_rasteret.frame.expressions.elementwise import band_expressions

    return sample_expression.sample_points(
        None if bands is None else band_expressions("sample_points", bands),
        x,
        y,
        crs=crs,
        method=method,
        max_distance_pixels=max_distance_pixels,
        joint=joint,
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
    resolution: float | tuple[float, float] | None = None,
    resampling: Any = "nearest",
    grid: str = "finest",
    masked: bool = False,
    fill_value: float | None = None,
    unscale: bool = False,
    on_error: OnError | None = None,
) -> pl.Expr:
    """Return a window of several bands, all read together.

    Parameters
    ----------
    bands
        Names of raster columns.
    bounds, window, shape, crs, resolution, masked, fill_value, unscale, on_error
        As in the expression ``pl.col(band).raster.read_window``. A `window` of four numbers has a known size, so it returns
        arrays without `shape`.
    stack
        Whether to return one array instead of a Struct; needs a known size.
    grid
        Grid that all bands of a row share with `shape`, `resolution` or `stack`: that of the ``"finest"`` or ``"coarsest"``
        band (the first of equal ones), or of a named band. A `window` counts the pixels of each band, but in a stack those of
        the shared grid.
    resampling
        As in the expression, or a dict by band; bands that the dict does not name use ``"nearest"``.

    Returns
    -------
    polars.Expr
        Column ``pixels``: a Struct of windows by band, or with ``stack=True`` an ``Array(dtype, (bands, height, width))``.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> scenes = pr.testing.example_scenes().head(1)
    >>> scenes.select(pr.read_window(["red", "nir"], window=(0, 2, 0, 2), stack=True)).collect().item().to_list()
    [[[1000, 1001], [1064, 1065]], [[3000, 3003], [3192, 3195]]]
    """
    with loading():
        from polars_rasteret.frame.expressions import read_window as window_expression
        from polars_rasteret.frame.expressions.elementwise import band_expressions

    return window_expression.read_window(
        band_expressions("read_window", bands),
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
        grid=grid,
    )


def normalized_difference(a: str | pl.Expr, b: str | pl.Expr) -> pl.Expr:
    """Return ``(a - b) / (a + b)`` as Float32, without the wrap-around of unsigned integers.

    Parameters
    ----------
    a, b
        Column names or expressions.

    Returns
    -------
    polars.Expr
        Float32; null where `a` or `b` is null or their sum is 0.

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


def bits(expr: str | pl.Expr, first: int, count: int = 1) -> pl.Expr:
    """Return the number in some bits of an integer, as in quality bands.

    Parameters
    ----------
    expr
        Column name or integer expression.
    first
        Lowest of these bits; 0 is the least significant.
    count
        Number of bits.

    Returns
    -------
    polars.Expr
        Integer from 0 to ``2**count - 1``; null where `expr` is null.

    Raises
    ------
    UsageError
        When `first` or `count` is no bit of a 64-bit integer.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> qa = pl.DataFrame({"qa": [0b0000_1000, 0b1100_0000, None]}, schema={"qa": pl.UInt16})
    >>> qa.select(cloud=pr.bits("qa", 3), confidence=pr.bits("qa", 6, 2)).rows()
    [(1, 0), (0, 3), (None, None)]
    """
    for name, value, least in (("first", first, 0), ("count", count, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"bits: {name}={value!r}; expected a whole number, {least} or more")
    if first + count > _MOST_BITS:
        raise UsageError(f"bits: first={first} and count={count} reach beyond bit {_MOST_BITS - 1}, the last one of 64")
    number = pl.col(expr) if isinstance(expr, str) else expr
    # Floor division moves bits down for negative numbers, too.
    moved: pl.Expr = number // 2**first
    return moved & pl.lit(2**count - 1)


def clear_sky(dataset_id: str) -> pl.Expr:
    """Return the expression that is true where pixels of a dataset are clear of cloud and shadow, for ``valid=``.

    Parameters
    ----------
    dataset_id
        Id of a dataset of the catalog that has a quality band; `datasets` lists them.

    Returns
    -------
    polars.Expr
        Boolean, over the raw values of the quality band under its name in the catalog. Sentinel-2: ``SCL`` is vegetation, bare
        soil or water (4, 5, 6). Landsat: the bit "clear" (6) of ``qa_pixel`` is set. HLS: the bits cloud, beside cloud and
        shadow (1, 2, 3) of ``Fmask`` are not set.

    Raises
    ------
    UsageError
        When there is no such dataset, or it has no quality band that says so.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> scene = pl.DataFrame({"SCL": [4, 9, None]}, schema={"SCL": pl.UInt8})
    >>> scene.select(pr.clear_sky("earthsearch/sentinel-2-l2a")).to_series().to_list()
    [True, False, None]
    """
    from polars_rasteret.catalog.known import dataset, datasets

    rule = dataset(dataset_id).clear
    if rule is None:
        having = [name for name in datasets()["id"].to_list() if dataset(name).clear is not None]
        raise UsageError(
            f"clear_sky: the catalog names no clear pixels of {dataset_id!r}; it does of {', '.join(having)}"
        )
    expression: pl.Expr = rule.expression
    return expression


def solar_day(datetime: str | pl.Expr, lon: str | float | pl.Expr) -> pl.Expr:
    """Return the date of the local solar time at a longitude, so that all scenes of one overpass have the same date.

    Parameters
    ----------
    datetime
        Column name or expression; a naive time counts as UTC.
    lon
        Longitude in degrees east: a column name, a number or an expression.

    Returns
    -------
    polars.Expr
        Date of UTC plus 4 minutes per degree east; null where the time or the longitude is null.

    Examples
    --------
    >>> import datetime as dt
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> scenes = pl.DataFrame({"datetime": [dt.datetime(2024, 5, 1, 23, 30)], "lon": [151.2]})
    >>> scenes.select(pr.solar_day("datetime", "lon")).item()
    datetime.date(2024, 5, 2)
    """
    time = pl.col(datetime) if isinstance(datetime, str) else datetime
    east = pl.col(lon) if isinstance(lon, str) else lon if isinstance(lon, pl.Expr) else pl.lit(float(lon))
    moved = time.dt.epoch("us") + (east * _SOLAR_US_PER_DEGREE).cast(pl.Int64)
    return moved.cast(pl.Datetime("us")).dt.date()


def weighted_mean(value: str | pl.Expr, weight: str | pl.Expr = "coverage") -> pl.Expr:
    """Return the weighted mean of values, for instance of pixels weighted by the share that a zone covers.

    Parameters
    ----------
    value, weight
        Column names or expressions; a row where either is null does not count.

    Returns
    -------
    polars.Expr
        Float64, one value per group; null where the weights that count sum to 0.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> pixels = pl.DataFrame({"red": [10, 20, None], "coverage": [1.0, 0.25, 1.0]})
    >>> pixels.select(pr.weighted_mean("red")).item()
    12.0
    """
    values = (pl.col(value) if isinstance(value, str) else value).cast(pl.Float64)
    weights = (pl.col(weight) if isinstance(weight, str) else weight).cast(pl.Float64)
    product = values * weights
    total = weights.filter(product.is_not_null()).sum()
    return pl.when(total != 0).then(product.sum() / total)
