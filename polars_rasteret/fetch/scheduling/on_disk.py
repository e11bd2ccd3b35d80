"""How are the tiles of one request read from the disk, or kept there when their source has answered?"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.access import check_href
from polars_rasteret.options import process_options
from polars_rasteret.profile import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.fetch.disk_cache import DiskCache
    from polars_rasteret.fetch.sources.byte_source import FileKey, RangeReader


class _Disk:
    pass


DISK = cast("RangeReader", _Disk())
"""Stands for the disk among the sources of requests, so that its requests have lanes and a pace of their own."""


@bundle(kw_only=False)
class OnDisk:
    """The names that the cache on disk has for the tiles of one request."""

    cache: DiskCache
    names: Sequence[str]
    source: RangeReader
    """The source that has the tiles, where the disk does not have them."""

    def read(self, file: FileKey, sizes: Sequence[int]) -> list[memoryview] | None:
        """Return the bytes of each tile; None when one of them is not there, or damaged, or may not be read."""
        try:
            check_href(file.href, file.terms)
        except FetchError:
            return None  # refused in words when the source is asked
        views = []
        for name, size in zip(self.names, sizes, strict=False):
            if (data := self.cache.read(name, size)) is None:
                return None
            views.append(data)
        record(disk_hits=len(views))
        return views

    def write(self, views: Sequence[memoryview]) -> None:
        """Keep the tiles, which their source has sent."""
        limit = process_options().disk_cache_bytes
        for name, view in zip(self.names, views, strict=False):
            self.cache.write(name, view, limit=limit)
