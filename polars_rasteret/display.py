"""How does an object that is a list of facts print, and render in a notebook?"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


class Facts:
    """Base class of objects that print as their ``table``, and render as an HTML table in a notebook."""

    __slots__ = ()

    @property
    def table(self) -> pl.DataFrame:
        """One row per fact: ``what``, ``value``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        width = max(len(what) for what in self.table["what"])
        return "\n".join(f"{what:<{width}}  {value}" for what, value in self.table.iter_rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(what)}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
            for what, value in self.table.iter_rows()
        )
        return f"<table>{rows}</table>"
