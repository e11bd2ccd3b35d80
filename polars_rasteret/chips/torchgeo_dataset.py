"""How does TorchGeo see a collection: as a dataset that its samplers index by x, y and time?

TorchGeo sets ``crs`` and ``res`` of a dataset when datasets are combined, and expects them to hold from then on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from torchgeo.datasets import GeoDataset

from polars_rasteret.chips.parallel_blocks import read_whole
from polars_rasteret.chips.tensor_dtypes import geo_dtype
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import normalize_crs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.chips.geo_records import GeoRecords
    from polars_rasteret.cubes.blocks import Block

    Sample = dict[str, Any]
    Query = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoSampleForm:
    """Form of a sample."""

    is_image: bool
    """True: ``image``, floats. False: ``mask``, int64, without the axis of a single band."""
    masked: bool
    """Whether there is ``valid``, too."""
    fill_value: float | None
    """Value where no record has a valid pixel; None: nodata, else NaN in floats and 0 in integers."""
    transforms: Callable[[Sample], Sample] | None
    """Changes a sample."""


class CollectionDataset(GeoDataset):
    """A collection as a dataset of TorchGeo; `__getitems__` reads the samples of a batch at the same time.

    `LazyFrame.raster.to_torchgeo` makes it and documents the samples.
    """

    paths: tuple[str, ...] = ()

    def __init__(self, records: GeoRecords, form: GeoSampleForm) -> None:
        self.records, self.form = records, form
        self._res = records.resolution
        self._process = os.getpid()
        times = records.times
        # An instant lasts a microsecond: datasets of TorchGeo find nothing in a query of no length.
        start, stop = (
            pd.DatetimeIndex(one.view("datetime64[us]")).where(times.is_known, other)
            for one, other in ((times.start, _TIMES[0]), (np.maximum(times.stop, times.start + 1), _TIMES[1]))
        )
        self.index = geopandas.GeoDataFrame(
            {"record": np.arange(len(times))},
            index=pd.IntervalIndex.from_arrays(start, stop, closed="both", name="datetime"),
            geometry=shapely.box(*records.bounds.T),
            crs=records.crs,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_process"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _process=os.getpid())

    def __getitem__(self, query: Any) -> Sample:
        """Return the sample of a query: slices of x, y and time."""
        return self.__getitems__([query])[0]

    def __getitems__(self, queries: Sequence[Any]) -> list[Sample]:
        """Return the samples of some queries."""
        if self._process != os.getpid():
            raise UsageError(
                f"to_torchgeo: process {os.getpid()} was forked from {self._process}, and Polars does not survive a fork. Pass "
                "multiprocessing_context='spawn' to the DataLoader, or num_workers=0: a batch is read by many threads"
            )
        crs = normalize_crs(self.crs)
        found = [self._found(query) for query in queries]
        stacks = [self.records.stack(record, crs=crs, x=x, y=y) for record, x, y in found]
        blocks = read_whole(stacks)
        return [
            self._sample(query, record, block)
            for query, (record, _, _), block in zip(queries, found, blocks, strict=True)
        ]

    def _found(self, query: Any) -> tuple[NDArray[np.int64], slice, slice]:
        """Return the records that a query finds, and its slices of x and y in full."""
        x, y, t = self._disambiguate_slice(query)
        # TorchGeo's own datasets look at (start, stop], which is nothing where both are one instant.
        time = pd.Interval(t.start, t.stop, closed="both" if t.start == t.stop else "right")
        index = self.index.iloc[self.index.index.overlaps(time)]
        index = index.iloc[:: t.step].cx[x.start : x.stop, y.start : y.stop]
        if index.empty:
            raise IndexError(f"query: {query} not found in index with bounds: {self.bounds}")
        return index["record"].to_numpy().astype(np.int64), x, y

    def _sample(self, query: Query, record: NDArray[np.int64], block: Block) -> Sample:
        form, records = self.form, self.records
        valid = np.stack([block.valid[band] for band in records.bands], axis=1)
        pixels = np.stack([_filled(block, band, form.fill_value) for band in records.bands], axis=1)
        pixels = pixels.astype(geo_dtype(pixels.dtype, is_image=form.is_image))
        if not records.is_series:
            pixels, valid = pixels[0], valid[0]
        if not form.is_image and len(records.bands) == 1:
            pixels = pixels.squeeze(-3)
        ids = records.frame["id"] if "id" in records.frame.columns else None
        sample: Sample = {
            "image" if form.is_image else "mask": torch.from_numpy(pixels),
            "crs": self.crs,
            "bounds": query,
            "record_id": [] if ids is None else [ids[at] for at in record.tolist()],
        }
        if records.is_series:
            sample["datetime"] = records.moments(record)
        if form.masked:
            sample["valid"] = torch.from_numpy(np.ascontiguousarray(valid))
        if records.label is not None:
            sample["label"] = records.frame[records.label][int(record[0])]
        if records.options.on_error == "null":
            sample["read_error"] = "; ".join(dict.fromkeys(block.errors.values()))
        return sample if form.transforms is None else form.transforms(sample)


_TIMES = pd.Timestamp("1677-09-22"), pd.Timestamp("2262-04-11")
"""Times of a record without one, about those of TorchGeo: it matches every query."""


def _filled(block: Block, band: str, fill_value: float | None) -> NDArray[Any]:
    values = block.values[band]
    if fill_value is not None:
        values[~block.valid[band]] = fill_value
    return values
