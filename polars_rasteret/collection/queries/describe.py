"""What is in this collection, at a glance?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.queries.extent import bounds_array, crs, is_bbox, place_expression
from polars_rasteret.collection.queries.periods import begin_and_end
from polars_rasteret.collection.storage.geoparquet import total_bounds
from polars_rasteret.display import Facts
from polars_rasteret.schema import BBOX, pixel_dtype, raster_columns

if TYPE_CHECKING:
    import datetime as dt


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Description(Facts):
    """The summary of a collection; prints as a table and renders as HTML in a notebook."""

    n_records: int
    bands: dict[str, pl.DataType]
    """Band to pixel dtype."""
    n_missing: dict[str, int]
    """Band to the number of records without it."""
    n_header_errors: int
    start: dt.datetime | None
    end: dt.datetime | None
    bounds: tuple[float, float, float, float] | None
    """``(xmin, ymin, xmax, ymax)`` in longitude and latitude; xmin > xmax when a record crosses the antimeridian."""
    crs: tuple[str, ...]
    collections: tuple[str, ...]

    @property
    def data(self) -> dict[str, Any]:
        """The summary as plain values: numbers, texts, lists, and datetimes; dtypes are texts."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return values | lists | {"bands": {band: str(dtype) for band, dtype in self.bands.items()}}

    def __getitem__(self, key: str) -> Any:
        """Return one value of `data`."""
        return self.data[key]

    @property
    def table(self) -> pl.DataFrame:
        """The summary as a frame with one row per fact: ``what``, ``value``."""
        facts = {"records": f"{self.n_records:,}"}
        if self.collections:
            facts["collections"] = _some(self.collections)
        facts["time"] = "none" if self.start is None else f"{self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"
        facts["bounds"] = "none" if self.bounds is None else ", ".join(f"{side:.4f}" for side in self.bounds)
        facts["crs"] = (
            _some([code.partition("[")[2].partition(",")[0] or code for code in self.crs]) if self.crs else "none"
        )
        if self.n_header_errors:
            facts["header errors"] = f"{self.n_header_errors:,} records"
        for band, dtype in self.bands.items():
            missing = f" ({self.n_missing[band]:,} missing)" if self.n_missing[band] else ""
            facts[f"band {band}"] = f"{dtype}{missing}"
        return pl.DataFrame({"what": list(facts), "value": list(facts.values())})


def describe(lf: pl.LazyFrame) -> Description:
    """Return a summary of a collection: records, time, place, CRSs, bands, pixel dtypes and what is missing. Reads no pixel.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> describe(pr.testing.example_scenes())
    records   2
    time      2024-05-01 to 2024-06-01
    bounds    9.0000, 45.1477, 9.0081, 45.1535
    crs       EPSG:32632
    band red  UInt16
    band nir  UInt16
    """
    schema = lf.collect_schema()
    names = raster_columns(schema)
    wanted = [pl.len().alias("n_records"), place_expression(lf).implode().alias("bbox")]
    wanted += [pl.col(name).null_count().alias(f"missing:{name}") for name in names]
    if (times := begin_and_end(schema)) is not None:
        wanted += [times[0].min().alias("start"), times[1].max().alias("end")]
    if "header_error" in schema:
        wanted.append(pl.col("header_error").count().alias("n_header_errors"))
    if schema.get("collection") == pl.String:
        wanted.append(pl.col("collection").drop_nulls().unique().sort().implode().alias("collections"))
    found = lf.select(wanted).collect().row(0, named=True)
    places = pl.Series(found["bbox"], dtype=schema["bbox"] if is_bbox(schema.get("bbox")) else BBOX)
    return Description(
        n_records=found["n_records"],
        bands={name: pixel_dtype(schema[name]) for name in names},
        n_missing={name: found[f"missing:{name}"] for name in names},
        n_header_errors=found.get("n_header_errors", 0),
        start=found.get("start"),
        end=found.get("end"),
        bounds=total_bounds(bounds_array(places)) if found["n_records"] else None,
        crs=tuple(crs(lf)) if names else (),
        collections=tuple(found.get("collections") or ()),
    )


def _some(values: tuple[str, ...] | list[str], most: int = 6) -> str:
    told = ", ".join(values[:most])
    return told if len(values) <= most else f"{told} and {len(values) - most} more"
