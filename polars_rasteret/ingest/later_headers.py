"""How are headers read only when somebody asks for a raster column?

Each raster column is a function of the hrefs of its rows, evaluated by Polars for the rows that filters left, so a query reads
the headers of the files that it needs. A process reads each header once. How headers become raster values belongs in `records`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.engine import Spending, running
from polars_rasteret.engine.borrowed_tables import file_headers
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.fetch.sources.byte_source import FileKey, Terms
from polars_rasteret.hrefs import shown
from polars_rasteret.ingest.headers import Header, Unreadable, header_of
from polars_rasteret.ingest.records import BandFiles, raster_series, records_frame
from polars_rasteret.options import current_options
from polars_rasteret.schema import RECORD_COLUMNS, lossless_supertype, numpy_dtype, polars_dtype, raster_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.ingest.source_files import NamedBy
    from polars_rasteret.options import ReadOptions

_BAND = "\0band "
"""What the names of hidden columns begin with: the href and the band index of each row, per band."""


def with_later_rasters(
    base: pl.DataFrame,
    of_band: Mapping[str, Sequence[str | None]],
    index_of: Mapping[str, NDArray[np.int64]],
    pixel_dtypes: Mapping[str, pl.DataType],
    *,
    on_error: str,
    named_by: NamedBy,
) -> pl.LazyFrame:
    """Return records whose raster columns, and ``header_error``, are made when they are asked for.

    Parameters
    ----------
    base
        The record columns that are known without headers, and the caller's columns.
    of_band, index_of
        Absolute href and 0-based band of each row, per band.
    pixel_dtypes
        Pixel dtype of each band; files that do not fit it are files that cannot be used.
    on_error
        As in the builds.
    named_by
        Who named each href.
    """
    known = records_frame(base, [], [], on_error=on_error)
    told = [name for name in ("proj:code", "proj:epsg") if name in base.columns]
    known = known.with_columns(base[name] for name in told).with_columns(
        indexed_at=pl.lit(None, RECORD_COLUMNS["indexed_at"])
    )
    hidden = [
        pl.DataFrame({"href": pl.Series(of_band[band], dtype=pl.String), "band_index": index_of[band]}).to_struct(
            f"{_BAND}{band}"
        )
        for band in of_band
    ]
    words: dict[str, Any] = {"on_error": on_error, "named_by": named_by, "options": current_options()}
    of_rasters = {
        band: pl.col(f"{_BAND}{band}").map_batches(
            LaterRasters(pixel_dtypes={band: pixel_dtypes[band]}, **words),
            raster_dtype(pixel_dtypes[band]),
            is_elementwise=True,
        )
        for band in of_band
    }
    errors = pl.struct(pl.col(f"{_BAND}{band}").alias(band) for band in of_band).map_batches(
        LaterErrors(pixel_dtypes=dict(pixel_dtypes), **words), pl.String, is_elementwise=True
    )
    lazy = known.with_columns(hidden).lazy().with_columns(header_error=errors, **of_rasters)
    return lazy.select(*known.columns, *(band for band in of_band if band not in known.columns))


def checked_pixel_dtypes(given: Any, bands: Sequence[str]) -> dict[str, pl.DataType]:
    """Return the pixel dtype of each band, by what a caller stated: one for all bands, or one by band.

    Raises
    ------
    UsageError
        When a band has none, or a dtype is none of pixels.
    """
    stated = dict(given) if hasattr(given, "keys") else dict.fromkeys(bands, given)
    if unknown := [name for name in stated if name not in bands]:
        raise UsageError(f"pixel_dtypes names {', '.join(map(repr, unknown))}; the bands are {', '.join(bands)}")
    if missing := [name for name in bands if stated.get(name) is None]:
        raise UsageError(
            f"read_headers=False: the pixel dtype of {', '.join(missing)} is not known before a header is read; state it, "
            "pixel_dtypes=pl.UInt16 or pixel_dtypes={'B04': pl.UInt16}. Float64 holds all pixels but 64-bit integers"
        )
    found: dict[str, pl.DataType] = {}
    for name in bands:
        dtype = stated[name]
        try:
            found[name] = polars_dtype(np.dtype(dtype) if not _is_polars(dtype) else numpy_dtype(dtype))
        except TypeError as error:
            raise UsageError(f"pixel_dtypes: {dtype!r} of {name!r} is no dtype; expected one as pl.UInt16") from error
    return found


def _is_polars(dtype: Any) -> bool:
    return isinstance(dtype, pl.DataType) or (isinstance(dtype, type) and issubclass(dtype, pl.DataType))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    """What is needed to read the headers of the rows of one batch; it can be pickled."""

    pixel_dtypes: Mapping[str, pl.DataType]
    on_error: str
    named_by: NamedBy
    options: ReadOptions

    def made(self, bands: Mapping[str, pl.Series]) -> tuple[list[pl.Series], list[str | None]]:
        """Return the raster columns of some rows, and the reasons why values are null."""
        hrefs = {name: one.struct.field("href").to_list() for name, one in bands.items()}
        indices = {name: one.struct.field("band_index").to_numpy() for name, one in bands.items()}
        wanted: dict[str, set[int]] = {}
        for name, of_rows in hrefs.items():
            for href, index in zip(of_rows, indices[name].tolist(), strict=True):
                if href is not None:
                    wanted.setdefault(href, set()).add(index)
        with running():
            read = self._headers(wanted)
        number = {href: at for at, href in enumerate(wanted)}
        # A file may fit the dtype of one band and not that of another: each band has headers of its own.
        headers = [self._fitting(read[href], dtype) for dtype in self.pixel_dtypes.values() for href in wanted]
        sources = [
            BandFiles(
                name=name,
                file_id=np.array(
                    [-1 if href is None else at * len(wanted) + number[href] for href in hrefs[name]], np.int64
                ),
                band_index=indices[name].astype(np.int64),
            )
            for at, name in enumerate(self.pixel_dtypes)
        ]
        n_rows = len(next(iter(bands.values())))
        columns, _, told = raster_series(sources, headers, n_rows, on_error=self.on_error)
        return columns, told

    def _headers(self, wanted: Mapping[str, set[int]]) -> dict[str, Header | Unreadable]:
        options = replace(self.options, dry_run=None).begun()  # an estimate reads headers, too
        terms_of = {href: Terms.of(options.allowed_hrefs, self.named_by(href)) for href in wanted}
        found = file_headers(list(terms_of.items()), options, spending=Spending.of(options))
        headers: dict[str, Header | Unreadable] = {}
        for href, bands in wanted.items():
            terms = terms_of[href]
            file = found[href, terms]
            parsed, key = file if isinstance(file, tuple) else (file, FileKey(href, terms=terms))
            headers[href] = header_of(href, parsed, key, sorted(bands), terms)
        return headers

    @staticmethod
    def _fitting(header: Header | Unreadable, dtype: pl.DataType) -> Header | Unreadable:
        """Return a header, or why pixels of its dtype are not held by another dtype."""
        promised = numpy_dtype(dtype)
        native = (
            np.dtype(np.float32) if getattr(header, "dtype", None) == np.float16 else getattr(header, "dtype", promised)
        )
        if isinstance(header, Unreadable) or native == np.bool_ or lossless_supertype([native, promised]) == promised:
            return header
        return Unreadable(
            header.href,
            FileFormatError(
                f"{shown(header.href)}: pixels are {native}, and {promised} (pixel_dtypes=) does not hold them exactly; state "
                "another dtype for this band"
            ),
            header.identity,
        )


class LaterRasters(_Later):
    """Callback of Polars that makes the raster column of one band."""

    def __call__(self, rows: pl.Series) -> pl.Series:
        """Return the raster values of one batch of hrefs and band indices."""
        ((name, dtype),) = self.pixel_dtypes.items()
        (column,), _ = self.made({name: rows})
        return column.cast(raster_dtype(dtype)).rename(rows.name)


class LaterErrors(_Later):
    """Callback of Polars that makes ``header_error``."""

    def __call__(self, rows: pl.Series) -> pl.Series:
        """Return the reasons of one batch of hrefs and band indices, a field per band."""
        bands = {name: rows.struct.field(name) for name in self.pixel_dtypes}
        return pl.Series(rows.name, self.made(bands)[1], dtype=pl.String)
