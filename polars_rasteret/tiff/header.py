"""Which bytes are the header of a GeoTIFF, and what does the header say about bands, images and tiles?

`read_header` is a generator that asks for byte ranges and returns a `TiffFile`; its caller fetches the bytes. Requests are few:
one speculative range, then directories, then all missing out-of-line values, with near neighbours joined. Every loop is bounded:
directories are visited once and counted, tables must fit the image, and an empty answer ends the parse.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.tiff import tags, tile_table
from polars_rasteret.tiff.band_tiles import BandTiles
from polars_rasteret.tiff.codecs.inflate import LERC
from polars_rasteret.tiff.directories import Entries, directories, file_head
from polars_rasteret.tiff.gdal_metadata import BandNotes, band_notes, nodata_of
from polars_rasteret.tiff.georeference import crs_of, transform_of
from polars_rasteret.tiff.layout import ImageLayout, image_layout
from polars_rasteret.tiff.masks import MASK, REDUCED, alpha_sample, mask_images
from polars_rasteret.tiff.received_bytes import ByteRange, ReceivedBytes
from polars_rasteret.tiff.tile_offsets import TileOffsets, tile_offsets

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np

    from polars_rasteret.tiff.tags import IfdShape

__all__ = ["ByteRange", "TiffFile", "read_header"]

FIRST_BYTES = 32_768
"""Bytes of the speculative first range, which holds the header of most cloud-optimized files."""
_MAX_OVERVIEWS = 31

Values: TypeAlias = "dict[int, np.ndarray[Any, Any]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffFile:
    """Content of the header of a GeoTIFF."""

    href: str
    crs: str | None
    """``EPSG:n``, or WKT2 where no code exists."""
    crs_refusal: str | None
    """Reason why the CRS is None although the file describes a CRS."""
    transform: tuple[float, float, float, float, float, float] | None
    """Affine a, b, c, d, e, f of pixel corners; None without georeferencing."""
    width: int
    height: int
    n_bands: int
    dtype: np.dtype[Any]
    nodata: int | float | None
    descriptions: tuple[str | None, ...]
    scales: tuple[float | None, ...]
    offsets: tuple[float | None, ...]
    datetime: dt.datetime | None
    """Time of tag 306, taken for UTC."""
    byte_order: tags.ByteOrder
    is_big_tiff: bool
    images: tuple[TileOffsets, ...]
    """Image at full resolution, then the overviews, largest first."""
    masks: tuple[TileOffsets, ...]
    """Internal mask of each image; empty in most files."""
    alpha: int | None
    """Index of the alpha band, which holds the opacity of the others."""
    _packed: dict[Any, bytes] = field(default_factory=dict, repr=False, compare=False)

    def band_tiles(
        self, band_index: int, *, file_size: int | None, etag: str | None, last_modified: dt.datetime | None
    ) -> bytes:
        """Return the ``tiles`` field of one band; the bands of a pixel-interleaved file have equal fields.

        Raises
        ------
        UsageError
            When the file has no such band.
        FileFormatError
            When byte counts of strips are missing and `file_size` is None.
        """
        if not 0 <= band_index < self.n_bands:
            raise UsageError(f"{self.href}: band_index is {band_index}; the file has bands 0 to {self.n_bands - 1}")
        is_planar = self.images[0].layout.samples.planar == 2
        plane = band_index if is_planar else 0
        mask_plane = band_index if self.masks and self.masks[0].layout.samples.planar == 2 else 0
        key = (plane, mask_plane, file_size, etag, last_modified)
        packed = self._packed.get(key)
        if packed is None:

            def tiles_of(images: tuple[TileOffsets, ...], plane: int) -> BandTiles:
                full = images[0].layout
                return BandTiles(
                    dtype=full.samples.dtype,
                    byte_order=self.byte_order,
                    bits_per_sample=full.samples.bits,
                    compression=full.compression,
                    predictor=full.predictor,
                    samples_per_tile=full.samples.samples_per_tile,
                    planar=full.samples.planar,
                    plane=plane if full.samples.planar == 2 else None,
                    nodata=None,
                    ignore_nodata=False,
                    images=tuple(image.plane(plane, file_size) for image in images),
                    file_size=file_size,
                    etag=etag,
                    last_modified=last_modified,
                    codec_parameter=full.codec_parameter,
                )

            masks = [tiles_of(self.masks, mask_plane)] if self.masks else []
            if is_planar and self.alpha is not None and self.alpha != band_index:
                masks.append(tiles_of(self.images, self.alpha))
            packed = self._packed[key] = tile_table.pack(
                replace(
                    tiles_of(self.images, plane),
                    nodata=None if self.nodata is None else self.dtype.type(self.nodata),
                    masks=tuple(masks),
                    alpha=None if is_planar else self.alpha,
                )
            )
        return packed


def read_header(href: str) -> Generator[ByteRange, bytes, TiffFile]:
    """Return the header of a classic TIFF or BigTIFF, as a generator that yields byte ranges and is sent their bytes.

    An answer may be shorter than its range; the rest is then requested again. An empty answer means that the file ends there.

    Raises
    ------
    FileFormatError
        When the file is not a TIFF, is damaged, or uses an unsupported feature, which the message names.
    """
    received = ReceivedBytes(href)
    yield from received.fetch([(0, 8)], "the TIFF header", ahead=FIRST_BYTES - 8)
    shape, first_ifd, n_head_bytes = yield from file_head(received)
    ifds = yield from directories(received, shape, first_ifd, n_head_bytes)
    small = yield from _values(received, shape, ifds, tables=False)
    kinds = [_subfile_kind(values) for values in small]
    used, masks = mask_images(small, kinds, _used_images(small, kinds, href), href)
    tables = yield from _values(received, shape, [ifds[index] for index, _ in (*used, *masks)], tables=True)
    images = tuple(
        tile_offsets(layout, its_tables, href, _where(index))
        for (index, layout), its_tables in zip((*used, *masks), tables, strict=True)
    )
    full = images[0].layout
    if shape.byte_order == ">" and full.samples.kind == "f" and LERC in {image.layout.compression for image in images}:
        raise FileFormatError(
            f"{href}: image 0 (directory 0) uses LERC with floats in big-endian order, which is not supported "
            "(libtiff compresses them with their bytes swapped and loses some values). Convert what the file was made from."
        )
    values = small[0]
    notes = band_notes(_text(values, tags.GDAL_METADATA)) if tags.GDAL_METADATA in values else BandNotes()
    bands = range(full.samples.n_samples)
    crs, crs_refusal = crs_of(values)
    return TiffFile(
        href=href,
        crs=crs,
        crs_refusal=crs_refusal,
        transform=transform_of(values),
        width=full.width,
        height=full.height,
        n_bands=len(bands),
        dtype=full.samples.dtype,
        nodata=nodata_of(_text(values, tags.GDAL_NODATA), full.samples.dtype),
        descriptions=tuple(notes.description.get(band) for band in bands),
        scales=tuple(notes.scale.get(band) for band in bands),
        offsets=tuple(notes.offset.get(band) for band in bands),
        datetime=_datetime(_text(values, tags.DATE_TIME)),
        byte_order=shape.byte_order,
        is_big_tiff=shape.is_big,
        images=images[: len(used)],
        masks=images[len(used) :],
        alpha=alpha_sample(values, notes.color, full.samples),
    )


def _values(
    received: ReceivedBytes, shape: IfdShape, ifds: list[Entries], *, tables: bool
) -> Generator[ByteRange, bytes, list[Values]]:
    """Return the values of directories, requested together: only the tile tables, or all values but these."""
    wanted = [{tag: entry for tag, entry in entries.items() if (tag in tags.TILE_TABLES) == tables} for entries in ifds]
    yield from received.fetch(
        [(entry.byte_start, entry.byte_stop) for entries in wanted for entry in entries.values()],
        "tile tables" if tables else "tag values",
    )
    return [
        {
            tag: entry.values(received.get(entry.byte_start, entry.byte_stop), shape.byte_order)
            for tag, entry in entries.items()
        }
        for entries in wanted
    ]


def _used_images(small: list[Values], kinds: list[int], href: str) -> list[tuple[int, ImageLayout]]:
    """Return (index of the directory, layout) of the full resolution and of its overviews, largest first."""
    used = [(0, image_layout(small[0], href, _where(0)))]
    full = used[0][1]
    for index in range(1, len(small)):
        if not kinds[index] & REDUCED or kinds[index] & MASK:
            continue  # another page, or a mask
        try:
            layout = image_layout(small[index], href, _where(index))
        except FileFormatError:
            continue  # the full resolution can be read without this overview
        is_smaller = layout.width <= full.width and layout.height <= full.height
        if is_smaller and layout.samples == full.samples and layout.codec_parameter == full.codec_parameter:
            used.append((index, layout))
    used[1:] = sorted(used[1:], key=lambda image: -image[1].width * image[1].height)[:_MAX_OVERVIEWS]
    return used


def _subfile_kind(values: Values) -> int:
    """Return the bits of NewSubfileType. The older SubfileType has 2 for a reduced image."""
    if (new := values.get(tags.NEW_SUBFILE_TYPE)) is not None and len(new):
        return int(new[0])
    old = values.get(tags.SUBFILE_TYPE)
    return REDUCED if old is not None and len(old) and int(old[0]) == 2 else 0


def _where(index: int) -> str:
    return f"image {index} (directory {index})"


def _text(values: Values, tag: int) -> str:
    found = values.get(tag)
    return "" if found is None else found.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace")


def _datetime(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text.strip(), "%Y:%m:%d %H:%M:%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
