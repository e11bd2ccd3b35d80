"""What is ``.raster`` on LazyFrames and DataFrames, and how do type checkers see it?

Registered namespaces are invisible to type checkers; the function `raster` returns the same objects with their types.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, overload

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.namespaces.area_verbs import AreaVerbs
from polars_rasteret.namespaces.cube_verbs import CubeVerbs
from polars_rasteret.namespaces.expression import RasterExpr
from polars_rasteret.namespaces.handles import Handles
from polars_rasteret.namespaces.pictures import Pictures
from polars_rasteret.namespaces.questions import Questions
from polars_rasteret.namespaces.training import Training
from polars_rasteret.namespaces.verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Callable


@pl.api.register_lazyframe_namespace("raster")
class RasterLazyFrame(Questions, Verbs, AreaVerbs, CubeVerbs, Training, Handles, Pictures):
    """Methods on a collection: a LazyFrame with raster columns."""

    def __repr__(self) -> str:
        return _told(self)


@pl.api.register_dataframe_namespace("raster")
class RasterDataFrame:
    """Methods of ``LazyFrame.raster`` on a DataFrame; where these return a LazyFrame, it is collected to a DataFrame."""

    def __init__(self, df: pl.DataFrame) -> None:
        self._df = df

    def __repr__(self) -> str:
        return _told(self)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _told(namespace: RasterLazyFrame | RasterDataFrame) -> str:
    """Return what a notebook shows of a namespace: the names of its methods."""
    names = ", ".join(name for name in dir(type(namespace)) if not name.startswith("_"))
    return f"<{type(namespace).__name__}: {names}>"


def _eager(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of LazyFrames as a method of DataFrames, with the same parameters and docstring."""

    @functools.wraps(method)
    def called(self: RasterDataFrame, *args: Any, **kwargs: Any) -> Any:
        answer = method(RasterLazyFrame(self._df.lazy()), *args, **kwargs)
        return answer.collect() if isinstance(answer, pl.LazyFrame) else answer

    signature = inspect.signature(method)
    gives = signature.return_annotation
    if gives == "pl.LazyFrame":
        called.__signature__ = signature.replace(return_annotation="pl.DataFrame")  # type: ignore[attr-defined]
    called.__qualname__ = f"RasterDataFrame.{method.__name__}"
    return called


for _name, _method in inspect.getmembers(RasterLazyFrame, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(RasterDataFrame, _name, _eager(_method))


@overload
def raster(data: pl.LazyFrame) -> RasterLazyFrame: ...
@overload
def raster(data: pl.Expr) -> RasterExpr: ...
@overload
def raster(data: pl.DataFrame) -> RasterDataFrame: ...
def raster(data: pl.LazyFrame | pl.DataFrame | pl.Expr) -> RasterLazyFrame | RasterDataFrame | RasterExpr:
    """Return the raster namespace of a LazyFrame, a DataFrame or an expression, with a type that type checkers see.

    Parameters
    ----------
    data
        A frame or an expression.

    Returns
    -------
    RasterLazyFrame or RasterDataFrame or RasterExpr
        What ``data.raster`` gives.

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
