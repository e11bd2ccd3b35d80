"""Which dataset of the catalog is a STAC item of, and what does the catalog state of its bands?

An item is of a dataset when it is in its STAC collection, and came from its API or catalog: collection ids are not unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from polars_rasteret.catalog.known import known_datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polars_rasteret.catalog.band_facts import BandSource, ValueRule
    from polars_rasteret.catalog.descriptor import DatasetDescriptor


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


def stated_by_rule(
    dataset: DatasetDescriptor,
    asset: str,
    band_index: int,
    field: Literal["nodata", "scale", "offset"],
    properties: Mapping[str, Any],
) -> float | None:
    """Return what the catalog states of a band where an item does not; None where it states nothing.

    Parameters
    ----------
    dataset, asset, band_index
        The dataset of the item, and the band in it: key of an asset, 0-based band of its file.
    field
        What is asked for.
    properties
        Properties of the item, on which rules may depend.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> sentinel = pr.dataset("pc/sentinel-2-l2a")
    >>> [stated_by_rule(sentinel, "B04", 0, "offset", {"s2:processing_baseline": one}) for one in ("05.11", "03.01", None)]
    [-0.1, 0.0, None]
    >>> stated_by_rule(sentinel, "SCL", 0, "scale", {"s2:processing_baseline": "05.11"}) is None
    True
    """
    sources: Mapping[str, BandSource] = dataset.bands
    names = [name for name, source in sources.items() if source.asset == asset and source.index == band_index]
    return next(
        (found for name in names if (found := first_stated(dataset.rules, name, field, properties)) is not None), None
    )


def first_stated(rules: Iterable[ValueRule], band: str, field: str, properties: Mapping[str, Any]) -> float | None:
    """Return what the first rule that holds for a band, and names the field, says; None where no rule does."""
    for rule in rules:
        value: float | None = getattr(rule, field)
        if value is not None and rule.holds(band, properties):
            return value
    return None


def _is_below(url: str, root: str) -> bool:
    return url.startswith(root) and (len(url) == len(root) or url[len(root)] in "/?#")
