"""What is ``.raster`` on LazyFrames and DataFrames, and how do type checkers see it?

Registered namespaces are invisible to type checkers; `raster` gives the same objects as a plain function.
"""

from __future__ import annotations

from typing import Any, overload

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.namespaces.expression import RasterExpr
from polars_rasteret.namespaces.questions import Questions
from polars_rasteret.namespaces.verbs import Verbs


@pl.api.register_lazyframe_namespace("raster")
class RasterLazyFrame(Questions, Verbs):
    """Ask and read a collection: a LazyFrame with raster columns."""


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
