"""How do images become samples of PyTorch, for a ``DataLoader`` that names indices or takes what comes?

Reading, pairing and filling do not belong here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from polars_rasteret.chips.chip_reads import ChipReader
from polars_rasteret.chips.tensor_dtypes import tensor_dtype
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.chips.chip_images import ChipImages
    from polars_rasteret.chips.chip_question import ChipQuestion

    Sample = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleForm:
    """Form of a sample."""

    is_image: bool
    """True: pixels are inputs, ``image``. False: they are classes, ``mask``."""
    transform: Callable[[Sample], Sample] | None
    """Changes a sample; pickled to workers."""


class ChipDataset(Dataset):
    """Samples by their index, for ``torch.utils.data.DataLoader``; `__getitems__` reads a batch at once.

    `LazyFrame.raster.to_torch` makes it and documents the samples. It holds tables and options; connections, decoded metadata and
    caches are made by each process that reads. Workers must be spawned.
    """

    def __init__(self, asked: ChipQuestion, form: SampleForm) -> None:
        self._asked, self._form = asked, form
        self._reader: ChipReader | None = None
        self._process = os.getpid()
        self._length = len(self._opened())

    def __getstate__(self) -> dict[str, Any]:
        return {"asked": self._asked, "form": self._form, "length": self._length}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._asked, self._form, self._length = state["asked"], state["form"], state["length"]
        self._reader, self._process = None, os.getpid()

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._length

    def __repr__(self) -> str:
        asked = self._asked
        return f"ChipDataset({self._length} samples, bands {', '.join(asked.question.bands or ())})"

    def __getitem__(self, index: int) -> Sample:
        """Return one sample; an index below 0 counts from the end."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return some samples, read at once."""
        samples = np.asarray(indices, np.int64).reshape(-1)
        wrong = samples[(samples < -self._length) | (samples >= self._length)]
        if len(wrong):
            raise IndexError(f"sample {wrong[0]} of a dataset of {self._length} samples")
        if not len(samples):
            return []
        return samples_of(self._opened().read(samples % self._length), self._form)

    def _opened(self) -> ChipReader:
        if self._process != os.getpid():
            raise UsageError(
                f"to_torch: process {os.getpid()} was forked from {self._process}, and Polars does not survive a fork. Pass "
                "multiprocessing_context='spawn' to the DataLoader, or num_workers=0: batches are read by many threads"
            )
        if self._reader is None:
            self._reader = ChipReader(self._asked)
        return self._reader


class ChipStream(IterableDataset):
    """The samples of a `ChipDataset` in their order, read some at a time; workers take turns."""

    def __init__(self, chips: ChipDataset, chips_per_read: int) -> None:
        self._chips, self._chips_per_read = chips, chips_per_read

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._chips)

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for start in range(first * self._chips_per_read, len(self), step * self._chips_per_read):
            yield from self._chips.__getitems__(range(start, min(start + self._chips_per_read, len(self))))


def samples_of(images: ChipImages, form: SampleForm) -> list[Sample]:
    """Return a sample of each chip; without `ChipQuestion.is_series` a sample has exactly one image."""
    wanted = tensor_dtype(images.pixels.dtype, is_image=form.is_image)
    # Torch wants an array of its own that may be written to.
    pixels = torch.from_numpy(images.pixels.astype(wanted, copy=not images.pixels.flags.writeable))
    valid = None if images.valid is None else torch.from_numpy(images.valid)
    if not form.is_image and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    bounds = torch.from_numpy(_bounds(images.transform, images.pixels.shape[2:]))
    transform, time = torch.from_numpy(images.transform), torch.from_numpy(images.time)
    labels = None if images.label is None else images.label.to_list()
    samples = []
    for at, chip in enumerate(images.chip.tolist()):
        # One image, or a slice of the images of a series.
        one: Any = slice(int(images.offset[at]), int(images.offset[at + 1])) if images.is_series else at
        sample: Sample = {
            "image" if form.is_image else "mask": pixels[one],
            "bounds": bounds[one],
            "transform": transform[one],
            "crs": images.crs[one],
            "record_id": images.record_id[one],
            "datetime": time[one],
            "chip": chip,
        }
        if valid is not None:
            sample["valid"] = valid[one]
        if labels is not None:
            sample["label"] = labels[at]
        if images.error is not None:
            sample["read_error"] = images.error[one]
        samples.append(sample if form.transform is None else form.transform(sample))
    return samples


def _bounds(transform: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return ``minx, miny, maxx, maxy`` of images of one shape."""
    height, width = shape
    rows, cols = np.array([0.0, 0, height, height]), np.array([0.0, width, 0, width])
    x, y = map_coordinates(transform[:, None, :], rows, cols)
    return np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
