"""Collections whose tile tables are borrowed: made of what another program knows of the files."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from polars_rasteret.engine.borrowed_tables import forget_own_table
from polars_rasteret.schema import raster_columns
from polars_rasteret.tiff.tile_table import pack, unpack


def guessed(tiles):
    """Give a table as one must guess it without byte order, bits per sample, masks, overviews and what LERC is wrapped in."""
    known = unpack(tiles)
    return pack(
        replace(
            known,
            byte_order="<",
            bits_per_sample=known.dtype.itemsize * 8,
            alpha=None,
            masks=(),
            plane=None,
            images=(replace(known.images[0], jpeg_tables=b"", is_ycbcr=False),),
            codec_parameter=0,
            file_size=None,
            etag=None,
            last_modified=None,
            is_borrowed=True,
        )
    )


def with_borrowed_tables(scenes):
    """Give a collection with borrowed tables, of files whose headers this process does not know."""
    frame = scenes.lazy().collect()
    for band in raster_columns(frame.schema):
        fields = frame[band].struct.unnest()
        for href in fields["href"].drop_nulls().unique():
            forget_own_table(href)
        tiles = [None if one is None else guessed(one) for one in fields["tiles"]]
        changed = fields.with_columns(pl.Series("tiles", tiles, dtype=pl.Binary)).to_struct(band)
        frame = frame.with_columns(pl.when(frame[band].is_not_null()).then(changed).alias(band))
    return frame.lazy()
