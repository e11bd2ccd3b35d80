"""Which pixels can a caller read of one record at hand?

Methods document a call and pass it on. What a handle says without reading is in `described_record`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.frame.verbs.sample_points import sample_points
from polars_rasteret.handles.background import in_background
from polars_rasteret.handles.described_record import DescribedRecord
from polars_rasteret.handles.loading import load
from polars_rasteret.handles.places import asked_places
from polars_rasteret.handles.record_pixels import checked_words, read_record
from polars_rasteret.pairing.words import Pairing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Coverage = Literal["center", "all_touched"]
    Unscale = bool | Sequence[str]


class RasterHandle(DescribedRecord):
    """One record at hand: its facts, and its pixels without a query.

    Handles are made by `open` and ``lf.raster.iter_rasters()``. They can be pickled, and used by several threads.
    """

    def read(
        self,
        bands: str | Sequence[str] | None = None,
        *,
        window: tuple[int, int, int, int] | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        geometry: Any = None,
        crs: Any = None,
        target_crs: Any = None,
        shape: tuple[int, int] | None = None,
        resolution: float | tuple[float, float] | None = None,
        resampling: Any = "nearest",
        coverage: Coverage | None = None,
        masked: bool = False,
        fill_value: float | None = None,
        grid: str = "finest",
        unscale: Unscale = False,
    ) -> NDArray[Any]:
        """Read pixels as one array; what lies outside the image is filled.

        Parameters
        ----------
        bands
            Names of bands in the order wanted; None: all. One name, not in a list, gives an array without bands.
        window
            ``(row_start, row_stop, col_start, col_stop)`` in pixels, which may reach beyond the image.
        bounds
            ``(minx, miny, maxx, maxy)`` in `crs`. Without `shape`: the smallest window that contains them, not cut to the image.
        geometry
            A geometry in `crs`. Without `shape`: the smallest window that contains it, cut to the image, as by ``rasterio.mask``.
            A point with `shape`: the window whose pixel ``(height // 2, width // 2)`` holds it.
        crs
            CRS of `bounds` or `geometry`; ``"native"``: that of the record. May be left out where the geometry states it.
        target_crs
            CRS of the pixels returned: all other words then mean the image as GDAL would warp it, on the grid that GDAL suggests.
        shape
            ``(height, width)`` of the answer, which is resampled from the best overview.
        resolution
            Size of a pixel instead of `shape`, or ``(x, y)``, in units of the CRS of the pixels returned.
        resampling
            A method as in ``read_windows``, or a dict of methods by band.
        coverage
            Pixels that count as covered by the geometry: those with their ``"center"`` in it, or ``"all_touched"``; others are
            treated as outside the image. None: no such test.
        masked
            Whether to return a `numpy.ma.MaskedArray` whose null pixels (nodata, masked, outside, not covered) are masked.
        fill_value
            Value of pixels outside the image or not covered; None: nodata, else 0.
        grid
            Grid that all bands share: ``"finest"``, ``"coarsest"`` or that of a band. `window` counts its pixels.
        unscale
            True or names of bands: ``value * scale + offset`` as float32.

        Returns
        -------
        ndarray, shape (bands, height, width), or (height, width) for one name
            In the pixel dtype, or the smallest dtype that holds all bands.

        Raises
        ------
        UsageError
            For a band that the record does not have, several of `window`, `bounds` and `geometry`, a place that does not meet the
            image, or bands without a common dtype.
        FileFormatError, FetchError
            When a file cannot be read.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scene = pr.open(pr.testing.example_scenes().head(1))
        >>> scene.read("red", window=(-1, 2, 0, 2))
        array([[   0,    0],
               [1000, 1001],
               [1064, 1065]], dtype=uint16)
        >>> scene.read(bounds=(500_000, 4_999_980, 500_030, 5_000_000), crs=32632).shape
        (2, 2, 3)
        """
        names = self._named(bands)
        words = checked_words(
            "read",
            names,
            target_crs=target_crs,
            shape=shape,
            resolution=resolution,
            resampling=resampling,
            coverage=coverage,
            masked=masked,
            fill_value=fill_value,
            grid=grid,
            unscale=unscale,
        )
        places = asked_places("read", window=window, bounds=bounds, geometry=geometry, crs=crs)
        found = read_record([self._row[name] for name in names], places, words, want_stack=True)
        if not found.grids.has_grid[0]:
            raise UsageError(self._not_met(names, window=window, bounds=bounds, geometry=geometry))
        values = found.values(0)
        if masked:
            values = np.ma.MaskedArray(values, ~found.valid(0))
        return values[0] if isinstance(bands, str) else values

    async def read_async(self, bands: str | Sequence[str] | None = None, **words: Any) -> NDArray[Any]:
        """Read pixels as `read` does, without blocking the event loop; many at once overlap.

        Parameters
        ----------
        bands, **words
            As in `read`.

        Returns
        -------
        ndarray
            As in `read`.

        Examples
        --------
        >>> import asyncio
        >>> import polars_rasteret as pr
        >>> scene = pr.open(pr.testing.example_scenes().head(1))
        >>> async def corners():
        ...     windows = [(0, 1, 0, 1), (63, 64, 63, 64)]
        ...     return await asyncio.gather(*(scene.read_async("red", window=one) for one in windows))
        >>> [int(corner[0, 0]) for corner in asyncio.run(corners())]
        [1000, 5095]
        """
        return await in_background(self.read, bands, **words)

    def sample_points(
        self,
        x: ArrayLike,
        y: ArrayLike,
        bands: str | Sequence[str] | None = None,
        *,
        crs: Any,
        method: Literal["nearest", "bilinear", "cubic"] = "nearest",
        max_distance_pixels: int = 0,
        unscale: Unscale = False,
    ) -> pl.DataFrame:
        """Read the pixels at points.

        Parameters
        ----------
        x, y
            Coordinates in `crs`, one each or as many of both.
        bands
            Names of bands; None: all.
        crs
            CRS of the coordinates; ``"native"``: that of the record.
        method, max_distance_pixels, unscale
            As in ``lf.raster.sample_points``.

        Returns
        -------
        polars.DataFrame
            ``x``, ``y`` and a column per band, one row per point in their order; null where the pixel is null or outside.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scene = pr.open(pr.testing.example_scenes().head(1))
        >>> scene.sample_points([500_005, 0], [4_999_995, 0], ["red"], crs=32632)["red"].to_list()
        [1000, None]
        """
        each_x, each_y = (np.atleast_1d(np.asarray(one, np.float64)) for one in (x, y))
        if each_x.shape != each_y.shape or each_x.ndim != 1:
            raise UsageError(f"sample_points: x has shape {each_x.shape}, y {each_y.shape}; expected as many of both")
        words = Pairing(x="x", y="y", crs=crs, record_columns=[], unmatched="null", on_error="raise")
        found = sample_points(
            self._row.lazy(),
            pl.DataFrame({"x": each_x, "y": each_y}),
            self._named(bands),
            words,
            method=method,
            max_distance_pixels=max_distance_pixels,
            joint=True,
            return_neighbourhood="off",
            layout="wide",
            grid="finest",
            resampling="nearest",
            unscale=unscale,
        )
        return found.collect()

    async def sample_points_async(self, x: ArrayLike, y: ArrayLike, **words: Any) -> pl.DataFrame:
        """Read the pixels at points as `sample_points` does, without blocking the event loop.

        Parameters
        ----------
        x, y, **words
            As in `sample_points`.

        Returns
        -------
        polars.DataFrame
            As in `sample_points`.
        """
        return await in_background(self.sample_points, x, y, **words)

    def load(
        self,
        geometries: Any,
        bands: str | Sequence[str] | None = None,
        *,
        as_: Literal["numpy", "xarray", "geopandas"] = "numpy",
        crs: Any = None,
        target_crs: Any = None,
        coverage: Coverage | None = None,
        resolution: float | tuple[float, float] | None = None,
        resampling: Any = "nearest",
        masked: bool = False,
        fill_value: float | None = None,
        grid: str = "finest",
        unscale: Unscale = False,
    ) -> Any:
        """Read the pixels in each of some geometries, all together: a tile that they share is read once.

        Parameters
        ----------
        geometries
            A GeoDataFrame, frame or Arrow table with a geometry column; a geometry or a list of them, as shapely, WKB, WKT,
            GeoJSON or boxes of four numbers.
        bands
            Names of bands; None: all.
        as_
            ``"numpy"``, ``"xarray"`` or ``"geopandas"``.
        crs
            CRS of the geometries; may be left out where they state it.
        target_crs, coverage, resolution, resampling, masked, fill_value, grid, unscale
            As in `read`. Pixels of all geometries are on one lattice.

        Returns
        -------
        list of ndarray, list of xarray.Dataset, or geopandas.GeoDataFrame
            In the order of the geometries. NumPy: arrays of shape (bands, height, width). xarray: Datasets with a variable per
            band on ``(y, x)``, and ``spatial_ref``. GeoPandas: the caller's columns, ``id``, ``datetime``, a column per band with
            2-D arrays, ``transform`` and ``raster_crs`` of the pixels. None stands for a geometry that does not meet the image.

        Raises
        ------
        UsageError, FileFormatError, FetchError
            As in `read`.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scene = pr.open(pr.testing.example_scenes().head(1))
        >>> boxes = [(500_000, 4_999_980, 500_030, 5_000_000), (0, 0, 10, 10)]
        >>> [None if one is None else one.shape for one in scene.load(boxes, ["red"], crs=32632)]
        [(1, 2, 3), None]
        """
        names = self._named(bands)
        words = checked_words(
            "load",
            names,
            target_crs=target_crs,
            resolution=resolution,
            resampling=resampling,
            coverage=coverage,
            masked=masked,
            fill_value=fill_value,
            grid=grid,
            unscale=unscale,
        )
        record = {"id": self.id, "datetime": self.datetime}
        return load([self._row[name] for name in names], geometries, words, as_=as_, crs=crs, record=record)

    async def load_async(self, geometries: Any, bands: str | Sequence[str] | None = None, **words: Any) -> Any:
        """Read the pixels in geometries as `load` does, without blocking the event loop.

        Parameters
        ----------
        geometries, bands, **words
            As in `load`.

        Returns
        -------
        list or geopandas.GeoDataFrame
            As in `load`.
        """
        return await in_background(self.load, geometries, bands, **words)

    def _not_met(self, names: Sequence[str], **places: Any) -> str:
        word, value = next((item for item in places.items() if item[1] is not None), ("image", None))
        one = self.metadata(names[0])
        return (
            f"read: {word}={str(value)[:120]} does not meet the image of {self._label}: band {one.band} has rows 0..{one.height} "
            f"and columns 0..{one.width}, bounds {one.bounds} in {one.crs}"
        )
