"""Are the arguments of a verb or an expression valid, and in which form are they used?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: Polars writes its plans and hints below."""
    return str(error).strip().partition("\n")[0]


def check_choice(what: str, name: str, value: object, choices: Sequence[object]) -> None:
    """Raise `UsageError` when a value is not one of the choices."""
    if value not in choices:
        raise UsageError(f"{what}: {name}={value!r}; expected one of {', '.join(map(repr, choices))}")


def as_expr(value: Any, what: str) -> pl.Expr:
    """Return the expression for a column name, an expression or a number; raise `UsageError` for anything else."""
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    if is_number(value):
        return pl.lit(float(value))
    raise UsageError(f"{what} is {value!r}; expected a column name, an expression or a number")


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number (not a Boolean)."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def checked_shape(what: str, shape: Any, *, word: str = "shape") -> tuple[int, int] | None:
    """Return ``(height, width)`` in pixels, or None for None; raise `UsageError` when the argument `word` is not that."""
    if shape is None:
        return None
    try:
        height, width = shape
    except (TypeError, ValueError):
        height = width = None
    whole = (int, np.integer)
    if not (isinstance(height, whole) and isinstance(width, whole) and height > 0 and width > 0):
        raise UsageError(f"{what}: {word}={shape!r}; expected (height, width) in pixels, both 1 or more")
    return int(height), int(width)


def checked_resolution(what: str, resolution: Any, shape: object) -> tuple[float, float] | None:
    """Return the size of a pixel in x and in y, or None for None; a single number is the size in both.

    Raises
    ------
    UsageError
        When `resolution` is no such size, or `shape` is given as well.
    """
    if resolution is None:
        return None
    if shape is not None:
        raise UsageError(f"{what}: both shape and resolution are given; pass one of them")
    try:
        x, y = (resolution, resolution) if is_number(resolution) else resolution
    except (TypeError, ValueError):
        x = y = None
    if not (is_number(x) and is_number(y) and 0 < x < float("inf") and 0 < y < float("inf")):
        raise UsageError(
            f"{what}: resolution={resolution!r}; expected the size of a pixel, a number above 0 or (x, y), in units of the "
            "raster's CRS"
        )
    return float(x), float(y)


def check_fill(what: str, fill_value: Any) -> None:
    """Raise `UsageError` when a fill value is neither a number nor None."""
    if fill_value is not None and not is_number(fill_value):
        raise UsageError(f"{what}: fill_value={fill_value!r}; expected a number")


def checked_bands(what: str, bands: Any) -> tuple[str, ...]:
    """Return the names of bands; raise `UsageError` for no names, and for a name given twice."""
    names = (bands,) if isinstance(bands, str) else tuple(bands) if isinstance(bands, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what}: bands={bands!r}; expected names of raster columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{what}: bands name {', '.join(twice)} twice; name each once")
    return names


def checked_unscale(what: str, unscale: bool | Sequence[str], bands: Iterable[str]) -> frozenset[str]:
    """Return the bands whose values are unscaled: all, none, or those named."""
    known = list(bands)
    if isinstance(unscale, bool):
        return frozenset(known) if unscale else frozenset()
    names = checked_bands(f"{what}: unscale", unscale)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"{what}: unscale names {', '.join(unknown)}, which is none of the bands {', '.join(known)}")
    return frozenset(names)
