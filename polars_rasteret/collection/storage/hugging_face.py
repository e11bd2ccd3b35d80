"""Where on the web are the Parquet files of a dataset at Hugging Face?

``hf://datasets/org/name[@revision]/path`` becomes the https address of each file. The hub is ``https://huggingface.co``, or what
the environment variable ``HF_ENDPOINT`` names, as for Hugging Face's own library. Nothing here reads a table.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from polars_rasteret.collection.storage.object_store import glob_pattern
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.options import current_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HUB = "https://huggingface.co"
_FORM = "hf://datasets/ORGANISATION/NAME[@REVISION]/PATH"
_WILD = re.compile(r"[*?\[]")
_CONVERTED = {"~parquet": "refs/convert/parquet"}
"""Revisions that Polars writes shorter."""
_MOST_PAGES = 1_000


@dataclass(frozen=True, slots=True)
class HubPath:
    """A place in a repository of the hub, taken apart."""

    kind: str
    """``datasets`` or ``spaces``."""
    repository: str
    """Organisation and name."""
    revision: str
    path: str
    """Path of a file, folder or glob in the repository; empty for all of it."""

    def url(self, path: str) -> str:
        """Return the address of a file of the repository."""
        place = f"{_hub()}/{self.kind}/{self.repository}/resolve/{quote(self.revision, safe='')}"
        return f"{place}/{quote(path, safe='/=')}"

    def readable(self, path: str, token: str | None) -> str:
        """Return the address at which Polars reads a file; it sends tokens to ``hf://`` only, and knows one hub there."""
        if token is None or _hub() != HUB:
            return self.url(path)
        return f"hf://{self.kind}/{self.repository}@{quote(self.revision, safe='')}/{path}"

    def listing_url(self, folder: str) -> str:
        """Return the address of the list of all files below a folder."""
        place = f"{_hub()}/api/{self.kind}/{self.repository}/tree/{quote(self.revision, safe='')}"
        return f"{place}{'/' if folder else ''}{quote(folder)}?recursive=true"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of the hub: where Polars reads it, its path in the repository, and what a listing tells of its content."""

    url: str
    path: str
    n_bytes: int | None = None
    oid: str | None = None


def web_address(href: str) -> str:
    """Return the https address of a file whose href is ``hf://``; any other href unchanged.

    Raises
    ------
    UsageError
        When the href names no file of a dataset.

    Examples
    --------
    >>> web_address("hf://datasets/org/name@v1/data/a b.tif")
    'https://huggingface.co/datasets/org/name/resolve/v1/data/a%20b.tif'
    """
    if not href.startswith("hf://"):
        return href
    place = _parsed(href)
    if not place.path:
        raise UsageError(f"{href} names no file; expected {_FORM}")
    return place.url(place.path)


def parquet_files(url: str, *, storage_options: Mapping[str, Any] | None = None) -> list[HubFile]:
    """Return the Parquet files that an ``hf://`` address names: one file, a folder, a glob, or a whole repository.

    Of a whole repository, the files below its folder ``data`` where there are any. A file that is named by itself is not asked
    for.

    Parameters
    ----------
    url
        The address.
    storage_options
        ``token`` opens private repositories; without it the environment variable ``HF_TOKEN``.

    Raises
    ------
    UsageError
        When the address is none of the hub.
    FetchError
        When the hub refuses or does not answer.
    """
    place = _parsed(url)
    token = (storage_options or {}).get("token") or os.environ.get("HF_TOKEN") or None
    wild = _WILD.search(place.path)
    if wild is None and place.path.lower().endswith(".parquet"):
        return [HubFile(place.readable(place.path, token), place.path)]
    folder = place.path if wild is None else place.path[: wild.start()].rpartition("/")[0]
    listed = list(_listed(place, folder, token))
    if wild is not None:
        pattern = glob_pattern(place.path)
        listed = [one for one in listed if pattern.fullmatch(one["path"])]
    found = [
        HubFile(place.readable(one["path"], token), one["path"], one.get("size"), one.get("oid"))
        for one in listed
        if one["path"].lower().endswith(".parquet")
        and not any(piece[0] in "._" for piece in one["path"].removeprefix(folder).strip("/").split("/"))
    ]
    if not place.path and (of_data := [one for one in found if one.path.startswith("data/")]):
        found = of_data
    return sorted(found, key=lambda one: one.path)


def _parsed(url: str) -> HubPath:
    kind, _, rest = url.removeprefix("hf://").partition("/")
    pieces = rest.split("/", 2)
    name, _, revision = pieces[1].partition("@") if len(pieces) > 1 else ("", "", "")
    if kind not in ("datasets", "spaces") or not pieces[0] or not name or "@" in pieces[0]:
        raise UsageError(f"{shown(url)}: expected {_FORM}")
    path = pieces[2].strip("/") if len(pieces) > 2 else ""
    if any(piece in (".", "..") for piece in path.split("/")):
        raise UsageError(f"{shown(url)}: expected a path without '.' and '..'")
    revision = revision.replace("%2F", "/").replace("%2f", "/") or "main"
    return HubPath(kind, f"{quote(pieces[0])}/{quote(name)}", _CONVERTED.get(revision, revision), path)


def _hub() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _listed(place: HubPath, folder: str, token: str | None) -> Iterator[dict[str, Any]]:
    """Yield the files below a folder, page by page; a page of another host is not asked for."""
    url: str | None = place.listing_url(folder)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout_s = current_options().timeout_s
    with httpx.Client(headers=headers, timeout=timeout_s, follow_redirects=False) as client:
        for _ in range(_MOST_PAGES):
            if url is None:
                return
            page, link = _page(client, url, place)
            yield from (one for one in page if isinstance(one, dict) and one.get("type") == "file" and one.get("path"))
            following = None if link is None else urljoin(url, link)
            if following is not None and urlsplit(following)[:2] != urlsplit(url)[:2]:
                raise FetchError(
                    f"{shown(url)}: its next page lies on another host, {shown(following)}; expected the hub"
                )
            url = following
    raise FetchError(f"{shown(place.listing_url(folder))} has more than {_MOST_PAGES} pages; name a smaller folder")


def _page(client: httpx.Client, url: str, place: HubPath) -> tuple[list[Any], str | None]:
    try:
        answer = client.get(url)
        if answer.status_code == 404:
            return [], None
        if answer.status_code != 200:
            advice = {401: "give a token: HF_TOKEN, or storage_options={'token': ...}", 403: "ask its owner for access"}
            raise FetchError(
                f"{shown(url)}: the hub answered {answer.status_code} to the list of {place.repository}@{place.revision}; "
                f"{advice.get(answer.status_code, 'try again later, or name one file')}"
            )
        page = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise FetchError(f"{shown(url)} could not be listed: {type(error).__name__}; check the address") from None
    if not isinstance(page, list):
        raise FetchError(f"{shown(url)}: expected a list of files, got {type(page).__name__}; is HF_ENDPOINT a hub?")
    return page, answer.links.get("next", {}).get("url")
