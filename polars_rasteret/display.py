"""How does an object that is a list of facts print, and render in a notebook?"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


_WITHOUT_HEAD = 2
"""Columns of a table that need no names above them: what, and its value."""
_WORDS = {True: "yes", False: "no", None: ""}


class Facts:
    """Base class of objects that print as their ``table``, and render as an HTML table in a notebook."""

    __slots__ = ()

    @property
    def table(self) -> pl.DataFrame:
        """One row per fact, in columns of text or Booleans; the first one says what it is about."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        # The first column, and the names of columns where they are shown, head their row or column.
        rows = [[html.escape(cell) for cell in row] for row in self._rows()]
        n_heads = int(self.table.width > _WITHOUT_HEAD)
        lines = [
            "".join(
                f"<{tag} style='text-align:left'>{cell}</{tag}>"
                for at, cell in enumerate(row)
                for tag in ["th" if at == 0 or number < n_heads else "td"]
            )
            for number, row in enumerate(rows)
        ]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"

    def _rows(self) -> list[list[str]]:
        table = self.table
        head = [list(table.columns)] if table.width > _WITHOUT_HEAD else []
        return head + [[_WORDS.get(cell, cell) for cell in row] for row in table.iter_rows()]
