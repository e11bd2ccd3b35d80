"""Which files did the caller mean?

Paths, URLs, globs, folders and lists of them become absolute hrefs. No file is opened.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from polars_rasteret.collection.storage.object_store import ListedObject, list_files
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.sources.local_source import local_path
from polars_rasteret.hrefs import Provenance, shown

SUFFIXES = (".tif", ".tiff", ".gtiff", ".geotiff", ".cog", ".tf8", ".btf")
"""Suffixes of the files that are taken from a folder. A file that the caller names is taken whatever its suffix."""


def hrefs_of(
    sources: Any,
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
    listed: dict[str, ListedObject] | None = None,
) -> list[str]:
    """Return the absolute href of every file that `sources` names.

    Parameters
    ----------
    sources
        A path, URL, glob or folder, or an iterable (list, Series, ...) of them.
    storage_options, credential_provider
        For listing folders and globs of an object store.
    listed
        Filled with the files of those folders and globs, as the listing shows them.

    Returns
    -------
    list of str
        Hrefs in the caller's order; the files of a folder or a glob are sorted. A file named by itself need not exist.

    Raises
    ------
    UsageError
        When a folder or a glob holds no file, or `sources` is of another type.
    """
    if isinstance(sources, str | os.PathLike):
        return _expand(os.fspath(sources), storage_options, credential_provider, listed)
    if isinstance(sources, pl.DataFrame | pl.LazyFrame | bytes | Mapping) or not isinstance(sources, Iterable):
        raise UsageError(
            f"sources is a {type(sources).__name__}; expected a path, URL, glob or folder, or a list or Series of them. "
            "A table with one row per record goes to build_from_table."
        )
    found: list[str] = []
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise UsageError(f"sources holds {source!r}; expected paths and URLs")
        found += _expand(os.fspath(source), storage_options, credential_provider, listed)
    return found


def absolute_href(href: str) -> str:
    """Return a URL unchanged, and a local path as an absolute path."""
    if is_remote(href) or href.startswith("file://"):
        return href
    return str(Path(href).expanduser().absolute())


@dataclass(frozen=True, slots=True)
class NamedBy:
    """Who named each href of a table or catalog: who wrote it, but where an href begins as the caller has it rewritten."""

    told_by: Provenance
    rewrite: Mapping[str, str] | None = None

    def __call__(self, href: str) -> Provenance:
        """Return who named an absolute href. One that leaves the rewritten place by ``..`` is not the caller's word."""
        if self.told_by is Provenance.HERE:
            return Provenance.HERE
        own = [absolute_href(one) for one in (self.rewrite or {}).values() if one]
        # What a path or a server makes of "..", percent-encoded or not, may lie anywhere.
        climbs = ".." in re.split(r"[/\\]", unquote(href))
        return Provenance.HERE if not climbs and href.startswith(tuple(own)) else self.told_by


def is_remote(href: str) -> bool:
    """Return whether an href is a URL of something that is not a local file."""
    return "://" in href and not href.startswith("file://")


def file_stem(href: str) -> str:
    """Return the file name without folder and suffix; of a web URL without query and percent-encoding."""
    if href.startswith("file://"):
        name = local_path(href)
    else:
        # Keys of a bucket are as they are: "#" and "%20" are part of the name there.
        is_of_web = href.lower().startswith(("http://", "https://"))
        name = unquote(re.split("[?#]", href, maxsplit=1)[0]) if is_of_web else href
    return Path(name.rstrip("/")).stem or href


def _expand(
    source: str,
    storage_options: Mapping[str, Any] | None,
    credential_provider: Any,
    listed: dict[str, ListedObject] | None,
) -> list[str]:
    if is_remote(source):
        return _expand_remote(source, storage_options, credential_provider, listed)
    if source.startswith("file://"):
        path = Path(local_path(source))
        return [source] if not path.is_dir() else _files_below(path)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        return _files_below(path)
    if path.exists():
        return [str(path)]
    if glob.has_magic(source):
        found = sorted(one for one in glob.glob(str(path), recursive=True) if Path(one).is_file())  # noqa: PTH207 - ** as in the shell
        if not found:
            raise UsageError(f"no file matches {shown(source)!r} (looked in {Path.cwd()})")
        return found
    if not path.suffix:
        raise UsageError(f"{shown(str(path))} does not exist; expected a file, a folder, a glob or a URL")
    return [str(path)]


def _files_below(folder: Path) -> list[str]:
    found = sorted(str(one) for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
    if not found:
        raise UsageError(f"the folder {folder} holds no {' or '.join(SUFFIXES[:2])} file")
    return found


def _expand_remote(
    source: str,
    storage_options: Mapping[str, Any] | None,
    credential_provider: Any,
    listed: dict[str, ListedObject] | None,
) -> list[str]:
    scheme = source.partition("://")[0]
    if scheme in ("http", "https"):
        # HTTP has no listing, and "?" and "*" may belong to the URL.
        return [source]
    folder = source.endswith("/") or not Path(source).suffix
    if not folder and not any(mark in source for mark in "*?["):
        return [source]
    found = [
        one
        for one in list_files(source, storage_options=storage_options, credential_provider=credential_provider)
        if not folder or one.href == source or one.href.lower().endswith(SUFFIXES)
    ]
    if not found:
        raise UsageError(f"nothing is at {shown(source)}; expected a folder or a glob that holds GeoTIFFs")
    if listed is not None:
        listed.update({one.href: one for one in found})
    return sorted(one.href for one in found)
