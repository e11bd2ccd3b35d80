"""Handles of real files, beside the same files in rasterio."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning


@pytest.fixture
def real_file(bundled_data: Path) -> Callable[[str], Path]:
    return lambda name: next(bundled_data.rglob(name))


@pytest.fixture
def in_rasterio() -> Callable[[Path], Iterator[rasterio.DatasetReader]]:
    @contextmanager
    def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                yield dataset

    return opened
