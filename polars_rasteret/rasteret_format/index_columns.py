"""What is in the columns of a record index, and where do the bands of a record lie?

A record index is a narrow table with a row per record, beside wide tables with what is known of the bands. Its columns have the
names of whoever made it, so somebody must say what they are: a descriptor of the catalog, or a mapping with the same words. The
words of rasteret's own descriptors do as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONSUMED = ("id", "geometry", "bbox", "proj:epsg", "collection")
"""Record columns whose own column is not kept under its own name, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexColumns:
    """What is known of the columns of a record index."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Record column to the column that holds it."""
    href: str | None = None
    """Column of the hrefs of all bands; None where the wide tables have them."""
    bands: Mapping[str, int] = field(default_factory=dict)
    """Band to its 0-based index in the file of `href`."""
    rewrite: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of hrefs to what stands in their place."""

    @classmethod
    def of(cls, descriptor: Any) -> Self:
        """Return what a descriptor says: one of the catalog, or a mapping with its words or with those of rasteret.

        Raises
        ------
        UsageError
            When the descriptor holds something else.

        Examples
        --------
        >>> told = {"field_roles": {"id": "fid", "href": "path"}, "band_index_map": {"A00": 0}}
        >>> IndexColumns.of(told).columns, IndexColumns.of(told).href
        ({'id': 'fid'}, 'path')
        """
        if descriptor is None:
            return cls()

        def word(name: str) -> Any:
            value = descriptor.get(name) if isinstance(descriptor, Mapping) else getattr(descriptor, name, None)
            return {} if value is None else value

        roles, renamed = _texts("field_roles", word("field_roles")), _texts("column_map", word("column_map"))
        columns = {**roles, **{to: of for of, to in renamed.items()}, **_texts("columns", word("columns"))}
        href = word("href_column") or columns.pop("href", None) or None
        columns.pop("href", None)
        bands = dict(word("band_index_map"))
        for band, source in dict(word("bands")).items():
            asset, index = _source(source)
            href, bands[band] = asset if href is None else href, index
        rewrite = {
            **_texts("url_rewrite_patterns", word("url_rewrite_patterns")),
            **_texts("rewrite", word("rewrite")),
        }
        return cls(columns=columns, href=href, bands=bands, rewrite=rewrite)

    def named(self, lf: pl.LazyFrame, names: Iterable[str], where: str) -> pl.LazyFrame:
        """Return an index with its columns under the names of record columns.

        Raises
        ------
        UsageError
            When the index lacks a column that the descriptor names, or has no ids.
        """
        there = list(names)
        wanted = {to: of for to, of in self.columns.items() if of in there}
        missing = sorted(
            {of for to, of in self.columns.items() if of not in there and to in ("id", "geometry", "datetime")}
        )
        if missing or ("id" not in wanted and "id" not in there):
            raise UsageError(
                f"{where}: the index has no column {', '.join(missing) or 'id'}; it has {', '.join(there)}. Say which column is "
                'which: descriptor={"columns": {"id": "fid", "datetime": "year", ...}}'
            )
        gone = {of for to, of in wanted.items() if to in _CONSUMED} | wanted.keys()
        return lf.select(
            *(pl.col(of).alias(to) for to, of in wanted.items()), *(pl.col(one) for one in there if one not in gone)
        )


def _texts(word: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise UsageError(f"descriptor: {word} is {value!r}; expected a mapping of texts to texts")
    return dict(value)


def _source(source: Any) -> tuple[str, int]:
    """Return column and band index of one band: ``"path"``, ``("path", 3)``, or an object with `asset` and `index`."""
    asset, index = (
        (source, 0) if isinstance(source, str) else (getattr(source, "asset", None), getattr(source, "index", None))
    )
    if isinstance(source, tuple | list) and len(source) == 2:
        asset, index = source
    if isinstance(source, Mapping):
        asset, index = source.get("asset"), source.get("index", 0)
    if not isinstance(asset, str) or not isinstance(index, int):
        raise UsageError(
            f"descriptor: a band is {source!r}; expected a column of hrefs, or (column, 0-based band index)"
        )
    return asset, index
