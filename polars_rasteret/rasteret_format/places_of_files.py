"""Where is a file whose href a collection of rasteret names relative to something?

rasteret reads relative hrefs from the folder in which the reader happens to work. Here they are relative to the folder of the
collection. A file that is not there, but below the folder in which the collection was opened, is taken from that one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlaces:
    """The places of the files of one collection."""

    folder: str
    """Folder or URL of the collection, which relative hrefs belong to."""
    working: str | None
    """Folder in which the collection was opened; None for a collection that is not on this machine."""
    rewrite: tuple[tuple[str, str], ...] = ()
    """Beginnings of hrefs, and what takes their place."""

    @classmethod
    def beside(cls, folder: str, rewrite: Mapping[str, str] | None = None) -> Self:
        """Return the places of the files of a collection in a folder, or below a URL."""
        return cls(
            folder=folder.rstrip("/") or "/",
            working=None if "://" in folder else str(Path.cwd()),
            rewrite=tuple((rewrite or {}).items()),
        )

    def of(self, href: str) -> str:
        """Return the absolute href of a file.

        Examples
        --------
        >>> places = FilePlaces(folder="s3://bucket/scenes", working=None, rewrite=(("https://data.org/", "s3://data/"),))
        >>> places.of("tif/a.tif"), places.of("https://data.org/b.tif")
        ('s3://bucket/scenes/tif/a.tif', 's3://data/b.tif')
        """
        for beginning, instead in self.rewrite:
            if href.startswith(beginning):
                href = instead + href[len(beginning) :]
                break
        if _SCHEME.match(href) and not re.match(r"[A-Za-z]:[\\/]", href):
            return href
        if self.working is None:
            return href if href.startswith("/") else f"{self.folder}/{href.removeprefix('./')}"
        path = os.path.normpath(Path(self.folder, Path(href).expanduser()))
        if not Path(path).exists() and Path(elsewhere := os.path.normpath(Path(self.working, href))).exists():
            return elsewhere
        return path
