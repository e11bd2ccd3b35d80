"""Which asset of a STAC item, and which band in its file, is meant by a band name?

Only what items say is used; no header is read. Columns of properties belong in `item_columns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from polars_rasteret.errors import UsageError
from polars_rasteret.stac.items import resolved

_QUALITY = {"cloud", "cloud-shadow", "snow-ice", "water-mask", "saturation", "data-mask"}
_PICTURES = {"thumbnail", "overview", "visual"}
_MOST_NAMES = 1_000
"""Names of assets that a message may list."""


class Plane(NamedTuple):
    """One band of one asset."""

    key: str
    band_index: int
    """0-based band in the file."""


def is_geotiff(asset: Any) -> bool:
    """Return whether an asset says that it is a GeoTIFF, or says no type and its path ends in .tif or .tiff."""
    if not isinstance(asset, Mapping) or (href := own_href(asset)) is None:
        return False
    if isinstance(kind := asset.get("type"), str) and kind:
        return kind.strip().lower().startswith(("image/tiff", "image/vnd.stac.geotiff"))
    return urlsplit(href).path.lower().endswith((".tif", ".tiff"))


def own_href(asset: Mapping[str, Any]) -> str | None:
    """Return the href of an asset; where it has none, the first of its ``links`` (STAC 0.x) or alternates; else None."""
    if isinstance(href := asset.get("href"), str):
        return href
    links, alternates = asset.get("links"), asset.get("alternate")
    others = [
        *(links if isinstance(links, list) else ()),
        *(alternates.values() if isinstance(alternates, Mapping) else ()),
    ]
    hrefs = (one.get("href") for one in others if isinstance(one, Mapping))
    return next((href for href in hrefs if isinstance(href, str)), None)


class BandChoice:
    """The bands that a caller chose, for items that come page by page."""

    def __init__(self, bands: Sequence[str] | Mapping[str, str] | None, *, may_miss: bool = False) -> None:
        """Check the choice.

        Parameters
        ----------
        bands
            Asset keys, ``key.n`` with 1-based n, or common names; or a mapping of new names to these. None: every GeoTIFF asset
            of data or quality; an asset of several bands becomes ``key.1``, ``key.2``, ...
        may_miss
            Whether `bands` may name bands that no item has.

        Raises
        ------
        UsageError
            When it is a text, or holds what is no text.
        """
        if isinstance(bands, str):
            raise UsageError(
                f"bands is {bands!r}; expected a list of names, [{bands!r}], or a dict of new name to name"
            )
        self.wanted: dict[str, str] | None = None
        if bands is not None:
            pairs = bands.items() if isinstance(bands, Mapping) else [(name, name) for name in bands]
            for name, source in pairs:
                if not isinstance(source, str) or not source:
                    raise UsageError(f"bands holds {source!r} for {name!r}; expected an asset key or a common name")
            self.wanted = dict(pairs)
            if not self.wanted:
                raise UsageError("bands is empty; name at least one band, or leave it out to take them all")
        self._missing = set() if may_miss else set(self.wanted or ())
        self._assets: dict[str, None] = {}
        self._common_names: dict[str, None] = {}
        self._n_items = 0

    def of_items(
        self, items: Sequence[Mapping[str, Any]], catalogued: Sequence[Mapping[str, Plane] | None] | None = None
    ) -> dict[str, list[Plane | None]]:
        """Return, per band name, the plane of each item of a page; None where the item does not have it.

        Parameters
        ----------
        items
            Items as dicts.
        catalogued
            For each item the bands that a catalog names, used where the caller named none; None where no catalog knows the item.

        Raises
        ------
        UsageError
            When a name is ambiguous in an item.
        """
        self._n_items += len(items)
        if self.wanted is None:
            known = [None] * len(items) if catalogued is None else catalogued
            of_item = [
                _default_planes(item) if named is None else named for item, named in zip(items, known, strict=True)
            ]
            names = dict.fromkeys(name for own in of_item for name in own)
            return {name: [own.get(name) for own in of_item] for name in names}
        planes = {name: [_plane(item, source) for item in items] for name, source in self.wanted.items()}
        self._missing -= {name for name, of_name in planes.items() if any(one is not None for one in of_name)}
        if self._missing and len(self._assets) < _MOST_NAMES:
            self._assets |= dict.fromkeys(key for item in items for key in _assets(item))
            self._common_names |= dict.fromkeys(name for item in items for name in _common_names(item))
        return planes

    def refuse_missing(self) -> None:
        """Raise where items came and no item had a band.

        Raises
        ------
        UsageError
            For the names that no item has; the message lists what items have.
        """
        if self._missing and self._n_items:
            assert self.wanted is not None  # else nothing is missing
            missing = [repr(source) for name, source in self.wanted.items() if name in self._missing]
            raise UsageError(
                f"no item has {', '.join(missing)}. Their assets: {', '.join(self._assets) or 'none'}. "
                f"Their common names: {', '.join(self._common_names) or 'none'}"
            )


def asset_href(
    item: Mapping[str, Any],
    key: str,
    base: str | None,
    *,
    alternate: str | Sequence[str] | None = None,
    rewrite: Mapping[str, str] | None = None,
) -> str:
    """Return the absolute href of an asset: the first alternate that is present, else its own; its prefix rewritten."""
    assets = _assets(item)
    href = own_href(assets[key]) or ""
    for name in [alternate] if isinstance(alternate, str) else alternate or ():
        alternates = assets[key].get("alternate")
        other = alternates.get(name) if isinstance(alternates, Mapping) else None
        other = assets.get(f"{name}_{key}") if other is None else other
        if isinstance(other, Mapping) and (found := own_href(other)) is not None:
            href = found
            break
    full = resolved(href, base)
    for prefix in sorted(rewrite or {}, key=len, reverse=True):
        if full.startswith(prefix):
            return (rewrite or {})[prefix] + full.removeprefix(prefix)
    return full


def described_bands(item: Mapping[str, Any], asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what an item says about each band of an asset, in the order of the file; empty where it says nothing."""
    lists = [one for name in ("bands", "eo:bands", "raster:bands") if isinstance(one := asset.get(name), list)]
    count = max(map(len, lists), default=0)
    of_item = item["properties"].get("eo:bands")
    told: list[dict[str, Any]] = [{} for _ in range(count)]
    for some in reversed(lists):  # `bands`, the newest word, is written last and wins
        for at, one in enumerate(some):
            # Up to STAC 0.9 an asset lists indices into the bands of the item.
            if (
                isinstance(one, int)
                and isinstance(of_item, list)
                and 0 <= one < len(of_item)
                and isinstance(of_item[one], Mapping)
            ):
                told[at].update(of_item[one])
            elif isinstance(one, Mapping):
                told[at].update(one)
    return list(told)


def _assets(item: Mapping[str, Any]) -> Mapping[str, Any]:
    assets: Mapping[str, Any] = item.get("assets") or {}
    return {key: asset for key, asset in assets.items() if isinstance(asset, Mapping) and own_href(asset) is not None}


def _default_planes(item: Mapping[str, Any]) -> dict[str, Plane]:
    planes: dict[str, Plane] = {}
    for key, asset in _assets(item).items():
        roles = asset.get("roles")
        told = {one for one in roles if isinstance(one, str)} if isinstance(roles, list) else set()
        # Assets from before roles are known by their keys.
        told_or_key = told or ({key} & _PICTURES)
        if not is_geotiff(asset) or told_or_key & _PICTURES or (told and not told & {"data", *_QUALITY}):
            continue
        count = len(described_bands(item, asset))
        if count > 1:
            planes.update({f"{key}.{n + 1}": Plane(key, n) for n in range(count)})
        else:
            planes[key] = Plane(key, 0)
    return planes


def _plane(item: Mapping[str, Any], source: str) -> Plane | None:
    assets = _assets(item)
    if source in assets:
        if (count := len(described_bands(item, assets[source]))) > 1:
            raise UsageError(
                f"asset {source!r} of item {item['id']!r} has {count} bands; say which: {source}.1 to {source}.{count}"
            )
        return Plane(source, 0)
    key, dot, number = source.rpartition(".")
    if dot and key in assets and number.isascii() and number.isdigit() and int(number) > 0:
        return Plane(key, int(number) - 1)
    names = _common_names(item)
    # A true colour picture has the common names, too: it is meant only where nothing else is.
    found = names.get(source, [])
    if len(found) > 1:
        own = _default_planes(item).values()
        found = [plane for plane in found if plane in own] or found
    if len(found) > 1:
        said = ", ".join(
            f"{one.key}.{one.band_index + 1}" if len(described_bands(item, assets[one.key])) > 1 else one.key
            for one in found
        )
        raise UsageError(f"band {source!r} is ambiguous in item {item['id']!r}: {said}. Name one of these assets")
    return found[0] if found else None


def _common_names(item: Mapping[str, Any]) -> dict[str, list[Plane]]:
    """Return each common name with the planes of GeoTIFF assets that have it."""
    names: dict[str, list[Plane]] = {}
    for key, asset in _assets(item).items():
        if not is_geotiff(asset):
            continue
        for index, band in enumerate(described_bands(item, asset)):
            name = band.get("eo:common_name") or band.get("common_name")
            if isinstance(name, str):
                names.setdefault(name, []).append(Plane(key, index))
    return names
