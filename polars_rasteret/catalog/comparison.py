"""Does a collection hold what the catalog says of its dataset?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.catalog.item_facts import first_stated
from polars_rasteret.catalog.known import dataset, known_datasets
from polars_rasteret.collection.queries.describe import Description, describe
from polars_rasteret.display import Facts
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.catalog.band_facts import BandSource, ValueRule
    from polars_rasteret.catalog.descriptor import DatasetDescriptor

_FIELDS = ("nodata", "scale", "offset")
_NEUTRAL = {"scale": 1.0, "offset": 0.0}
"""What an unknown scale or offset does to a value: nothing."""
_SLACK_DEGREES = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CatalogComparison(Facts):
    """A collection beside a dataset of the catalog; prints as a table and renders as HTML in a notebook."""

    dataset: DatasetDescriptor
    description: Description
    differing_values: Mapping[str, int]
    """Band to the number of records whose nodata, scale or offset is not what the catalog states."""

    @property
    def table(self) -> pl.DataFrame:
        """One row per fact: ``what``, ``here``, ``catalog``, ``agrees`` (null: nothing to compare)."""
        rows = [("dataset", "", self.dataset.id, None), *self._places(), *self._bands()]
        schema = {"what": pl.String, "here": pl.String, "catalog": pl.String, "agrees": pl.Boolean}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not (self.table["agrees"] == False).any()  # noqa: E712 - null is neither

    def _places(self) -> list[tuple[str, str, str, bool | None]]:
        here, one = self.description, self.dataset
        rows: list[tuple[str, str, str, bool | None]] = []
        if here.collections or one.collections:
            same = set(here.collections) <= set(one.collections) if here.collections and one.collections else None
            rows.append(("collection", ", ".join(here.collections), ", ".join(one.collections), same))
        first, last = one.temporal_extent
        told = "" if here.start is None else f"{here.start:%Y-%m-%d} to {here.end:%Y-%m-%d}"
        stated = f"{first or ''} to {last or ''}".strip() if first or last else ""
        inside = None
        if here.start is not None and here.end is not None and stated:
            inside = (first is None or here.start.date() >= first) and (last is None or here.end.date() <= last)
        rows.append(("time", told, stated, inside))
        if one.spatial_extent is not None:
            told = "" if here.bounds is None else _box(here.bounds)
            fits = None if here.bounds is None else _is_within(here.bounds, one.spatial_extent)
            rows.append(("bounds", told, _box(one.spatial_extent), fits))
        return rows

    def _bands(self) -> list[tuple[str, str, str, bool | None]]:
        here, sources = self.description, self.dataset.bands
        rows: list[tuple[str, str, str, bool | None]] = []
        for name in dict.fromkeys([*sources, *here.bands]):
            told = ""
            if name in here.bands:
                n_missing = here.n_missing[name]
                told = f"{here.bands[name]}" + (f" ({n_missing:,} missing)" if n_missing else "")
            source: BandSource | None = sources.get(name)
            stated = "" if source is None else source.asset + (f", band {source.index}" if source.index else "")
            rows.append((f"band {name}", told, stated, bool(told and stated)))
            if name in self.differing_values:
                n_differ = self.differing_values[name]
                words = f"{n_differ:,} records differ" if n_differ else "as stated"
                rows.append((f"values {name}", words, "nodata, scale, offset", not n_differ))
        return rows


def compare_to_catalog(lf: pl.LazyFrame, dataset_id: str | None = None) -> CatalogComparison:
    """Return what a collection has beside what the catalog says of its dataset. Reads no pixel.

    Raises
    ------
    UsageError
        When there is no such dataset, or the records do not tell which one it is.
    """
    here = describe(lf)
    one = dataset(dataset_id) if dataset_id is not None else _dataset_of(here)
    return CatalogComparison(
        dataset=one, description=here, differing_values=_differing_values(lf, one, list(here.bands))
    )


def _dataset_of(here: Description) -> DatasetDescriptor:
    collections = set(here.collections)
    found = [one for one in known_datasets().values() if collections & set(one.collections)]
    fitting = [one for one in found if set(here.bands) <= set(one.bands)] or found
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        words = (
            f"are of {', '.join(here.collections)}, which the catalog"
            if collections
            else "have no column 'collection' that"
        )
        raise UsageError(
            f"compare_to_catalog: the records {words} {'does not have' if collections else 'tells their dataset'}; name a "
            "dataset, pr.datasets() lists them"
        )
    raise UsageError(
        f"compare_to_catalog: the records may be of {' or '.join(one.id for one in fitting)}; name one of them"
    )


def _differing_values(lf: pl.LazyFrame, one: DatasetDescriptor, bands: list[str]) -> dict[str, int]:
    """Return for each band of which the catalog states values, how many records have other ones."""
    schema = lf.collect_schema()
    rules: tuple[ValueRule, ...] = tuple(one.rules)
    properties = [
        name for name in dict.fromkeys(rule.property for rule in rules) if name is not None and name in schema
    ]
    differing: dict[str, int] = {}
    for band in bands:
        if not any(rule.holds_for(band) for rule in rules):
            continue
        fields = [pl.col(band).struct.field(field).cast(pl.Float64).alias(f"\0{field}") for field in _FIELDS]
        there = lf.filter(pl.col(band).is_not_null()).select(*properties, *fields)
        groups = there.group_by(pl.all()).agg(pl.len().alias("\0records")).collect()
        differing[band] = sum(row["\0records"] for row in groups.iter_rows(named=True) if _differs(row, band, rules))
    return differing


def _differs(row: Mapping[str, Any], band: str, rules: tuple[ValueRule, ...]) -> bool:
    for field in _FIELDS:
        stated = first_stated(rules, band, field, row)
        here = row[f"\0{field}"]
        here = _NEUTRAL.get(field) if here is None else here
        if stated is not None and here != stated:
            return True
    return False


def _box(bounds: tuple[float, float, float, float]) -> str:
    return ", ".join(f"{side:.4f}" for side in bounds)


def _is_within(box: tuple[float, float, float, float], outer: tuple[float, float, float, float]) -> bool:
    if not (box[1] >= outer[1] - _SLACK_DEGREES and box[3] <= outer[3] + _SLACK_DEGREES):
        return False
    if outer[2] - outer[0] >= 360:
        return True
    width = (outer[2] - outer[0]) % 360
    # Longitudes are counted from the western side of the outer box, so that the antimeridian is no border.
    start = (box[0] - outer[0] + _SLACK_DEGREES) % 360 - _SLACK_DEGREES
    return start + (box[2] - box[0]) % 360 <= width + 2 * _SLACK_DEGREES
