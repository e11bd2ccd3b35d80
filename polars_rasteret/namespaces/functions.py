"""Which functions of the package stand beside the namespaces?

They build expressions over several bands, or over values that were read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.options import OnError

    Method = Literal["nearest", "bilinear", "cubic"]


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
    from polars_rasteret.frame import sample_expression
    from polars_rasteret.frame.elementwise import band_expressions

    return sample_expression.sample_points(
        band_expressions("sample_points", bands),
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
    >>> scenes.select(pr.read_window(["red", "nir"], window=(0, 2, 0, 2), stack=True)).collect().item().to_list()
    [[[1000, 1001], [1064, 1065]], [[3000, 3003], [3192, 3195]]]
    """
    from polars_rasteret.frame import window_expression
    from polars_rasteret.frame.elementwise import band_expressions

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
    )


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
