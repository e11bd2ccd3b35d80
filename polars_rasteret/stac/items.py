"""Which dicts are STAC items, and where do their relative hrefs begin?

Items stay dicts of any STAC version from 0.7 to 1.1. What is no item is counted with a reason, never an abort. Columns belong in
`item_columns`, the choice of assets in `asset_bands`. Nothing here asks an API.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import shapely
from shapely.geometry import shape

from polars_rasteret.errors import UsageError
from polars_rasteret.stac.instants import instant


@dataclass(slots=True)
class Items:
    """The items of a source, each with the href that its relative hrefs resolve against, and what was refused."""

    items: list[dict[str, Any]] = field(default_factory=list)
    bases: list[str | None] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Id (or type) and reason of each thing that is no item."""


def items_of(source: Any) -> Items:
    """Return the items of a dict, a pystac object, an ItemCollection, a local file of those, or an iterable of these.

    Raises
    ------
    UsageError
        When the source is none of these, or a file is not JSON.
    """
    found = Items()
    add_items(source, None, found)
    return found


def resolved(href: str, base: str | None) -> str:
    """Return an asset's href, where it is relative resolved against the href of its item."""
    if "://" in href or href.startswith("/vsi") or base is None:
        return href
    if base.startswith(("http://", "https://")):
        return urljoin(base, href)
    if "://" in base:  # keys of a bucket are as they are: "#" and "%20" are part of the name there
        root, _, path = base.partition("://")
        bucket, _, key = path.partition("/")
        return f"{root}://{bucket}" + posixpath.normpath(posixpath.join("/", posixpath.dirname(key), href))
    return href if Path(href).is_absolute() else os.path.normpath(os.path.join(os.path.dirname(base), href))  # noqa: PTH118, PTH120 - a folder ends in "/"


def footprint(geometry: Any) -> bytes | None:
    """Return GeoJSON in two dimensions as WKB; None stays None, and so does WKB, which items of tables have.

    Raises
    ------
    ValueError
        When this is no GeoJSON geometry.
    """
    if geometry is None or isinstance(geometry, bytes):
        return geometry
    try:
        return bytes(shapely.to_wkb(shapely.force_2d(shape(geometry))))
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"is no GeoJSON: {error}") from error


def add_items(source: Any, base: str | None, found: Items) -> None:
    """Add the items of a dict, an object of pystac, or an iterable of these; `base` is where they were read.

    Raises
    ------
    UsageError
        When the source is none of these.
    """
    if isinstance(source, Mapping):
        if source.get("type") == "FeatureCollection" and isinstance(source.get("features"), list):
            for one in source["features"]:
                _add_item(one, base, found)
        else:
            _add_item(source, base, found)
    elif hasattr(source, "to_dict") and hasattr(source, "STAC_OBJECT_TYPE"):
        _add_item(source.to_dict(include_self_link=True, transform_hrefs=False), source.get_self_href(), found)
    elif hasattr(source, "to_dict") and hasattr(source, "items"):
        for one in source.items:
            add_items(one, base, found)
    elif isinstance(source, str | os.PathLike):
        _add_file(source, found)
    elif isinstance(source, Iterable):
        for one in source:
            add_items(one, base, found)
    else:
        _add_item(source, base, found)


def _add_file(source: str | os.PathLike[str], found: Items) -> None:
    path = Path(source)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a readable JSON file of STAC items: {error}") from error
    add_items(content, str(path.absolute()), found)


def _add_item(one: Any, base: str | None, found: Items) -> None:
    if (reason := _refusal(one)) is not None:
        name = one.get("id") or one.get("type") if isinstance(one, Mapping) else type(one).__name__
        found.refused.append((str(name), reason))
        return
    found.items.append(dict(one))
    # The place an item says it lies at is better than the place a copy was read from.
    found.bases.append(_self_href(one) or base)


def _refusal(one: Any) -> str | None:
    """Return why this is no item; None where it is one."""
    if not isinstance(one, Mapping):
        return f"is a {type(one).__name__}, no object"
    if one.get("type") != "Feature":
        return f"type is {one.get('type')!r}, not 'Feature'"
    if isinstance(one.get("id"), bool) or not isinstance(one.get("id"), str | int) or one["id"] == "":
        return "has no id"
    if not isinstance(one.get("properties"), Mapping):
        return "has no properties"
    if not any(name in one for name in ("stac_version", "assets", "links")):
        return "is GeoJSON without stac_version, assets and links"
    if not isinstance(one.get("assets") or {}, Mapping):
        return f"assets is a {type(one['assets']).__name__}, no object"
    for name in ("datetime", "start_datetime", "end_datetime"):
        try:
            instant(one["properties"].get(name))
        except ValueError as error:
            return f"{name}: {error}"
    try:
        footprint(one.get("geometry"))
    except ValueError as error:
        return f"geometry {error}"
    return None


def _self_href(one: Mapping[str, Any]) -> str | None:
    links = one.get("links")
    if isinstance(links, Mapping):  # before STAC 0.6: relation to link
        links = [{"rel": rel, **link} for rel, link in links.items() if isinstance(link, Mapping)]
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self" and isinstance(href := link.get("href"), str):
            # A self link that is relative itself says nothing about the place.
            return href if "://" in href or Path(href).is_absolute() else None
    return None
