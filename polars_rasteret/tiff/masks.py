"""Which directories and samples of a file say where it has nothing?

Internal masks are images of their own, one per level; an alpha band is one of the samples. What counts as one follows GDAL
(`GTiffDataset::ScanDirectories`, `GDALRasterBand::GetMaskFlags`). What a masked pixel becomes is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff import tags
from polars_rasteret.tiff.layout import ImageLayout, SampleFormat, image_layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    Values = Mapping[int, np.ndarray[Any, Any]]

REDUCED, MASK = 1, 4
"""Bits of NewSubfileType."""
_ALPHA = {1, 2, 999}  # associated and not; 999 is Corel Draw 10, which libtiff takes for 2
_BANDS_WITH_ALPHA = {2, 4}
_ALPHA_DTYPES = {"uint8", "uint16"}


def mask_images(
    small: Sequence[Values], kinds: Sequence[int], used: list[tuple[int, ImageLayout]], href: str
) -> tuple[list[tuple[int, ImageLayout]], list[tuple[int, ImageLayout]]]:
    """Give (directory, layout) of the images to use, and of the mask of each; no masks where the file has none.

    An overview whose mask is missing or unreadable is left out: its pixels would count as valid. (Opened by itself, GDAL
    takes such an overview as valid; read through the file it takes the mask of the full resolution. So do we, without it.)

    Parameters
    ----------
    small, kinds
        Values and NewSubfileType of every directory.
    used
        Full resolution, then overviews.

    Raises
    ------
    FileFormatError
        The file has a mask, but not one that can be read as that of the full resolution. GDAL ignores it.
    """
    full = used[0][1]
    candidates = [index for index, kind in enumerate(kinds) if index and kind & MASK and not kind & REDUCED]
    if not candidates:
        return used, []
    sized = [index for index in candidates if _size(small[index]) == (full.width, full.height)]
    if not sized:
        found = _size(small[candidates[0]])
        raise FileFormatError(
            f"{href}: the mask in directory {candidates[0]} has {found[0]} x {found[1]} pixels, its image has {full.width} x "
            f"{full.height}; expected equal sizes. Write the file again, or remove the mask."
        )
    first = _layout(small[sized[0]], full, href, sized[0])
    images, masks = [used[0]], [(sized[0], first)]
    for index, layout in used[1:]:
        for at, kind in enumerate(kinds):
            if kind & MASK and kind & REDUCED and _size(small[at]) == (layout.width, layout.height):
                try:
                    mask = _layout(small[at], full, href, at)
                except FileFormatError:
                    continue
                if mask.samples == first.samples and mask.codec_parameter == first.codec_parameter:
                    images.append((index, layout))
                    masks.append((at, mask))
                    break
    return images, masks


def alpha_sample(values: Values, colors: Mapping[int, str], samples: SampleFormat) -> int | None:
    """Give the sample that is alpha to all others; None where GDAL takes none for it.

    GDAL looks at files of two or four bands only, at the last band, and at unsigned pixels of up to 16 bits.

    Parameters
    ----------
    values
        Of the first directory.
    colors
        What GDAL_METADATA says of the colours of bands; it overrides ExtraSamples.
    samples
        Of the first image.
    """
    last = samples.n_samples - 1
    if samples.n_samples not in _BANDS_WITH_ALPHA or samples.dtype.name not in _ALPHA_DTYPES:
        return None
    if last in colors:
        return last if colors[last].casefold() == "alpha" else None
    extra = values.get(tags.EXTRA_SAMPLES)
    is_alpha = extra is not None and len(extra) <= samples.n_samples and int(extra[-1]) in _ALPHA
    return last if is_alpha else None


def _size(values: Values) -> tuple[int, ...]:
    """Give width and height; 0 where the tags are missing."""
    return tuple(int(values[tag][0]) if tag in values else 0 for tag in (tags.IMAGE_WIDTH, tags.IMAGE_LENGTH))


def _layout(values: Values, full: ImageLayout, href: str, index: int) -> ImageLayout:
    where = f"mask {index} (directory {index})"
    layout = image_layout(values, href, where)
    samples = layout.samples
    if samples.kind != "u" or samples.n_samples not in {1, full.samples.n_samples}:
        raise FileFormatError(
            f"{href}: {where} has {samples.n_samples} samples per pixel of kind {samples.kind!r}; expected unsigned ones, one or "
            f"{full.samples.n_samples} as its image. Write the file again, or remove the mask."
        )
    return layout
