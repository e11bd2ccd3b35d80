"""Which requests does a call make, for the tiles that are neither cached in memory nor pending?

Those that the disk holds go to the disk. The others are joined into requests to their sources, which a budget may refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.options import process_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.scheduling.kept_tiles import KeptTiles
    from polars_rasteret.fetch.scheduling.pending import Call, PendingTile, Request
    from polars_rasteret.fetch.scheduling.tile_lookup import Found
    from polars_rasteret.fetch.scheduling.wanted_tiles import WantedTiles
    from polars_rasteret.fetch.sources.byte_source import FileKey

    Admit = Callable[[int, Sequence[FileKey], NDArray[np.int64], NDArray[np.int64]], None]
    Group = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]


def requests_for(call: Call, tiles: WantedTiles, found: Found, group: Group, admit: Admit | None) -> list[Request]:
    """Return the requests of a call; see `Scheduler.fetch` for `group` and `admit`."""
    index, pending = np.asarray(found.to_fetch), found.pending
    kept = _kept(tiles, index)
    if kept is None or not kept.is_held.any():
        requests = _to_sources(call, tiles, index, pending, group, admit)
        if kept is not None:
            kept.attach(requests)
        return requests
    held = index[kept.is_held]
    requests = kept.to_disk(call, tiles, index, pending, _grouped(tiles, held, group))
    if len(held) < len(index):
        others = [tile for tile, is_held in zip(pending, kept.is_held.tolist(), strict=True) if not is_held]
        asked = _to_sources(call, tiles, index[~kept.is_held], others, group, admit)
        kept.attach(asked)
        requests += asked
    return requests


def _kept(tiles: WantedTiles, index: NDArray[np.intp]) -> KeptTiles | None:
    """Return what the disk holds of the tiles with these numbers; None without a cache on disk."""
    if process_options().cache_dir is None:
        return None
    from polars_rasteret.fetch.scheduling.kept_tiles import KeptTiles

    return KeptTiles.among(tiles, index)


def _grouped(tiles: WantedTiles, index: NDArray[np.intp], group: Group) -> NDArray[np.int64]:
    return group(tiles.file_id[index], tiles.byte_start[index], tiles.byte_stop[index])


def _to_sources(  # noqa: PLR0917 - only called here
    call: Call,
    tiles: WantedTiles,
    index: NDArray[np.intp],
    pending: list[PendingTile],
    group: Group,
    admit: Admit | None,
) -> list[Request]:
    request_id = _grouped(tiles, index, group)
    if admit is not None:
        first = np.flatnonzero(np.diff(request_id, prepend=-1))
        n_bytes = np.maximum.reduceat(tiles.byte_stop[index], first) - tiles.byte_start[index][first]
        admit(len(index), tiles.files, tiles.file_id[index][first], n_bytes)
    return tiles.requests(call, index, pending, request_id)
