"""What does the dataset catalog know of STAC items: names of their bands, numbers that they leave out?

What items state themselves belongs in `stated_metadata`, and counts first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.catalog.item_facts import ItemDatasets, StatedValues
from polars_rasteret.stac.asset_bands import Plane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.catalog.descriptor import DatasetDescriptor


class CataloguedItems:
    """The datasets of items; one that is given is that of all items."""

    def __init__(self, dataset: DatasetDescriptor | None = None) -> None:
        """Keep a dataset; None: the catalog knows it by the collection and the origin of each item."""
        self._given = dataset
        self._known = None if dataset is not None else ItemDatasets()
        self._stated: dict[str, StatedValues] = {}

    def dataset(self, item: Mapping[str, Any], base: str | None) -> DatasetDescriptor | None:
        """Return the dataset of an item; None where the catalog has none. `base` is where the item was found."""
        return self._given if self._known is None else self._known.of(item, base)

    def planes(self, item: Mapping[str, Any], one: DatasetDescriptor | None) -> dict[str, Plane] | None:
        """Return the bands that a dataset names and its item has; None where there is no dataset."""
        if one is None:
            return None
        assets = item.get("assets") or {}
        return {
            name: Plane(source.asset, source.index)
            for name, source in one.bands.items()
            if isinstance(asset := assets.get(source.asset), dict) and isinstance(asset.get("href"), str)
        }

    def stated(self, item: Mapping[str, Any], one: DatasetDescriptor | None, plane: Plane) -> Mapping[str, float]:
        """Return ``nodata``, ``scale`` and ``offset`` of a band, as far as the dataset of its item states them."""
        if one is None or not one.rules:
            return {}
        if (values := self._stated.get(one.id)) is None:
            values = self._stated[one.id] = StatedValues(one)
        return values.of(plane.key, plane.band_index, item["properties"])
