"""Which column has the reasons of rows that could not be read?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_ERROR = "read_error"


def error_column(errors: Mapping[int, str], n_rows: int) -> pl.Series:
    """Return the column of reasons; null where a row did not fail."""
    reasons: list[str | None] = [None] * n_rows
    for row, reason in errors.items():
        reasons[row] = reason
    return pl.Series(READ_ERROR, reasons, dtype=pl.String)
