"""What did a collection tell of the places of its files, that is no secret?

A hint helps to find a file: the region or the endpoint of its bucket, and who signs for it. Hints rank below whatever the caller
configured. They come from collections, which may be a stranger's: so a hint never lends the caller's credentials to an endpoint,
and never lets the caller pay. How hints are used belongs in `sources.settings` and `sources.cloud`.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from polars_rasteret.bundles import bundle
from polars_rasteret.fetch.places import bucket_place, origin
from polars_rasteret.fetch.signing import unsigned
from polars_rasteret.hrefs import shown
from polars_rasteret.options import carried_along
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from polars_rasteret.fetch.places import BucketPlace

HINTS_KEY = "polars_rasteret:hints"
"""Key of the metadata of a Parquet file that holds the hints of a collection."""
PLANETARY_COMPUTER, EARTHDATA, REQUESTER_PAYS = "planetary-computer", "earthdata", "requester-pays"
_SIGNINGS = frozenset({PLANETARY_COMPUTER, EARTHDATA, REQUESTER_PAYS})
_REGION = pattern(r"[a-z0-9-]{1,40}")
_MOST_PLACES = 10_000
_UNSIGNED_ACCOUNTS = frozenset({"ai4edatasetspublicassets"})
"""Accounts of the Planetary Computer that everybody may read."""


@bundle(eq=True)
class Hint:
    """What is known of one place."""

    region: str | None = None
    """Region of a bucket of S3."""
    endpoint: str | None = None
    """URL of the service that has the bucket, where it is not the provider's own."""
    signing: str | None = None
    """``"planetary-computer"``, ``"earthdata"`` or ``"requester-pays"``."""


_lock = threading.Lock()
_hints: dict[str, Hint] = {}


def register_hints(hints: Mapping[str, Hint]) -> None:
    """Remember hints in this process; a field that is None leaves what is known.

    Parameters
    ----------
    hints
        Any href or prefix in a bucket, or on a host, to the hint of that bucket or host.
    """
    global _hints  # noqa: PLW0603 - knowledge of the process; a new dictionary, so that readers need no lock
    with _lock:
        known = dict(_hints)
        for place, hint in hints.items():
            key = place_key(place)
            old = known.get(key, Hint())
            if key not in known and len(known) >= _MOST_PLACES:
                continue
            known[key] = Hint(
                region=hint.region or old.region,
                endpoint=hint.endpoint or old.endpoint,
                signing=hint.signing or old.signing,
            )
        if known != _hints:
            _hints = known


def forget_hints() -> None:
    """Forget all hints of this process."""
    global _hints  # noqa: PLW0603 - see above
    with _lock:
        _hints = {}


def has_hints() -> bool:
    """Return whether anything is known of any place."""
    return bool(_hints)


def hint_for(href: str, place: BucketPlace | None = None) -> Hint | None:
    """Return what is known of the place of an href; None where nothing is. `place` saves parsing it."""
    if not _hints:
        return None
    return _hints.get(place.bucket if place is not None else place_key(href))


def planetary_computer_hints(hrefs: Iterable[str]) -> dict[str, Hint]:
    """Return hints for the Azure containers of hrefs in items of the Planetary Computer, by place.

    Examples
    --------
    >>> planetary_computer_hints(["https://modiseuwest.blob.core.windows.net/modis-061-cogs/a.tif", "https://host/b.tif"])
    {'abfss://modis-061-cogs@modiseuwest.dfs.core.windows.net': Hint(region=None, endpoint=None, signing='planetary-computer')}
    """
    places = {place.bucket: place for href in hrefs if (place := bucket_place(href)) is not None}
    return {
        bucket: Hint(signing=PLANETARY_COMPUTER)
        for bucket, place in places.items()
        if place.kind == "az" and place.name and place.account and place.account not in _UNSIGNED_ACCOUNTS
    }


def place_key(href: str) -> str:
    """Return the place that hints speak of: the bucket in any of its spellings, else the origin."""
    place = bucket_place(href)
    return origin(href) if place is None or place.name is None else place.bucket


def written_hints(hints: Mapping[str, Hint]) -> str:
    """Return hints as JSON, as they are stored with a collection; an endpoint with a key is left out.

    Examples
    --------
    >>> written_hints({"s3://b": Hint(region="us-west-2"), "s3://c": Hint(endpoint="https://me:secret@host")})
    '{"s3://b": {"region": "us-west-2"}}'
    """
    told = {}
    for place, hint in sorted(hints.items()):
        fields = {name: value for name, value in asdict(hint).items() if value is not None}
        if "endpoint" in fields and not is_plain(fields["endpoint"]):
            del fields["endpoint"]
        if fields and is_plain(place):
            told[place] = fields
    return json.dumps(told)


def parsed_hints(text: str) -> dict[str, Hint]:
    """Return the hints that a text of `written_hints` holds; whatever is none of ours is left out.

    Examples
    --------
    >>> parsed_hints('{"s3://b": {"region": "us-west-2", "signing": "mine"}}')
    {'s3://b': Hint(region='us-west-2', endpoint=None, signing=None)}
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    found: dict[str, Hint] = {}
    for place, fields in told.items() if isinstance(told, dict) else ():
        if not isinstance(fields, dict):
            continue
        region, endpoint, signing = (_text(fields.get(name)) for name in ("region", "endpoint", "signing"))
        hint = Hint(
            region=region if region is not None and _REGION.fullmatch(region) else None,
            endpoint=endpoint if endpoint is not None and is_plain(endpoint) else None,
            signing=signing if signing in _SIGNINGS else None,
        )
        if hint != Hint():
            found[place] = hint
    return found


def is_plain(url: str) -> bool:
    """Return whether a URL has only scheme, host and path, so that it can hold no key."""
    return unsigned(url) == url == shown(url)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _register_written(text: str) -> None:
    register_hints(parsed_hints(text))


def _carried() -> tuple[Callable[[Any], None], Any] | None:
    return (_register_written, written_hints(_hints)) if _hints else None


carried_along.append(_carried)
