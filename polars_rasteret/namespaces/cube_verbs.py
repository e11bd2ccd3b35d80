"""What do methods that make lazy cubes of a collection take and give?

Methods document a verb and pass it on; no logic must be put here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    import xarray

    from polars_rasteret.options import OnError


class CubeVerbs:
    """Methods that make lazy cubes."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def to_xarray(
        self,
        bounds: Any = None,
        bands: str | Sequence[str] | None = None,
        *,
        geometry: Any = None,
        crs: Any = None,
        target_crs: Any = None,
        resolution: float | tuple[float, float] | None = None,
        masked: bool = False,
        on_error: OnError | None = None,
        grid: str = "finest",
        resampling: str | Mapping[str, str] = "nearest",
        group_by: str | None = "datetime",
        mosaic: Literal["first_valid", "last_valid", "min", "max", "mean", "median", "count"] = "first_valid",
        valid: pl.Expr | None = None,
        unscale: bool | Sequence[str] = False,
        coverage: Literal["center", "all_touched"] | None = None,
        chunks: Any = None,
    ) -> xarray.Dataset:
        """Return the collection as an xarray Dataset, whose pixels are read when they are used.

        Records are collected at this call. Slicing, ``sel``, ``.rio`` and ``.odc`` read nothing; ``load`` and computing read the
        tiles of what is left. Several records of a time step become one layer (`mosaic`).

        Parameters
        ----------
        bounds
            ``(minx, miny, maxx, maxy)`` in `crs`; minx > maxx is a box across the antimeridian. Or a table of areas, as in
            `read_windows`: the Dataset then has a dimension ``geometry``, and one grid for all. None: all records.
        bands
            Names of raster columns; None: all.
        geometry
            One geometry instead of `bounds`; pixels beyond its bounds are left out.
        crs
            CRS of `bounds` or `geometry`; ``"native"``: that of the images.
        target_crs
            CRS of the pixels. None: that of the images, which then must share one.
        resolution
            Size of a pixel, or ``(x, y)``, in units of the CRS of the pixels. None: that of the images, by `grid`.
        masked
            True: pixels without a value are NaN, in Float32 (Float64 where that would change values). False: the dtype of the
            pixels, with ``_FillValue`` in ``attrs``; a band without nodata has ``{band}_valid`` beside it, Boolean.
        on_error
            ``"null"``: other records fill what cannot be read, and ``attrs["read_errors"]`` lists reasons as reads fail.
        grid
            Where bands or records have several resolutions: ``"finest"``, ``"coarsest"`` or that of a band.
        resampling
            A method as in `read_windows`, or a dict of methods by band, for images that are not on the grid.
        group_by
            What makes a time step: records of one ``"datetime"``, one ``"solar_day"``, one ``"month"``, or with one value in a
            column of the collection. None: each record.
        mosaic
            How the records of a time step become one layer. ``"first_valid"`` and ``"last_valid"`` go by time, then id, and read
            no more records than it takes to fill the pixels. ``"mean"`` and ``"median"`` are Float64, ``"count"`` UInt32.
        valid
            Row-wise Boolean expression over bands and columns of the collection: where it is false, a pixel does not count.
        unscale
            True or names of bands: ``value * scale + offset`` as Float32.
        coverage
            Pixels of an area that count: those with their ``"center"`` in it, or ``"all_touched"``, as GDAL burns them; others
            have no value. None: all pixels in the bounds of the area.
        chunks
            As in ``xarray.Dataset.chunk``, for dask; None: no dask.

        Returns
        -------
        xarray.Dataset
            A variable per band on ``(time, y, x)``, or ``(geometry, time, y, x)``. ``time`` is in UTC, ``y`` and ``x`` are pixel
            centres, ``record_id`` names the records of each step (on ``(time, record)`` where steps have several, in the order
            of the mosaic), ``spatial_ref`` has the CRS and the transform. Open what was written with ``decode_coords="all"``.

        Raises
        ------
        UsageError
            For images of several CRSs or rotated images without `target_crs`, words that are wrong, and where no record is.
        FetchError, FileFormatError
            When pixels are used and a file cannot be read.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> cube = pr.testing.example_scenes().raster.to_xarray((500_000, 4_999_900, 500_050, 5_000_000), ["red"], crs=32632)
        >>> dict(cube.sizes)
        {'time': 2, 'y': 10, 'x': 5}
        >>> cube.red.isel(time=0, y=slice(0, 2), x=slice(0, 3)).values
        array([[1000, 1001, 1002],
               [1064, 1065, 1066]], dtype=uint16)
        """
        from polars_rasteret.xarray_datasets.to_xarray import to_xarray as ask

        return ask(
            self._lf,
            bounds,
            bands,
            geometry=geometry,
            crs=crs,
            target_crs=target_crs,
            resolution=resolution,
            masked=masked,
            on_error=on_error,
            grid=grid,
            resampling=resampling,
            group_by=group_by,
            mosaic=mosaic,
            valid=valid,
            unscale=unscale,
            coverage=coverage,
            chunks=chunks,
        )
