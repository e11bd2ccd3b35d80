"""Which reads say where files have nothing, beside the reads of their values?

A *mask read* asks the windows of another read of a mask or of an alpha band. It is planned, fetched and decoded like any other,
so it shares tiles, requests, cache and budget. What the answer hides is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.plan.windows import Out, PixelReference, WindowRead

if TYPE_CHECKING:
    from collections.abc import Sequence

_BOOL = np.dtype(np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskRead:
    """Where pixels of a read may mean something."""

    of: int
    """Number of the read whose windows these are."""
    read: WindowRead
    """Booleans; with ``out`` where that read has one, all windows equally far apart. True where no file says anything."""


def mask_reads(reads: Sequence[WindowRead]) -> list[MaskRead]:
    """Give the masks that `reads` need: none where validity is not asked for, or files have no mask and no alpha.

    A pixel is null that is nodata, or masked by the mask, or transparent: what any of them calls nothing is nothing. (GDAL asks
    only the first of mask, nodata and alpha that a file has; where a file has several of them, more pixels are null than there.)
    """
    found: list[MaskRead] = []
    for index, read in enumerate(reads):
        if not read.want_valid or not any(one.tiles.masks or one.tiles.alpha is not None for one in read.references):
            continue
        masks = [_masks_of(one) for one in read.references]
        for layer in range(max(map(len, masks), default=0)):
            has_mask = np.array([len(one) > layer for one in masks])
            # One more for -1. Where all have a mask the same array lets the engine plan bands and alpha once.
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
