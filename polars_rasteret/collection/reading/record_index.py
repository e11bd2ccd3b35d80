"""How do a narrow index of records and wide tables of their bands become one collection?

Filters choose records in the index alone. What is known of their bands is then read from the wide tables, for these records and
the bands asked for, and joined by id as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.io.plugins import register_io_source

from polars_rasteret.collection.reading.rasteret_parts import band_dtypes
from polars_rasteret.collection.reading.schemas import united_schema
from polars_rasteret.collection.storage.parts import parts_at, plain_path, polars_options, read_schemas
from polars_rasteret.engine.interruption import guarded
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.plan_objects import RecordsSource
from polars_rasteret.hrefs import shown
from polars_rasteret.rasteret_format.band_columns import SUFFIX, bands_of
from polars_rasteret.rasteret_format.index_columns import IndexColumns
from polars_rasteret.rasteret_format.pixel_dtypes import settled_dtypes
from polars_rasteret.rasteret_format.places_of_files import FilePlaces
from polars_rasteret.rasteret_format.raster_values import RasterValues
from polars_rasteret.rasteret_format.records import UNKNOWN, own_columns
from polars_rasteret.schema import raster_dtype

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from polars_rasteret.collection.storage.parts import Part

_ROWS_AT_ONCE = 256
"""Records whose bands are looked up together; a record of AlphaEarth takes 35 ms and half a megabyte."""
_PART = "source_part"
_ID = "\0id"
_CASTS = pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast", missing_struct_fields="insert")


def scan_record_index(
    data: str | os.PathLike[str], index: str | os.PathLike[str], descriptor: Any, **options: Any
) -> pl.LazyFrame:
    """Return the records of an index, with raster columns that are made from wide tables.

    Raises
    ------
    UsageError
        When nothing is there, a column is missing, or the wide tables know nothing of any band.
    """
    told = IndexColumns.of(descriptor)
    narrow_parts, wide_parts = _parts(index, "index", options), _parts(data, "data", options)
    narrow_schema = united_schema(
        read_schemas(narrow_parts, **options), [part.path for part in narrow_parts], lambda *_: False
    )
    wide = read_schemas(wide_parts, **options)
    wide_schema = united_schema(wide, [part.path for part in wide_parts], lambda *_: False)
    bands = bands_of(wide_schema) or [band for band in told.bands if band + SUFFIX in wide_schema]
    if not bands or (own_id := told.columns.get("id", "id") if "id" not in wide_schema else "id") not in wide_schema:
        raise UsageError(
            f"{shown(plain_path(data))}: expected wide tables of rasteret, with ids, assets and metadata of bands; they have "
            f"{', '.join(wide_schema)}"
        )
    scan = pl.scan_parquet(
        [part.path for part in narrow_parts],
        glob=False,
        hive_partitioning=False,
        schema=narrow_schema,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=_CASTS,
        **polars_options(**options),
    )
    named = told.named(scan, narrow_schema, shown(plain_path(index)))
    dtypes, made = own_columns(dict(named.collect_schema()), {}, None)
    names = [
        band_dtypes(part, one, bands=[band for band in bands if band + SUFFIX in one], **options)
        for part, one in zip(wide_parts, wide, strict=True)
    ]
    pixels = settled_dtypes(names, shown(plain_path(data)))
    source = RecordIndex(
        narrow=named.select(expr.alias(name) for name, expr in made.items()),
        columns=dtypes,
        pixels={band: pixels.get(band) or UNKNOWN for band in bands},
        parts={part.path.removeprefix(part.folder).lstrip("/"): part.path for part in wide_parts},
        wide={
            name: wide_schema[name] for name in (own_id, "assets", *(b + SUFFIX for b in bands)) if name in wide_schema
        },
        own_id=own_id,
        told=told,
        places=FilePlaces.beside(narrow_parts[0].folder, told.rewrite),
        options=options,
    )
    return register_io_source(
        source,
        schema=partial(_same, source.schema),
        validate_schema=True,
        is_pure=True,
        explain_name="RECORD INDEX",
        explain_detail=f"BANDS: {', '.join(bands)}",
    )


def _same(schema: pl.Schema) -> pl.Schema:
    return schema


def _parts(path: str | os.PathLike[str], what: str, options: Mapping[str, Any]) -> list[Part]:
    found = parts_at(path, **options)
    if not found:
        raise UsageError(
            f"nothing is at {shown(plain_path(path))} ({what}); expected Parquet, a file or a folder that holds some"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordIndex(RecordsSource):
    """IO source of Polars: the records of an index, with the bands that wide tables know. It can be pickled."""

    narrow: pl.LazyFrame
    columns: Mapping[str, pl.DataType]
    pixels: Mapping[str, pl.DataType]
    """Pixel dtype of each band."""
    parts: Mapping[str, str]
    """Path of each wide table by its place below the folder, as ``source_part`` of the index names it."""
    wide: Mapping[str, pl.DataType]
    """Schema in which the wide tables are scanned."""
    own_id: str
    """Column of the ids in the wide tables."""
    told: IndexColumns
    places: FilePlaces
    options: Mapping[str, Any]

    @property
    def schema(self) -> pl.Schema:
        """Columns of the index, then the bands."""
        return pl.Schema({**self.columns, **{band: raster_dtype(dtype) for band, dtype in self.pixels.items()}})

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield records with the columns wanted."""
        return guarded(self._frames(list(self.schema) if with_columns is None else with_columns, predicate, n_rows))

    def _frames(self, wanted: Sequence[str], predicate: pl.Expr | None, n_rows: int | None) -> Iterator[pl.DataFrame]:
        asked = {*wanted, *(() if predicate is None else predicate.meta.root_names())}
        bands = [band for band in self.pixels if band in asked]
        rows, later = self.narrow, None
        if predicate is not None and self.pixels.keys().isdisjoint(predicate.meta.root_names()):
            rows = rows.filter(predicate)
        else:
            later = predicate
        if n_rows is not None and later is None:
            rows = rows.head(n_rows)
        needed = {*asked, *(("id", _PART, "proj:code", self.told.href) if bands else ())}
        chosen = rows.select(name for name in self.columns if name in needed).collect()
        left = n_rows
        for start in range(0, max(chosen.height, 1), _ROWS_AT_ONCE if bands else max(chosen.height, 1)):
            frame = chosen[start : start + _ROWS_AT_ONCE] if bands else chosen
            if bands:
                frame = self._with_bands(frame, bands)
            if later is not None:
                frame = frame.filter(later)
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame.select(wanted)
            if left is not None and left <= 0:
                return

    def _with_bands(self, frame: pl.DataFrame, bands: Sequence[str]) -> pl.DataFrame:
        paths = self._paths(frame)
        names = {self.own_id, "assets", *(band + SUFFIX for band in bands)} & self.wide.keys()
        scan = pl.scan_parquet(
            paths,
            glob=False,
            hive_partitioning=False,
            schema=dict(self.wide),
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=_CASTS,
            **polars_options(**self.options),
        ).select(sorted(names))
        own_id = pl.col(self.own_id) if self.wide[self.own_id] == pl.String else pl.col(self.own_id).cast(pl.String)
        known = scan.filter(own_id.is_in(frame["id"].unique().drop_nulls().implode())).with_columns(own_id.alias(_ID))
        wide = known.unique(_ID, keep="first", maintain_order=True).collect()
        joined = frame.join(
            wide.select(_ID, pl.struct(pl.exclude(_ID)).alias(_ID + "wide")),
            left_on="id",
            right_on=_ID,
            how="left",
            maintain_order="left",
        )
        return joined.with_columns(self._raster(band) for band in bands).drop(_ID + "wide")

    def _raster(self, band: str) -> pl.Expr:
        wide = pl.col(_ID + "wide").struct
        hrefs, indices = [], [pl.lit(self.told.bands.get(band, 0), pl.Int64)]
        if (assets := self.wide.get("assets")) is not None and (asset := _field(assets, band)) is not None:
            hrefs.append(wide.field("assets").struct.field(band).struct.field("href"))
            if _field(asset, "band_index") is not None:
                indices.insert(0, wide.field("assets").struct.field(band).struct.field("band_index"))
        if self.told.href is not None and band in self.told.bands:
            hrefs.append(pl.col(self.told.href))
        return (
            pl.struct(
                href=pl.coalesce(hrefs),
                band_index=pl.coalesce(indices),
                metadata=wide.field(band + SUFFIX),
                crs=pl.col("proj:code"),
            )
            .map_batches(
                RasterValues(pixel_dtype=self.pixels[band], places=self.places),
                return_dtype=raster_dtype(self.pixels[band]),
                is_elementwise=True,
            )
            .alias(band)
        )

    def _paths(self, frame: pl.DataFrame) -> list[str]:
        """Return the wide tables that may know the records: those that the index names, else all."""
        named = set(frame[_PART]) if _PART in frame.columns else {None}
        if named <= self.parts.keys() and named:
            return [self.parts[one] for one in self.parts if one in named]
        return list(self.parts.values())


def _field(dtype: Any, name: str) -> Any:
    return next((one.dtype for one in dtype.fields if one.name == name), None)
