"""Which dataset of the catalog is a STAC item of, and what does the catalog state of its bands?

An item is of a dataset when it is in its STAC collection, and came from its API or catalog: collection ids are not unique.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from polars_rasteret.catalog.known import known_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polars_rasteret.catalog.band_facts import BandSource, ValueRule
    from polars_rasteret.catalog.descriptor import DatasetDescriptor

FIELDS = ("nodata", "scale", "offset")
"""What rules may state of a band."""


class ItemDatasets:
    """The datasets of the catalog that have STAC items, by collection; as known when this is made.

    Examples
    --------
    >>> item = {
    ...     "collection": "cop-dem-glo-30",
    ...     "links": [{"rel": "root", "href": "https://earth-search.aws.element84.com/v1"}],
    ... }
    >>> ItemDatasets().of(item).id
    'earthsearch/cop-dem-glo-30'
    >>> ItemDatasets().of({"collection": "cop-dem-glo-30"}) is None
    True
    """

    def __init__(self) -> None:
        self._by_collection: dict[str, list[tuple[str, DatasetDescriptor]]] = {}
        for one in known_datasets().values():
            root = one.api or one.catalog
            for name in one.collections if root else ():
                # The last one of equal places counts: it is the user's own.
                self._by_collection.setdefault(name, []).insert(0, (str(root).rstrip("/"), one))

    def of(self, item: Mapping[str, Any], source: str | None = None) -> DatasetDescriptor | None:
        """Return the dataset of an item; None where the catalog has none.

        Parameters
        ----------
        item
            A STAC item as a dict.
        source
            URL of the API or catalog that the item was asked of; the links of the item count, too.
        """
        candidates = self._by_collection.get(item.get("collection") or "")
        if not candidates:
            return None
        links = item.get("links")
        urls = [] if source is None else [source]
        urls += [
            link["href"]
            for link in (links if isinstance(links, list) else ())
            if isinstance(link, dict) and isinstance(link.get("href"), str)
        ]
        return next((one for root, one in candidates if any(_is_below(url, root) for url in urls)), None)

    def asked(self, source: str, collection: str) -> DatasetDescriptor | None:
        """Return the dataset of a collection that an API or catalog is asked for; None where the catalog has none."""
        return self.of({"collection": collection}, source)


class StatedValues:
    """What the catalog states of the bands of a dataset where its items do not; known for each kind of item after the first.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> values = StatedValues(pr.dataset("pc/sentinel-2-l2a"))
    >>> [values.of("B04", 0, {"s2:processing_baseline": one}) for one in ("05.11", "03.01", None)]
    [{'scale': 0.0001, 'offset': -0.1}, {'scale': 0.0001, 'offset': 0.0}, {}]
    >>> values.of("SCL", 0, {"s2:processing_baseline": "05.11"})
    {}
    """

    def __init__(self, dataset: DatasetDescriptor) -> None:
        self._dataset = dataset
        self._properties = sorted({rule.property for rule in dataset.rules if rule.property is not None})
        self._known: dict[tuple[Any, ...], dict[str, float]] = {}

    def of(self, asset: str, band_index: int, properties: Mapping[str, Any]) -> Mapping[str, float]:
        """Return ``nodata``, ``scale`` and ``offset`` of a band, as far as rules state them.

        Parameters
        ----------
        asset, band_index
            Key of an asset, 0-based band of its file.
        properties
            Properties of the item, on which rules may depend.
        """
        its = {name: value for name in self._properties if isinstance(value := properties.get(name), str)}
        key = (asset, band_index, *its.items())
        if (found := self._known.get(key)) is None:
            sources: Mapping[str, BandSource] = self._dataset.bands
            names = [name for name, one in sources.items() if one.asset == asset and one.index == band_index]
            found = self._known[key] = {}
            for field, name in itertools.product(FIELDS, names):
                value = first_stated(self._dataset.rules, name, field, its)
                if value is not None:
                    found.setdefault(field, value)
        return found


def first_stated(rules: Iterable[ValueRule], band: str, field: str, properties: Mapping[str, Any]) -> float | None:
    """Return what the first rule that holds for a band, and names the field, says; None where no rule does."""
    for rule in rules:
        value: float | None = getattr(rule, field)
        if value is not None and rule.holds(band, properties):
            return value
    return None


def _is_below(url: str, root: str) -> bool:
    return url.startswith(root) and (len(url) == len(root) or url[len(root)] in "/?#")
