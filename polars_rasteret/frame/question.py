"""What does a verb ask: whose rows, of which records, under which names?

A `Question` is written once, when the verb is called; names, dtypes and coordinate columns are settled when Polars first asks for
the schema, because only then may schemas of the caller's frames be resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl
import polars.selectors as cs

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.frame.grids import check_grid
from polars_rasteret.frame.moments import AT, at_expression, check_at_dtype, check_tolerance
from polars_rasteret.frame.plan_text import is_frame
from polars_rasteret.frame.records import checked_raster_columns
from polars_rasteret.frame.stated_crs import crs_of_geometry, may_hold_srids
from polars_rasteret.frame.targets import TargetColumns, target_columns
from polars_rasteret.frame.validity import settled_validity
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.frame.units import Reader
    from polars_rasteret.frame.validity import Validity
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.choice import Match

Unmatched = Literal["null", "drop"]
DEFAULT_RECORD_COLUMNS = ("id", "datetime")
_NOT_FOR_ALL = ("geometry", "bbox", "assets")
READ_ERROR = "read_error"


class ReaderOf(Protocol):
    """Makes the reader of a verb once the bands and their dtypes are known; picklable."""

    def __call__(self, bands: Mapping[str, pl.DataType]) -> Reader:
        """Give the reader for these raster columns (name to dtype, in the order wanted)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Names, dtypes and columns of a question."""

    where: TargetColumns
    target_schema: Mapping[str, pl.DataType]
    record_schema: Mapping[str, pl.DataType]
    bands: tuple[str, ...]
    """The bands asked for."""
    loaded: tuple[str, ...]
    """These, and the bands that only say what is valid."""
    validity: Validity | None
    at: pl.Expr | None
    """Gives the column `AT` of the caller's frame."""
    reader: Reader
    targets: tuple[str, ...]
    """The caller's columns; they keep their names."""
    records: Mapping[str, str]
    """Output name to record column."""
    values: Mapping[str, str]
    """Output name to the name the reader gives."""
    schema: pl.Schema


@dataclass(frozen=True, kw_only=True)
class Question:
    """A verb's arguments."""

    verb: str
    records: pl.LazyFrame
    targets: pl.LazyFrame
    bands: tuple[str, ...] | None
    x: str | None
    y: str | None
    geometry: str | None
    crs: Any
    reader_of: ReaderOf
    match: Match
    at: Any
    tolerance: str | None
    valid: pl.Expr | None
    grid: str
    unmatched: Unmatched
    record_columns: Any
    suffix: str
    options: ReadOptions

    @cached_property
    def settled(self) -> Settled:
        """Names and dtypes.

        Raises
        ------
        UsageError
            For bands, columns or a CRS that are not there, and for names that clash in spite of the suffix.
        """
        target_schema = dict(self.targets.collect_schema())
        record_schema = dict(self.records.collect_schema())
        where = target_columns(
            target_schema, x=self.x, y=self.y, geometry=self.geometry, crs=self.crs, what=f"{self.verb}: targets"
        )
        self._check_srids(where, target_schema)
        bands = checked_raster_columns(record_schema, self.bands)
        reader = self.reader_of({band: record_schema[band] for band in bands})
        schema: dict[str, pl.DataType] = dict(target_schema)
        records: dict[str, str] = {}
        for column in self._chosen_record_columns(record_schema):
            name = self._free_name("record_id" if column == "id" else column, schema)
            schema[name] = record_schema[column]
            records[name] = column
        values: dict[str, str] = {}
        for natural, dtype in reader.outputs.items():
            name = self._free_name(natural, schema)
            schema[name] = dtype
            values[name] = natural
        validity = None
        if self.valid is not None:
            validity = settled_validity(
                self.verb, self.valid, target_schema=target_schema, record_schema=record_schema, outputs=records
            )
        judging = () if validity is None else validity.bands
        check_grid(self.verb, self.grid, [*bands, *judging])
        return Settled(
            where=where,
            target_schema=target_schema,
            record_schema=record_schema,
            bands=bands,
            loaded=tuple(dict.fromkeys([*bands, *judging])),
            validity=validity,
            at=self._settled_at(),
            reader=reader,
            targets=tuple(target_schema),
            records=records,
            values=values,
            schema=pl.Schema(schema),
        )

    def _check_srids(self, where: TargetColumns, schema: Mapping[str, pl.DataType]) -> None:
        """Refuse EWKB that contradicts `crs`, or WKB without one, at once where the caller's frame is in memory."""
        if where.geometry is not None and may_hold_srids(schema[where.geometry]) and is_frame(self.targets):
            geometry = self.targets.select(cs.by_name(where.geometry)).collect().to_series()
            crs_of_geometry(geometry, where.crs, what=f"{self.verb}: targets")

    def _settled_at(self) -> pl.Expr | None:
        if self.at is None:
            if self.match == "nearest" or self.tolerance is not None:
                word = 'match="nearest"' if self.match == "nearest" else "tolerance"
                raise UsageError(f"{self.verb}: {word} needs at=, the moment to which records are near")
            return None
        at = at_expression(self.verb, self.at)
        check_tolerance(self.verb, self.tolerance)
        try:
            dtype = self.targets.select(at).collect_schema()[AT]
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"{self.verb}: at={self.at!r} is not found in your frame: {error}") from error
        check_at_dtype(self.verb, dtype)
        return at

    def _free_name(self, name: str, taken: Mapping[str, pl.DataType]) -> str:
        if name not in taken:
            return name
        if (other := name + self.suffix) in taken:
            raise UsageError(
                f"{self.verb}: column {name!r} is taken, and so is {other!r}; rename a column of the frame, or pass another "
                "suffix="
            )
        return other

    def _chosen_record_columns(self, schema: Mapping[str, pl.DataType]) -> list[str]:
        chosen = self.record_columns
        if isinstance(chosen, str) and chosen == "all":
            hidden = {*_NOT_FOR_ALL, *raster_columns(schema)}
            return [name for name in schema if name not in hidden]
        if isinstance(chosen, pl.Expr):  # selectors are expressions
            return list(cs.expand_selector(pl.DataFrame(schema=dict(schema)), chosen))
        names: Sequence[str] = [chosen] if isinstance(chosen, str) else list(chosen)
        # Only id and raster columns are required to read, so the defaults are taken where they are.
        missing = [name for name in names if name not in schema and name not in DEFAULT_RECORD_COLUMNS]
        if missing:
            raise UsageError(
                f"{self.verb}: record_columns names {', '.join(missing)}, which the collection does not have; it has "
                f"{', '.join(schema)}"
            )
        return [name for name in dict.fromkeys(names) if name in schema]


def schema_here(schema: pl.Schema) -> pl.Schema:
    """Give the schema of an answer, as an IO source must; a small function, because Polars pickles it beside the source."""
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    return schema
