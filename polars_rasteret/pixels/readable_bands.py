"""Which bands of a batch are about to be read, and by which tile tables can they be?

Where a collection has borrowed tables, the headers of these files are read here, all together, just before their pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polars_rasteret.pixels.product import Bands, Product, ReadCall
    from polars_rasteret.pixels.reading import BandRows


def readable_bands(
    bands: Bands, product: Product, wanted: AbstractSet[str], call: ReadCall, *, every: bool = False
) -> Bands:
    """Return bands whose references have tables of their own wherever their pixels are about to be read.

    Parameters
    ----------
    bands
        Bands of the batch, with the same rows.
    product, wanted, call
        What is read: a product, the names of its outputs that are wanted, and options.
    every
        Whether all bands decide, such as those of a ``valid=`` expression, or whether a row counts.

    Returns
    -------
    Bands
        A row whose header cannot be read is faulty.
    """
    if not any(band.column.has_borrowed for band in bands.values()):
        return bands
    from polars_rasteret.pixels.rasters.own_tables import columns_with_own_tables

    needed = None if every else _bands_to_read(product, wanted)
    chosen = [band for name, band in bands.items() if needed is None or name in needed]
    asked = [np.where(band.is_read, band.reference_id, -1) for band in chosen]
    columns = columns_with_own_tables([band.column for band in chosen], asked, call.options, call.spending)
    changed: dict[str, BandRows] = {}
    for band, ids, column in zip(chosen, asked, columns, strict=True):
        if column is not band.column:
            new = {row: column.faults[at] for row, at in enumerate(ids.tolist()) if at in column.faults}
            kept = np.where(np.isin(ids, list(column.faults)), -1, band.reference_id)
            changed[band.name] = replace(band, column=column, reference_id=kept, faults={**new, **band.faults})
    return {name: changed.get(name, band) for name, band in bands.items()}


def _bands_to_read(product: Product, wanted: AbstractSet[str]) -> AbstractSet[str] | None:
    """Return the bands whose pixels may be read for the wanted columns of an answer; None: all bands."""
    costly = wanted - product.free_outputs
    if not costly:
        return frozenset()
    outputs = product.outputs
    owned = {band: {name for name in outputs if name == band or name.startswith(f"{band}_")} for band in product.bands}
    if not costly <= frozenset().union(*owned.values()):  # a stack of bands, or a formula
        return None
    return frozenset(band for band, its in owned.items() if not costly.isdisjoint(its))
