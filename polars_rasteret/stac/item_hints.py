"""Who signs for the files of these items?

Files of the Planetary Computer are private, and it gives tokens to everybody: so where an item came from says how its files are
read. Nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polars_rasteret.fetch.hints import Hint, planetary_computer_hints
from polars_rasteret.fetch.places import origin

_PLANETARY_COMPUTER = frozenset(
    {"https://planetarycomputer.microsoft.com", "https://planetarycomputer-staging.microsoft.com"}
)


def hints_of_items(
    items: Sequence[Mapping[str, Any]], bases: Sequence[str | None], hrefs: Iterable[Sequence[str | None]]
) -> dict[str, Hint]:
    """Return hints for the places of files of items that came from the Planetary Computer.

    Parameters
    ----------
    items, bases
        Items, and where each was read.
    hrefs
        For each band, the href of each item.

    Examples
    --------
    >>> base = "https://planetarycomputer.microsoft.com/api/stac/v1/collections/modis/items/a"
    >>> list(hints_of_items([{}], [base], [["https://account.blob.core.windows.net/container/a.tif"]]))
    ['abfss://container@account.dfs.core.windows.net']
    """
    came = [
        at for at, (item, base) in enumerate(zip(items, bases, strict=True)) if _is_of_planetary_computer(item, base)
    ]
    if not came:
        return {}
    return planetary_computer_hints({href for of_band in hrefs for at in came if (href := of_band[at]) is not None})


def _is_of_planetary_computer(item: Mapping[str, Any], base: str | None) -> bool:
    if base is not None and origin(base) in _PLANETARY_COMPUTER:
        return True
    links = item.get("links")
    return isinstance(links, list) and any(
        isinstance(link, Mapping)
        and link.get("rel") in ("self", "root", "parent", "collection")
        and isinstance(link.get("href"), str)
        and origin(link["href"]) in _PLANETARY_COMPUTER
        for link in links
    )
