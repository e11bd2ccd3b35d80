"""How does a page of items become a table that says all there is to know before headers are read?

One row per item that has a band, and one Struct column per band: the href, the band in the file, and what the item states. So
the items themselves can be dropped. How headers make records of such tables belongs in `item_records`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.writing.signed_hrefs import with_keys_kept_back
from polars_rasteret.fetch.hints import register_hints
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.records import check_band_names
from polars_rasteret.ingest.source_files import NamedBy, absolute_href
from polars_rasteret.stac.asset_bands import BandChoice, Plane, asset_href
from polars_rasteret.stac.catalogued_items import CataloguedItems
from polars_rasteret.stac.item_columns import ItemColumns, item_columns
from polars_rasteret.stac.item_filters import meeting
from polars_rasteret.stac.item_hints import hints_of_items
from polars_rasteret.stac.search_words import Search
from polars_rasteret.stac.stated_metadata import stated_crs, stated_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.catalog.descriptor import DatasetDescriptor
    from polars_rasteret.ingest.resumable_build import Key
    from polars_rasteret.stac.items import Items

PLANE = "\0plane:"
"""What the name of a column begins with that says where the pixels of a band are; the name of the band follows."""
PLANE_DTYPE = pl.Struct(
    {
        "href": pl.String(),
        "band_index": pl.Int64(),
        "crs": pl.String(),
        "nodata": pl.String(),
        "scale": pl.Float64(),
        "offset": pl.Float64(),
    }
)
"""``nodata`` is text, so that it loses no digit of 64-bit integers."""


@dataclass(slots=True, kw_only=True)
class PageTables:
    """Makes tables of pages, and counts what gave no row."""

    bands: Sequence[str] | Mapping[str, str] | None = None
    alternate: str | Sequence[str] | None = None
    rewrite: Mapping[str, str] | None = None
    catalogued: CataloguedItems = field(default_factory=CataloguedItems)
    """What the catalog says where the caller and the items say nothing."""
    may_miss: bool = False
    """Whether `bands` may name some that no item has."""
    search: Search = field(default_factory=Search)
    """Filters that are applied here; an API has applied its own."""
    told_by: Provenance = Provenance.HERE
    """Who names the hrefs of the items."""
    refused: Counter[str] = field(default_factory=Counter)
    n_pages: int = 0
    n_items: int = 0
    """Items that met the search."""
    n_without_bands: int = 0
    _choice: BandChoice = field(init=False)
    _first_refused: str = ""
    _is_told: bool = False

    def __post_init__(self) -> None:
        self._choice = BandChoice(self.bands, may_miss=self.may_miss)
        if self._choice.wanted is not None:
            check_band_names(list(self._choice.wanted))

    def of_page(self, found: Items) -> ItemColumns:
        """Return the table of a page.

        Raises
        ------
        UsageError
            When a band is ambiguous in an item.
        """
        for name, reason in found.refused:
            self._first_refused = self._first_refused or f"{name}: {reason}"
            self.refused[reason] += 1
        items, bases = found.items, found.bases
        kept = meeting(items, self.search)
        if self.search.max_items is not None:
            kept = kept[: self.search.max_items - self.n_items]
        if len(kept) < len(items):
            items, bases = [items[at] for at in kept], [bases[at] for at in kept]
        self.n_pages += 1
        self.n_items += len(items)
        known = [self.catalogued.dataset(item, base) for item, base in zip(items, bases, strict=True)]
        named = None
        if self._choice.wanted is None:
            named = [self.catalogued.planes(item, one) for item, one in zip(items, known, strict=True)]
        planes = self._choice.of_items(items, named)
        kept = [at for at in range(len(items)) if any(one[at] is not None for one in planes.values())]
        self.n_without_bands += len(items) - len(kept)
        if len(kept) < len(items):
            items, bases, known = [items[at] for at in kept], [bases[at] for at in kept], [known[at] for at in kept]
            planes = {name: [one[at] for at in kept] for name, one in planes.items()}
        if self._choice.wanted is None:
            check_band_names(list(planes))
        table = item_columns(items)
        columns = [self._plane_column(name, of_item, items, bases, known) for name, of_item in planes.items()]
        frame = table.frame.with_columns(columns)
        cut = with_keys_kept_back(frame, told=self._is_told)
        self._is_told = self._is_told or cut is not frame
        made = ItemColumns(cut, table.kinds)
        register_hints(hints_of_items(items, bases, hrefs_of(made).values()))
        return made

    def end(self) -> None:
        """Warn of what gave no row, once all pages have come.

        Raises
        ------
        UsageError
            When no item has a band that was asked for.
        """
        self._choice.refuse_missing()
        told = []
        if n_refused := self.refused.total():
            told.append(f"{n_refused} thing(s) are no STAC items and were left out, for example {self._first_refused}")
        if self.n_without_bands:
            told.append(f"{self.n_without_bands} item(s) have none of the bands and gave no record")
        if not self.n_items:
            told.append("no item was found; the collection is empty")
        if told:
            warnings.warn("; ".join(told), UserWarning, stacklevel=4)

    def provenance(self, table: ItemColumns) -> dict[str, Provenance]:
        """Return who names each href of a table; where the caller has an href rewritten, it is the caller."""
        if self.told_by is Provenance.HERE:
            return {}
        named_by = NamedBy(self.told_by, self.rewrite)
        return {href: named_by(href) for href in wanted_of(table)}

    @property
    def is_full(self) -> bool:
        """Whether as many items came as were wanted at most."""
        return self.search.max_items is not None and self.n_items >= self.search.max_items

    @property
    def band_names(self) -> list[str]:
        """Names of the bands that the caller named; empty where the items name them."""
        return list(self._choice.wanted or ())

    def _plane_column(
        self,
        band: str,
        planes: Sequence[Plane | None],
        items: Sequence[Mapping[str, Any]],
        bases: Sequence[str | None],
        known: Sequence[DatasetDescriptor | None],
    ) -> pl.Series:
        rows = [
            None if plane is None else self._plane_row(plane, item, base, self.catalogued.stated(item, one, plane))
            for plane, item, base, one in zip(planes, items, bases, known, strict=True)
        ]
        return pl.Series(f"{PLANE}{band}", rows, dtype=PLANE_DTYPE)

    def _plane_row(
        self, plane: Plane, item: Mapping[str, Any], base: str | None, known: Mapping[str, float]
    ) -> dict[str, Any]:
        href = asset_href(item, plane.key, base, alternate=self.alternate, rewrite=self.rewrite)
        row: dict[str, Any] = {
            "href": absolute_href(href),
            "band_index": plane.band_index,
            "crs": stated_crs(item, plane.key),
        }
        for name in ("nodata", "scale", "offset"):
            value = stated_number(item, plane.key, plane.band_index, name)
            row[name] = known.get(name) if value is None else value
        row["nodata"] = None if row["nodata"] is None else repr(row["nodata"])
        return row


def bands_of(table: ItemColumns) -> list[str]:
    """Return the names of the bands that a table has."""
    return [name.removeprefix(PLANE) for name in table.frame.columns if name.startswith(PLANE)]


def hrefs_of(table: ItemColumns) -> dict[str, list[str | None]]:
    """Return band name to the href of each row."""
    return {band: table.frame[f"{PLANE}{band}"].struct.field("href").to_list() for band in bands_of(table)}


def keys_of(table: ItemColumns) -> list[Key]:
    """Return the id of each row, with the distinct hrefs of its files, sorted."""
    of_row = list(zip(*hrefs_of(table).values(), strict=True)) or [()] * table.frame.height
    return [
        (one, tuple(sorted({href for href in hrefs if href is not None})))
        for one, hrefs in zip(table.frame["id"].to_list(), of_row, strict=True)
    ]


def bands_of_rows(table: ItemColumns) -> list[frozenset[str]]:
    """Return the names of the bands that each row has."""
    hrefs = hrefs_of(table)
    names: dict[tuple[bool, ...], frozenset[str]] = {}
    found = []
    for has in zip(*([href is not None for href in one] for one in hrefs.values()), strict=True):
        if has not in names:
            names[has] = frozenset(name for name, is_there in zip(hrefs, has, strict=True) if is_there)
        found.append(names[has])
    return found or [frozenset()] * table.frame.height


def wanted_of(table: ItemColumns) -> dict[str, list[int]]:
    """Return each distinct href with the bands to read of the file."""
    wanted: dict[str, set[int]] = {}
    for band in bands_of(table):
        planes = table.frame[f"{PLANE}{band}"].struct.unnest()
        for href, index in planes.select("href", "band_index").unique().drop_nulls().iter_rows():
            wanted.setdefault(href, set()).add(index)
    return {href: sorted(indices) for href, indices in sorted(wanted.items())}
