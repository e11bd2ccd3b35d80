"""Which images of a file are internal masks, and which band is alpha?

Internal masks are images of their own, one per level; an alpha band is one of the samples. Both are found as in GDAL
(`GTiffDataset::ScanDirectories`, `GDALRasterBand::GetMaskFlags`). How a mask changes pixels does not belong here.
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
    """Return (index of the directory, layout) of the images to use, and of the mask of each; no masks when the file has none.

    An overview whose mask is missing or unreadable is left out, because all its pixels would count as valid. (GDAL uses the mask
    of the full resolution for such an overview; an overview opened by itself is all valid. Here another level is read.)

    Parameters
    ----------
    small, kinds
        Values and NewSubfileType of every directory.
    used
        Full resolution, then overviews.

    Raises
    ------
    FileFormatError
        When the file has masks, but none that fits the full resolution and can be read. GDAL ignores such masks.
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
    """Return the index of the sample that is alpha for all others; None when GDAL takes no sample for alpha.

    GDAL checks only the last band, in files of two or four bands of unsigned pixels of up to 16 bits.

    Parameters
    ----------
    values
        Tag values of the first directory.
    colors
        Colours of bands in GDAL_METADATA, by 0-based band; they override ExtraSamples.
    samples
        Sample format of the first image.
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
    """Return width and height in pixels; 0 where a tag is missing."""
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
