"""May a dataset of the catalog be asked this question: is it small enough, and can its files be read?

All of this is decided before the first request. Whether credentials are right, only their store knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.hints import EARTHDATA, REQUESTER_PAYS, Hint
from polars_rasteret.fetch.sources.settings import is_configured, setting_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.catalog.descriptor import DatasetDescriptor

_LARGE_SQUARE_DEGREES = 100.0
_LONG_DAYS = 366
_PAYER = "request_payer"
_CREDENTIAL_WORDS = ("KEY", "TOKEN", "PROFILE", "CREDENTIAL", "SECRET", "ACCOUNT")
_WITHOUT_FILES = ("path", "data")
"""Places of collections that are built: opening them reads no file, and costs nothing."""


def check_extent(one: DatasetDescriptor, *, has_place: bool, has_time: bool) -> None:
    """Raise `UsageError` when a dataset is too large to be built without a place, or without a time.

    Parameters
    ----------
    one
        The dataset. An extent that the catalog does not know counts as large.
    has_place, has_time
        Whether the caller restricts the place, and the time.
    """
    if one.place in _WITHOUT_FILES:
        return
    missing = [
        f"{word}= ({why})"
        for word, why, is_missing in (
            ("bbox", "it covers a large part of the Earth", not has_place and _is_wide(one)),
            ("datetime", "it covers many years", not has_time and _is_long(one)),
        )
        if is_missing
    ]
    if missing:
        raise UsageError(
            f"build: dataset {one.id!r} needs {' and '.join(missing)}{_example(one)}; or name ids=, or max_items="
        )


def check_credentials(
    one: DatasetDescriptor, *, storage_options: Mapping[str, Any] | None, credential_provider: Any
) -> None:
    """Raise `UsageError` when files of a dataset need credentials, and none were given, configured or are in the environment."""
    if one.auth in ("none", "planetary_computer") or one.place in _WITHOUT_FILES:
        return
    given = dict(storage_options or {})
    places = _places(one)
    where = places[0] if places else "s3://bucket/"
    if one.auth == "requester_pays":
        if _pays(given) or str(os.environ.get("AWS_REQUEST_PAYER", "")).lower() in ("true", "requester"):
            return
        if any(
            one.store is not None or _pays(one.storage_options) for one in map(setting_for, places) if one is not None
        ):
            return
        raise UsageError(
            f"build: who reads dataset {one.id!r} pays for it (requester pays), and nothing says that you will. Pass "
            f"storage_options={{'aws_request_payer': 'true', ...}} with your keys or profile, or call "
            f"pr.configure_store({where!r}, storage_options=...)"
        )
    if credential_provider is not None or given or any(map(is_configured, places)):
        return
    if one.auth == "earthdata":
        raise UsageError(
            f"build: files of dataset {one.id!r} need a NASA Earthdata login. Pass storage_options="
            "{'headers': {'Authorization': 'Bearer ...'}} with a token of urs.earthdata.nasa.gov, or in us-west-2 obstore's "
            f"NasaEarthdataCredentialProvider({one.credentials_url!r}) as credential_provider=; or call "
            f"pr.configure_store({where!r}, ...)"
        )
    if not any(map(_names_credentials, os.environ)):
        raise UsageError(
            f"build: files of dataset {one.id!r} need credentials, and none were given. Pass storage_options= or "
            f"credential_provider=, or call pr.configure_store({where!r}, ...)"
        )


def dataset_hints(one: DatasetDescriptor) -> dict[str, Hint]:
    """Return what the catalog knows of the places of a dataset: regions of buckets, and who signs or pays."""
    signing = {"requester_pays": REQUESTER_PAYS, "earthdata": EARTHDATA}.get(one.auth)
    return {place: Hint(region=one.regions.get(place), signing=signing) for place in _places(one) if place}


def _is_wide(one: DatasetDescriptor) -> bool:
    if one.spatial_extent is None:
        return True
    xmin, ymin, xmax, ymax = one.spatial_extent
    width = xmax - xmin if xmax >= xmin else xmax - xmin + 360
    return width * (ymax - ymin) > _LARGE_SQUARE_DEGREES


def _is_long(one: DatasetDescriptor) -> bool:
    first, last = one.temporal_extent
    return first is None or last is None or (last - first).days > _LONG_DAYS


def _example(one: DatasetDescriptor) -> str:
    words = []
    if one.example_bbox is not None:
        words.append(f"bbox={one.example_bbox}")
    if one.example_datetime is not None:
        words.append(f"datetime={one.example_datetime!r}")
    return f", for example {', '.join(words)}" if words else ""


def _places(one: DatasetDescriptor) -> list[str]:
    """Return the beginnings of the hrefs of a dataset, as far as the catalog knows them."""
    places = [*one.regions, *one.rewrite.values()]
    if one.credentials_url is not None:
        parts = urlsplit(one.credentials_url)
        places.append(f"{parts.scheme}://{parts.netloc}/")
    return list(dict.fromkeys(places))


def _names_credentials(variable: str) -> bool:
    """Return whether an environment variable may tell a store where to find credentials."""
    return variable.startswith(("AWS_", "GOOGLE_", "AZURE_")) and any(word in variable for word in _CREDENTIAL_WORDS)


def _pays(options: Mapping[str, Any]) -> bool:
    return any(
        key.lower().endswith(_PAYER) and str(value).lower() in ("true", "requester") for key, value in options.items()
    )
