"""What does a verb ask: whose rows, of which records, under which names?

A `Question` is written once, when the verb is called; names, dtypes and coordinate columns are settled when Polars first asks for
the schema, because only then may schemas of the caller's frames be resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl
import polars.selectors as cs

from polars_rasteret.arguments import first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.frame.query.plan_text import is_frame
from polars_rasteret.frame.query.validity import settled_validity
from polars_rasteret.grids.choosing import check_grid
from polars_rasteret.pairing.records import checked_raster_columns
from polars_rasteret.pairing.stated_crs import crs_of_geometry, may_hold_srids
from polars_rasteret.pairing.targets import COMPUTED, TargetColumns, target_columns, targets_of
from polars_rasteret.pairing.times import AT, at_expression, check_at_dtype
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pairing.reader import Reader
    from polars_rasteret.pixels.valid_mask import Validity
    from polars_rasteret.plan.time_match import Match

Unmatched = Literal["null", "drop"]
DEFAULT_RECORD_COLUMNS = ("id", "datetime")
_NOT_FOR_ALL = ("geometry", "bbox", "assets")
_ARGUMENTS = {"sample_points": "points", "read_windows": "aois"}
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

    @property
    def whose(self) -> str:
        """Name the frame that is paired with records, for messages."""
        return whose_frame(self.verb)

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
        where = target_columns(target_schema, x=self.x, y=self.y, geometry=self.geometry, crs=self.crs, what=self.whose)
        self._check_srids(where, target_schema)
        bands = checked_raster_columns(record_schema, self.bands)
        reader = self.reader_of({band: record_schema[band] for band in bands})
        schema = {name: dtype for name, dtype in target_schema.items() if not name.startswith(COMPUTED)}
        targets = tuple(schema)
        records: dict[str, str] = {}
        for column, wanted in self._chosen_record_columns(record_schema).items():
            name = self._free_name(wanted, schema)
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
            targets=targets,
            records=records,
            values=values,
            schema=pl.Schema(schema),
        )

    def every_target(self) -> Points | Areas:
        """Give the place of every row of the caller's frame."""
        where = self.settled.where
        frame = self.targets.select(cs.by_name(*where.names)).collect()
        return targets_of(frame, where, as_points=self.settled.reader.as_points, what=self.verb)

    def _check_srids(self, where: TargetColumns, schema: Mapping[str, pl.DataType]) -> None:
        """Refuse EWKB that contradicts `crs`, or WKB without one, at once where the caller's frame is in memory."""
        if where.geometry is not None and may_hold_srids(schema[where.geometry]) and is_frame(self.targets):
            geometry = self.targets.select(cs.by_name(where.geometry)).collect().to_series()
            crs_of_geometry(geometry, where.crs, what=self.whose)

    def _settled_at(self) -> pl.Expr | None:
        if self.at is None:
            if self.match == "nearest" or self.tolerance is not None:
                word = 'match="nearest"' if self.match == "nearest" else "tolerance"
                raise UsageError(f"{self.verb}: {word} needs at=, the moment to which records are near")
            return None
        at = at_expression(self.verb, self.at)
        try:
            dtype = self.targets.select(at).collect_schema()[AT]
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"{self.verb}: at={self.at!r} is not found in your frame: {first_line(error)}") from error
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

    def _chosen_record_columns(self, schema: Mapping[str, pl.DataType]) -> dict[str, str]:
        """Give the record columns wanted, and the name of each in the answer."""
        chosen = self.record_columns
        if isinstance(chosen, str) and chosen == "all":
            hidden = {*_NOT_FOR_ALL, *raster_columns(schema)}
            return {name: _record_name(name) for name in schema if name not in hidden}
        if isinstance(chosen, pl.Expr):  # selectors are expressions
            return {name: _record_name(name) for name in cs.expand_selector(pl.DataFrame(schema=dict(schema)), chosen)}
        if isinstance(chosen, Mapping):
            names = dict(chosen)
        else:
            names = {name: _record_name(name) for name in ([chosen] if isinstance(chosen, str) else chosen)}
        if not all(isinstance(new, str) for new in names.values()) or len({*names.values()}) < len(names):
            raise UsageError(
                f"{self.verb}: record_columns={chosen!r}; expected names, or a dict from each to a name of its own, such as "
                '{"datetime": "scene_time"}'
            )
        # Only id and raster columns are required to read, so the defaults are taken where they are.
        missing = [name for name in names if name not in schema and name not in DEFAULT_RECORD_COLUMNS]
        if missing:
            raise UsageError(
                f"{self.verb}: record_columns names {', '.join(missing)}, which the collection does not have; it has "
                f"{', '.join(schema)}"
            )
        return {name: new for name, new in names.items() if name in schema}


def whose_frame(verb: str) -> str:
    """Name the frame that a verb pairs with records by its argument, for messages."""
    return f"{verb}: {_ARGUMENTS.get(verb, 'targets')}"


def _record_name(column: str) -> str:
    return "record_id" if column == "id" else column


def schema_here(schema: pl.Schema) -> pl.Schema:
    """Give the schema of an answer, as an IO source must; a small function, because Polars pickles it beside the source."""
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    return schema
