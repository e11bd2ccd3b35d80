"""Which internal masks and alpha bands must be read beside the values of a band?

A *mask read* has the windows of another read, but takes a mask or an alpha band. A mask read is planned, fetched and decoded like
any other, so it shares tiles, requests, cache and budget. How masks change the answer belongs to the engine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.plan.windows import Out, PixelReference, WindowRead

if TYPE_CHECKING:
    from collections.abc import Sequence

_BOOL = np.dtype(np.bool_)


@bundle
class MaskRead:
    """One mask or alpha band, read for the windows of another read."""

    of: int
    """Index of the other read."""
    read: WindowRead
    """Read of booleans: True where a pixel is not masked, or has no mask. If the other read has ``out``, so has this one, and
    all its windows are equally far apart."""


def mask_reads(reads: Sequence[WindowRead]) -> list[MaskRead]:
    """Return the mask reads that `reads` need: none for reads without a valid mask, or of files without masks and alpha.

    A pixel is null when it is nodata, or masked, or transparent. (GDAL uses only the first of mask, nodata and alpha that a file
    has. So in a file with several of them more pixels are null here than in GDAL.)
    """
    found: list[MaskRead] = []
    for index, read in enumerate(reads):
        if not read.want_valid or not any(one.tiles.masks or one.tiles.alpha is not None for one in read.references):
            continue
        masks = [_masks_of(one) for one in read.references]
        for layer in range(max(map(len, masks), default=0)):
            has_mask = np.array([len(one) > layer for one in masks])
            # One more entry for -1. Where all have a mask, passing the same array lets the engine plan bands and alpha once.
            number = np.append(np.where(has_mask, np.cumsum(has_mask) - 1, -1), -1)
            found.append(
                MaskRead(
                    of=index,
                    read=replace(
                        read,
                        label=f"{read.label} (mask)",
                        references=[one[layer] for one in masks if len(one) > layer],
                        reference_id=read.reference_id if has_mask.all() else number[read.reference_id],
                        dtype=_BOOL,
                        fill=np.True_,
                        want_valid=False,
                        out=None if read.out is None else _evenly(read),
                    ),
                )
            )
    return found


def _masks_of(reference: PixelReference) -> list[PixelReference]:
    tiles = reference.tiles
    found = [PixelReference(reference.href, reference.band_index, mask) for mask in tiles.masks]
    if tiles.alpha is not None and tiles.alpha != reference.band_index:
        found.append(PixelReference(reference.href, tiles.alpha, tiles))
    return found


def _evenly(read: WindowRead) -> Out:
    size = int((read.height * read.width).max(initial=0))
    return Out(values=np.ones(len(read.reference_id) * size, np.bool_), valid=None, stride=size)
