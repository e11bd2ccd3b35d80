"""Which tiles of a call are kept on disk, and which may be?

The name of a tile is a digest of what its bytes depend on: place and path, the ETag (or size and time) that was indexed, and the
range. A file that changed is another file; of one whose version is not known no tile is kept. Nor are tiles that credentials
protected, unless ``pr.options(cache_protected=True)`` says so. How a file of the cache looks belongs in `fetch.disk_cache`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.fetch.disk_cache import disk_cache
from polars_rasteret.fetch.protection import is_protected
from polars_rasteret.fetch.scheduling.on_disk import DISK, OnDisk
from polars_rasteret.fetch.sources.byte_source import UNKNOWN_TIME, is_strong
from polars_rasteret.options import process_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.disk_cache import DiskCache
    from polars_rasteret.fetch.scheduling.pending import Call, PendingTile, Request
    from polars_rasteret.fetch.scheduling.wanted_tiles import WantedTiles
    from polars_rasteret.fetch.sources.byte_source import FileKey


@dataclass(frozen=True, slots=True)
class KeptTiles:
    """The tiles that a call must fetch, and which of them the disk holds."""

    cache: DiskCache
    names: list[str | None]
    """Name of each tile; None where it may not be kept."""
    is_held: NDArray[np.bool_]

    @classmethod
    def among(cls, tiles: WantedTiles, index: NDArray[np.intp]) -> KeptTiles | None:
        """Return what is known of the tiles with these numbers; None without a cache on disk."""
        options = process_options()
        if options.cache_dir is None or not options.disk_cache_bytes:
            return None
        cache = disk_cache(options.cache_dir)
        files: dict[int, hashlib.blake2b | None] = {
            one: _file_digest(tiles.files[one], may_be_protected=options.cache_protected)
            for one in np.unique(tiles.file_id[index]).tolist()
        }
        names = [
            None if (file := files[one]) is None else _tile_name(file, start, stop)
            for one, start, stop in zip(
                tiles.file_id[index].tolist(),
                tiles.byte_start[index].tolist(),
                tiles.byte_stop[index].tolist(),
                strict=True,
            )
        ]
        is_held = np.fromiter((name is not None and cache.holds(name) for name in names), np.bool_, len(names))
        return cls(cache, names, is_held)

    def to_disk(
        self,
        call: Call,
        tiles: WantedTiles,
        index: NDArray[np.intp],
        pending: Sequence[PendingTile],
        request_id: NDArray[np.int64],
    ) -> list[Request]:
        """Return the requests to the disk, for the tiles that it holds."""
        held = np.flatnonzero(self.is_held)
        requests = tiles.requests(call, index[held], [pending[at] for at in held.tolist()], request_id)
        self._attach(requests, held)
        for request in requests:
            request.source = DISK
        return requests

    def attach(self, requests: Sequence[Request]) -> None:
        """Note at the requests to sources, for the other tiles, under which names the disk will keep their tiles."""
        self._attach(requests, np.flatnonzero(~self.is_held))

    def _attach(self, requests: Sequence[Request], at: NDArray[np.intp]) -> None:
        names = iter([self.names[one] for one in at.tolist()])
        for request in requests:
            own = [next(names) for _ in request.tiles]
            kept = [name for name in own if name is not None]
            if len(kept) == len(own):  # a request stays within one file, so it is all or none
                request.on_disk = OnDisk(self.cache, kept, request.source)


def _file_digest(file: FileKey, *, may_be_protected: bool) -> hashlib.blake2b | None:
    if is_strong(file.etag):
        version = f"etag {file.etag}"
    elif file.file_size is not None and file.last_modified not in (None, UNKNOWN_TIME):
        version = f"size {file.file_size}, of {file.last_modified}"
    else:
        return None
    if (is_hidden := is_protected(file.href)) is None or (is_hidden and not may_be_protected):
        return None
    return hashlib.blake2b(repr((file.href, version, file.terms)).encode("utf-8", "surrogatepass"), digest_size=20)


def _tile_name(file: hashlib.blake2b, byte_start: int, byte_stop: int) -> str:
    digest = file.copy()
    digest.update(struct.pack("<qq", byte_start, byte_stop))
    return digest.hexdigest()
