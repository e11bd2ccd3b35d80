"""Which records make up a cube, on which grid, and by which rules do they become its pixels?

A `Stack` says it all in names, hrefs and options, so it can be pickled. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import exact_scalar, masking_value
from polars_rasteret.cubes.kept_blocks import LEAST_KEPT_BYTES, KeptBlocks
from polars_rasteret.cubes.stack_images import StackImages
from polars_rasteret.engine import Spending
from polars_rasteret.errors import UsageError
from polars_rasteret.options import ReadOptions, process_options
from polars_rasteret.schema import numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrid

CHOOSING_MOSAICS = ("first_valid", "last_valid")
"""Mosaics whose pixels are those of one record each: reading stops once every pixel is filled."""
MOSAICS = (*CHOOSING_MOSAICS, "min", "max", "mean", "median", "count")
_MOSAIC_DTYPES: dict[str, np.dtype[Any]] = {
    "mean": np.dtype(np.float64),
    "median": np.dtype(np.float64),
    "count": np.dtype(np.uint32),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Records in the order of a mosaic, and the common grid that they are brought onto."""

    grid: PixelGrid
    """The common grid."""
    rasters: Mapping[str, pl.Series]
    """Raster columns by name, with a row per record: those of `bands`, and those that `valid` names."""
    bands: tuple[str, ...]
    """Bands of the cube."""
    step: NDArray[np.int64]
    """Time step of each record, from 0 and never falling. Records of one step are in the order of the mosaic."""
    n_steps: int
    mosaic: str = "first_valid"
    """How the records of a step become one layer; one of `MOSAICS`."""
    resampling: Mapping[str, str] = field(default_factory=dict)
    """Resampling method by band; nearest for bands without an entry."""
    valid: pl.Expr | None = None
    """Row-wise Boolean expression over raw values of bands and columns of `context`."""
    context: pl.DataFrame | None = None
    """Columns of the records that `valid` names, a row per record; None without such columns."""
    unscale: frozenset[str] = frozenset()
    """Bands that become ``value * scale + offset``."""
    options: ReadOptions = field(default_factory=ReadOptions)
    """Options of the reads, ``on_error`` among them."""

    def __post_init__(self) -> None:
        if self.mosaic not in MOSAICS:
            raise UsageError(f"mosaic={self.mosaic!r}; expected one of {', '.join(MOSAICS)}")
        for name in (*self.bands, *self.mask_bands):
            if name not in self.rasters or len(self.rasters[name]) != len(self.step):
                raise UsageError(f"band {name!r} needs a raster column with one value per record ({len(self.step)})")
        steps = self.step
        if len(steps) and (int(steps[0]) < 0 or int(steps[-1]) >= self.n_steps or (np.diff(steps) < 0).any()):
            raise UsageError(f"the steps of records must lie in 0 to {self.n_steps - 1}, and must not fall")

    def __getstate__(self) -> dict[str, Any]:
        kept = self.__dataclass_fields__
        return {name: value for name, value in self.__dict__.items() if name in kept}

    @cached_property
    def mask_bands(self) -> tuple[str, ...]:
        """Bands that `valid` names."""
        if self.valid is None:
            return ()
        own = () if self.context is None else self.context.columns
        return tuple(name for name in dict.fromkeys(self.valid.meta.root_names()) if name not in own)

    @cached_property
    def images(self) -> StackImages:
        """The images of all records, unpacked in this process, and their places on the common grid."""
        names = dict.fromkeys([*self.bands, *self.mask_bands])
        return StackImages.of(self.grid, {name: self.rasters[name].alias(name) for name in names}, self.resampling)

    def images_to_read(self, steps: NDArray[np.int64], window: tuple[int, int, int, int] | None = None) -> StackImages:
        """Return `images` with tile tables by which the records of some steps can be read in a window of the common grid."""
        records = [np.arange(one.start, one.stop) for one in map(self.records_of, np.unique(steps).tolist())]
        return self.images.with_own_tables(
            np.concatenate([np.zeros(0, np.int64), *records]),
            None if window is None else np.array(window, np.int64),
            self.options.begun(),
            self.spending,
        )

    @cached_property
    def kept(self) -> KeptBlocks:
        """Pixels that reads of this stack in this process have read for later reads: at most ``cache_bytes``, or 64 MB."""
        # Nobody who goes without a cache wants each interleaved tile fetched once per band.
        return KeptBlocks(max(process_options().cache_bytes, LEAST_KEPT_BYTES))

    @cached_property
    def spending(self) -> Spending | None:
        """What all reads of this stack in this process have spent of its budget; None without a budget."""
        return Spending.of(self.options)

    def with_options(self, options: ReadOptions) -> Stack:
        """Return the stack with other options, such as those of a dry run. Images that are unpacked already are shared."""
        other = replace(self, options=options)
        if "images" in self.__dict__:
            other.__dict__["images"] = self.images
        return other

    def records_of(self, step: int) -> slice:
        """Return the records of a step."""
        first, stop = np.searchsorted(self.step, [step, step + 1]).tolist()
        return slice(first, stop)

    def method(self, band: str) -> str:
        """Return the resampling method of a band."""
        return self.resampling.get(band, "nearest")

    def pixel_dtype(self, band: str) -> np.dtype[Any]:
        """Return the dtype of a band's pixels in its files."""
        return numpy_dtype(pixel_dtype(self.rasters[band].dtype))

    def dtype(self, band: str) -> np.dtype[Any]:
        """Return the dtype of a band in the cube.

        Float64 for means and medians, UInt32 for counts, Float32 where the band is unscaled; else the dtype of its pixels.
        """
        if self.mosaic in _MOSAIC_DTYPES:
            return _MOSAIC_DTYPES[self.mosaic]
        return np.dtype(np.float32) if band in self.unscale else self.pixel_dtype(band)

    def nodata(self, band: str) -> np.generic | None:
        """Return the value that stands in the cube where a band is not filled, if it cannot be mistaken for a pixel.

        The nodata value of the files where all records have the same; NaN in floats that have none, or several. None for other
        integers, and for counts.
        """
        dtype = self.dtype(band)
        if self.mosaic == "count":
            return None
        if self.mosaic not in _MOSAIC_DTYPES and band not in self.unscale:
            references = self.images.columns[band].references
            values = {masking_value(one.tiles, one.nodata) for one in references}
            value = values.pop() if len(values) == 1 else None
            if value is not None:
                return exact_scalar(value, dtype)
        return dtype.type(np.nan) if dtype.kind == "f" else None

    def fill(self, band: str) -> np.generic:
        """Return the value of pixels that no record fills: `nodata`, else 0."""
        nodata = self.nodata(band)
        return self.dtype(band).type(0) if nodata is None else nodata
