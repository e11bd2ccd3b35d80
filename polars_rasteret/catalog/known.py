"""Which datasets are known to this process: built in, in the file of local datasets, registered?

Later ones win. The file of local datasets is read whenever datasets are asked for, so no process sees an old one.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.catalog.descriptor_toml import descriptors_of
from polars_rasteret.catalog.local_file import local_datasets
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from polars_rasteret.catalog.descriptor import DatasetDescriptor

registered: dict[str, DatasetDescriptor] = {}
"""What was registered in this process without being kept."""


@lru_cache(maxsize=1)
def built_in() -> dict[str, DatasetDescriptor]:
    """Return the datasets that come with the package, by id."""
    text = files("polars_rasteret.catalog").joinpath("catalog.toml").read_text(encoding="utf-8")
    return descriptors_of(text, "catalog.toml")


def known_datasets() -> dict[str, DatasetDescriptor]:
    """Return all datasets by id: built in, then local, then registered; the last of one id counts.

    Raises
    ------
    UsageError
        When the file of local datasets is not in order.
    """
    return {**built_in(), **local_datasets(), **registered}


def dataset(dataset_id: str) -> DatasetDescriptor:
    """Return the facts about a dataset of the catalog.

    Parameters
    ----------
    dataset_id
        Such as ``"earthsearch/sentinel-2-l2a"``; `datasets` lists them.

    Returns
    -------
    DatasetDescriptor
        Where it is catalogued, its bands, what its pixel values mean.

    Raises
    ------
    UsageError
        When no dataset has this id.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.dataset("earthsearch/cop-dem-glo-30").bands
    {'DEM': BandSource(asset='data', index=0)}
    """
    known = known_datasets()
    if dataset_id in known:
        return known[dataset_id]
    near = difflib.get_close_matches(str(dataset_id), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"for example {next(iter(known))!r}."
    raise UsageError(f"no dataset is called {dataset_id!r}; {hint} pr.datasets() lists all {len(known)}.")


def datasets(search: str | None = None) -> pl.DataFrame:
    """Return the datasets of the catalog, one row each; nothing is requested.

    Parameters
    ----------
    search
        Words that must all occur in the id, the names, the bands, the place or the notes, in any case; None: all datasets.

    Returns
    -------
    DataFrame
        ``id``, ``title``, ``bands`` (List(String)), ``start`` and ``end`` (Date, null: open or unknown), ``coverage``, ``auth``,
        ``license``, ``kind`` (how it is catalogued: ``api``, ``catalog``, ``items``, ``table``, ``path``, ``data``), ``place``,
        ``collection``, ``origin`` (``built in``, ``local`` or ``registered``), ``notes`` (List(String)).

    Raises
    ------
    UsageError
        When the file of local datasets is not in order.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.datasets("sentinel-2 earthsearch").select("id", "auth").rows()
    [('earthsearch/sentinel-2-l2a', 'none'), ('earthsearch/sentinel-2-c1-l2a', 'none')]
    """
    if search is not None and not isinstance(search, str):
        raise UsageError(f"search is {search!r}; expected words as text")
    words = (search or "").casefold().split()
    local = local_datasets()
    rows = []
    for one in {**built_in(), **local, **registered}.values():
        texts = [one.id, one.title, one.description, one.coverage, one.collection or "", *one.bands, *one.notes]
        told = " ".join(texts).casefold()
        if all(word in told for word in words):
            origin = "registered" if one.id in registered else "local" if one.id in local else "built in"
            rows.append(
                {
                    "id": one.id,
                    "title": one.title,
                    "bands": list(one.bands),
                    "start": one.temporal_extent[0],
                    "end": one.temporal_extent[1],
                    "coverage": one.coverage,
                    "auth": one.auth,
                    "license": one.license,
                    "kind": one.place,
                    "place": getattr(one, one.place),
                    "collection": one.collection,
                    "origin": origin,
                    "notes": list(one.notes),
                }
            )
    return pl.DataFrame(rows, schema=_COLUMNS)


_COLUMNS: dict[str, Any] = {
    "id": pl.String,
    "title": pl.String,
    "bands": pl.List(pl.String),
    "start": pl.Date,
    "end": pl.Date,
    "coverage": pl.String,
    "auth": pl.String,
    "license": pl.String,
    "kind": pl.String,
    "place": pl.String,
    "collection": pl.String,
    "origin": pl.String,
    "notes": pl.List(pl.String),
}
