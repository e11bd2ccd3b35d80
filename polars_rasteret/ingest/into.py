"""What becomes of a finished build: a frame in memory, or a collection on disk?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from polars_rasteret.collection.parts import parts_at
from polars_rasteret.collection.scan import scan_collection
from polars_rasteret.collection.sink import sink_collection
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


def refuse_existing(
    into: str | os.PathLike[str] | None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Refuse to build into a place that holds something, before any header is read."""
    if into is not None and parts_at(into, storage_options=storage_options, credential_provider=credential_provider):
        raise UsageError(
            f"into={os.fspath(into)!r} exists already; builds that add to a collection come later. Build without into= and "
            "append the result with sink_collection(path, mode='append'), or choose another path."
        )


def finish(
    records: pl.DataFrame,
    into: str | os.PathLike[str] | None,
    *,
    storage_options: Mapping[str, Any] | None,
    credential_provider: Any,
) -> pl.LazyFrame:
    """Give the records as a LazyFrame: of memory, or of the collection they were written to."""
    if into is None:
        return records.lazy()
    sink_collection(records.lazy(), into, storage_options=storage_options, credential_provider=credential_provider)
    return scan_collection(into, storage_options=storage_options, credential_provider=credential_provider)
