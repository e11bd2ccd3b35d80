"""What may be told, with a collection, of the places of its files?

Region, endpoint and signing scheme: of what the caller configured, what S3 told, and what other collections told. No secrets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polars_rasteret.fetch.hints import PLANETARY_COMPUTER, REQUESTER_PAYS, Hint, hint_for, is_plain, place_key
from polars_rasteret.fetch.places import bucket_place
from polars_rasteret.fetch.sources.cloud import endpoint_of, found_regions, region_of
from polars_rasteret.fetch.sources.planetary_computer import PlanetaryComputerToken
from polars_rasteret.fetch.sources.settings import hinted_endpoint, setting_for
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAYS = pattern(r"request(?:er)?_pay(?:er|s)")


def hints_of(hrefs: Iterable[str]) -> dict[str, Hint]:
    """Return what is known of the places of some files, for other processes, by place.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.configure_store("s3://hinted/", storage_options={"aws_region": "eu-central-1", "aws_secret_access_key": "..."})
    >>> hints_of(["s3://hinted/a.tif", "/data/b.tif"])
    {'s3://hinted': Hint(region='eu-central-1', endpoint=None, signing=None)}
    >>> pr.configure_store("s3://hinted/")
    """
    one_of_place = {place_key(href): href for href in hrefs}
    hints = {place: _hint_of(href) for place, href in one_of_place.items()}
    return {place: hint for place, hint in hints.items() if hint != Hint()}


def _hint_of(href: str) -> Hint:
    place = bucket_place(href)
    hint = hint_for(href, place) or Hint()
    if place is None:
        return hint
    setting = setting_for(href)
    options = {} if setting is None else setting.storage_options
    endpoint = None if place.is_web else (endpoint_of(place.kind, options) or hinted_endpoint(href))
    region = region_of(options) or hint.region or found_regions.get(place.name or "")
    signing = hint.signing
    if any(_PAYS.search(key.lower()) and str(value).lower() == "true" for key, value in options.items()):
        signing = REQUESTER_PAYS
    provider = None if setting is None else setting.credential_provider
    if provider == PLANETARY_COMPUTER or isinstance(provider, PlanetaryComputerToken):
        signing = PLANETARY_COMPUTER
    return replace(
        hint,
        region=region if place.kind == "s3" else None,
        endpoint=endpoint if endpoint is not None and is_plain(endpoint) else None,
        signing=signing,
    )
