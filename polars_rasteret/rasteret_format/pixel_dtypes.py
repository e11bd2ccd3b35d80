"""Which dtype have the pixels of each band, by the footers of Parquet files alone?

A band whose files differ gets the dtype that holds the values of all of them, which must be known before a query runs. The
smallest and the largest text in the leaf ``BAND_metadata.dtype`` of each row group are in the footer. Where they are not, or
others may lie between them, the leaf itself is read.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.rasteret_format.band_columns import SUFFIX
from polars_rasteret.rasteret_format.raster_values import pixel_dtype_of
from polars_rasteret.schema import PIXEL_DTYPES, lossless_supertype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LEAF = f"{SUFFIX}.dtype"


def dtype_names(file: Any, bands: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the texts in ``BAND_metadata.dtype`` of each band of one Parquet file.

    Parameters
    ----------
    file
        A path or an open file of pyarrow's.
    bands
        Names of the bands.

    Returns
    -------
    dict
        An empty set for a band without values.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        metadata = opened.metadata
        found: dict[str, set[str]] = {band: set() for band in bands}
        unsure: set[str] = set()
        wanted = {f"{band}{_LEAF}": band for band in bands}
        seen: Counter[str] = Counter()
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            for index in range(group.num_columns):
                column = group.column(index)
                if (band := wanted.get(column.path_in_schema)) is None:
                    continue
                seen[band] += 1
                statistics = column.statistics
                if statistics is None or not (statistics.has_min_max or statistics.null_count == group.num_rows):
                    unsure.add(band)
                elif statistics.has_min_max:
                    least, most = str(statistics.min), str(statistics.max)
                    found[band] |= {least, most}
                    # Between two texts there may be a third one only where there are more than two values.
                    if least != most and group.num_rows - (statistics.null_count or 0) > 2:
                        unsure.add(band)
        unsure |= {band for band in bands if seen[band] != metadata.num_row_groups}
        for band in sorted(unsure):
            leaf = opened.read(columns=[f"{band}{_LEAF}"]).column(0).combine_chunks()
            found[band] = {one for one in leaf.field("dtype").unique().to_pylist() if one is not None}
    return {band: frozenset(names) for band, names in found.items()}


def dtype_names_of_frame(lf: pl.LazyFrame, bands: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return what `dtype_names` does, of a table that is no file; the leaves are collected."""
    texts = lf.select(pl.col(band + SUFFIX).struct.field("dtype").unique().implode().alias(band) for band in bands)
    return {name: frozenset(one) - {None} for name, one in zip(bands, texts.collect().row(0), strict=True)}


def settled_dtypes(names: Iterable[Mapping[str, frozenset[str]]], where: str) -> dict[str, pl.DataType | None]:
    """Return the pixel dtype of each band from the texts in all files; None for a band without any.

    Raises
    ------
    UsageError
        When no dtype holds the pixels of all records of a band.
    """
    together: dict[str, set[str]] = {}
    for one in names:
        for band, texts in one.items():
            together.setdefault(band, set()).update(texts)
    return {band: _settled(band, texts, where) for band, texts in together.items()}


def _settled(band: str, texts: set[str], where: str) -> pl.DataType | None:
    dtypes = []
    for text in sorted(texts):
        try:
            dtypes.append(pixel_dtype_of(text))
        except TypeError:
            continue
    dtypes = [one for one in dtypes if one.name in PIXEL_DTYPES]  # others, such as complex64, become null rasters
    if not dtypes:
        return None
    settled = lossless_supertype(dtypes)
    if settled is None:
        raise UsageError(
            f"{shown(where)}: no dtype holds the pixels of band {band!r} exactly, which are {', '.join(sorted(texts))}. Filter "
            "the table of rasteret first, and open what is left."
        )
    return PIXEL_DTYPES[settled.name]
