"""How does a user add datasets to the catalog, take them out, and pass them on?"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars_rasteret.catalog import known
from polars_rasteret.catalog.descriptor import DatasetDescriptor
from polars_rasteret.catalog.descriptor_toml import descriptors_of
from polars_rasteret.catalog.local_file import change_local, local_datasets, write_toml
from polars_rasteret.collection.queries.extent import bands, bounds
from polars_rasteret.collection.queries.periods import begin_and_end
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.parts import is_remote, plain_path
from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    import polars as pl

WAIT_S = 10.0
"""Seconds that a change waits for another process that changes the file of local datasets."""


def register(descriptor: DatasetDescriptor | str | os.PathLike[str], *, persist: bool = False) -> None:
    """Add a dataset to the catalog; it wins over a dataset of the same id.

    Parameters
    ----------
    descriptor
        The facts, or a TOML file of datasets, as `export_dataset` writes it.
    persist
        Whether it is kept for other processes, in the file of local datasets. This file is named by the environment variable
        ``POLARS_RASTERET_DATASETS``, else it is ``~/.config/polars_rasteret/catalog.toml``. False: for this process.

    Raises
    ------
    UsageError
        When a file is not in order, or the file of local datasets is being changed for longer than ten seconds.
    FetchError
        When a file cannot be read or written.

    Notes
    -----
    The file of local datasets is written anew, and comments in it are lost. A dataset registered for this process wins over a
    local one.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.register(
    ...     pr.DatasetDescriptor(
    ...         id="mine/fields", title="Fields", api="https://stac.example.org/v1", collection="fields", bands={"red": "B04"}
    ...     )
    ... )
    >>> pr.dataset("mine/fields").title
    'Fields'
    >>> pr.unregister("mine/fields")
    """
    if isinstance(descriptor, DatasetDescriptor):
        new = {descriptor.id: descriptor}
    elif isinstance(descriptor, str | os.PathLike):
        new = _of_file(Path(descriptor))
    else:
        raise UsageError(
            f"descriptor is a {type(descriptor).__name__}; expected a pr.DatasetDescriptor, or the path of a TOML file"
        )
    if persist:
        change_local(lambda local: {**local, **new}, wait_s=WAIT_S)
        for name in new:
            known.registered.pop(name, None)
    else:
        known.registered.update(new)


def register_local(
    dataset_id: str,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    description: str = "",
    persist: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> DatasetDescriptor:
    """Add a collection that is built to the catalog, so that it is found by its id.

    Parameters
    ----------
    dataset_id
        Words of letters, digits and single ``. _ -``, joined by ``/``: ``"mine/fields"``.
    path
        A collection: file or folder, here or in a bucket.
    title, description
        Words for people; without `title`, the id.
    persist
        Whether it is kept for other processes, as in `register`.
    storage_options, credential_provider
        As in `polars.scan_parquet`; they are used now and not kept.

    Returns
    -------
    DatasetDescriptor
        What is known of it: bands, first and last day, and place, as the collection says.

    Raises
    ------
    UsageError
        When no collection is there.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> pr.register_local("mine/scenes", f"{folder.name}/scenes", persist=False).temporal_extent
    (datetime.date(2024, 5, 1), datetime.date(2024, 6, 1))
    >>> pr.unregister("mine/scenes")
    >>> folder.cleanup()
    """
    target = plain_path(path)
    if not is_remote(target):
        target = str(Path(target).expanduser().absolute())
    facts = DatasetDescriptor(id=dataset_id, title=title or dataset_id, description=description, path=target)
    scan = scan_collection(target, storage_options=storage_options, credential_provider=credential_provider)
    descriptor = replace(
        facts, bands={name: name for name in bands(scan)}, temporal_extent=_days(scan), spatial_extent=_place(scan)
    )
    register(descriptor, persist=persist)
    return descriptor


def unregister(dataset_id: str) -> None:
    """Remove a dataset from the catalog: out of this process and out of the file of local datasets.

    Parameters
    ----------
    dataset_id
        Id of a dataset that was registered.

    Raises
    ------
    UsageError
        When no dataset of this id was registered; a built-in one stays.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.unregister("earthsearch/sentinel-2-l2a")
    Traceback (most recent call last):
        ...
    polars_rasteret.errors.UsageError: 'earthsearch/sentinel-2-l2a' is built in, and was not registered by you; ...
    """
    was_registered = known.registered.pop(dataset_id, None) is not None
    if dataset_id in local_datasets():
        change_local(lambda local: {name: one for name, one in local.items() if name != dataset_id}, wait_s=WAIT_S)
    elif not was_registered:
        known.dataset(dataset_id)
        raise UsageError(
            f"{dataset_id!r} is built in, and was not registered by you; register another one of this id to replace it"
        )


def export_dataset(dataset_id: str, path: str | os.PathLike[str]) -> None:
    """Write the facts about a dataset to a TOML file, which `register` takes here or elsewhere.

    Parameters
    ----------
    dataset_id
        Id of any dataset of the catalog.
    path
        File to write; one that is there is replaced.

    Raises
    ------
    UsageError
        When no dataset has this id.
    FetchError
        When the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.export_dataset("earthsearch/cop-dem-glo-30", f"{folder.name}/dem.toml")
    >>> pr.register(f"{folder.name}/dem.toml")
    >>> pr.unregister("earthsearch/cop-dem-glo-30")
    >>> folder.cleanup()
    """
    write_toml(Path(path).expanduser().absolute(), {dataset_id: known.dataset(dataset_id)})


def _of_file(path: Path) -> dict[str, DatasetDescriptor]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(f"{path}: the file of datasets could not be read: {error}") from error
    found = descriptors_of(text, str(path))
    if not found:
        raise UsageError(f'{path} holds no dataset; expected tables like [dataset."mine/fields"]')
    return found


def _place(scan: pl.LazyFrame) -> tuple[float, float, float, float] | None:
    """Return the box of all records; None where no record has a place on Earth."""
    try:
        return bounds(scan)
    except UsageError:
        return None


def _days(scan: pl.LazyFrame) -> tuple[dt.date | None, dt.date | None]:
    """Return the first and the last day of a collection; None where no record has a time."""
    if (times := begin_and_end(scan.collect_schema())) is None:
        return None, None
    first, last = scan.select(times[0].min().alias("first"), times[1].max().alias("last")).collect().row(0)
    return (None if first is None else first.date()), (None if last is None else last.date())
