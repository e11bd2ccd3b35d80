"""Which methods of ``.raster`` make datasets for training? Methods are thin: they document a call and pass it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    import polars as pl

    from polars_rasteret.options import OnError
    from polars_rasteret.pairing.words import Unmatched
    from polars_rasteret.plan.time_match import Match

    Unscale = bool | Sequence[str]


class Training:
    """Methods that make datasets of PyTorch and TorchGeo."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def to_torch(
        self,
        chips: Any = None,
        bands: str | Sequence[str] | None = None,
        *,
        shape: tuple[int, int],
        stride: tuple[int, int] | None = None,
        label: str | None = None,
        split: Any = None,
        split_column: str = "split",
        time_series: bool = False,
        is_image: bool = True,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        chips_per_read: int | None = None,
        coverage: Literal["center", "all_touched"] | None = None,
        masked: bool = False,
        fill_value: float | None = None,
        x: str | pl.Expr | None = None,
        y: str | pl.Expr | None = None,
        geometry: str | pl.Expr | None = None,
        crs: Any = None,
        match: Match = "all",
        at: Any = None,
        tolerance: str | dt.timedelta | None = None,
        valid: pl.Expr | None = None,
        min_valid_fraction: float | None = None,
        unmatched: Unmatched = "drop",
        on_error: OnError | None = None,
        budget_bytes: int | None = None,
        grid: str = "finest",
        resampling: Any = "nearest",
        unscale: Unscale = False,
    ) -> Any:
        """Return a dataset of PyTorch, whose samples are windows around points, of areas, or over whole images.

        Chips and records are paired at this call; pixels are read when a ``DataLoader`` asks for samples, a batch in one read.
        Reading has many threads of its own, so ``num_workers=0`` is fast, and often fastest: a worker takes a second or more to
        start, and decodes tiles that other workers decode too. Workers must be spawned (``multiprocessing_context="spawn"``),
        and need stores of their own where `configure_store` is used (``worker_init_fn``).

        Parameters
        ----------
        chips
            A table as in `read_windows`: points get the window of `shape` around them, boxes and polygons are resampled to
            `shape`. None: every image is cut into windows of `shape`; the last ones may reach beyond the image.
        bands
            Names of raster columns, in the order of the channels; None: all raster columns.
        shape
            ``(height, width)`` of a sample.
        stride
            With `chips` of None: rows and columns from one window to the next; None: `shape`.
        label
            Column of `chips`, else of the collection, with the label of a sample.
        split, split_column
            Value that `split_column` of `chips`, else of the collection, must have; None: every row.
        time_series
            True: a sample has all records of a chip, by time. Chips with unequal numbers of records need ``batch_size=None`` or a
            ``collate_fn`` of your own.
        is_image
            False: pixels are classes. The sample has ``mask`` for ``image``, int64, without the axis of a single band.
        transform
            Function from a sample to a sample. Workers must be able to unpickle it: no lambda.
        chips_per_read
            None: samples by index, in batches of the ``DataLoader``. A number: an iterable dataset, which reads so many at once.
        masked
            True: adds ``valid``, which is False for null pixels.
        on_error
            ``"null"``: a sample that cannot be read is filled like pixels outside an image, and ``read_error`` has the reason.
        budget_bytes
            Bytes that one pass over the dataset may request; refused at this call.
        coverage, fill_value, grid, resampling, unscale, valid, min_valid_fraction
            As in `read_windows`.
        x, y, geometry, crs, match, at, tolerance, unmatched
            As in `sample_points`. With a `match` other than ``"all"`` a chip has one sample, of the record that counts. A sample
            without a record has the fill, and an empty ``record_id``.

        Returns
        -------
        torch.utils.data.Dataset
            One sample per chip and record. A sample is a dict of ``image`` ``(C, H, W)`` in the dtype of the pixels (uint16 as
            int32, uint32 as int64), ``bounds`` and ``transform`` (float64, of 4 and 6 numbers) in ``crs``, ``record_id``,
            ``datetime`` (microseconds since 1970) and ``chip``, the row of `chips`. With a time series these are ``(T, C, H, W)``
            and one value per record, but for ``chip`` and ``label``.

        Raises
        ------
        UsageError
            Without PyTorch, and for words that are wrong.

        Examples
        --------
        >>> import polars as pl
        >>> import polars_rasteret as pr
        >>> from torch.utils.data import DataLoader
        >>> plots = pl.DataFrame({"x": [500_015.0, 500_315.0], "y": [4_999_985.0, 4_999_685.0], "crop": [3, 7]})
        >>> scenes = pr.testing.example_scenes()
        >>> chips = scenes.raster.to_torch(plots, ["red", "nir"], shape=(8, 8), crs=32632, label="crop")
        >>> batch = next(iter(DataLoader(chips, batch_size=4)))
        >>> batch["image"].shape, batch["image"].dtype, batch["label"]
        (torch.Size([4, 2, 8, 8]), torch.int32, tensor([3, 3, 7, 7]))
        """
        from polars_rasteret.chips.to_torch import to_torch as ask
        from polars_rasteret.pairing.words import Pairing

        words = Pairing(
            x=x,
            y=y,
            geometry=geometry,
            crs=crs,
            match=match,
            at=at,
            tolerance=tolerance,
            valid=valid,
            min_valid_fraction=min_valid_fraction,
            unmatched=unmatched,
            on_error=on_error,
            budget_bytes=budget_bytes,
        )
        return ask(
            self._lf,
            chips,
            bands,
            words,
            shape=shape,
            stride=stride,
            label=label,
            split=split,
            split_column=split_column,
            time_series=time_series,
            is_image=is_image,
            transform=transform,
            chips_per_read=chips_per_read,
            coverage=coverage,
            masked=masked,
            fill_value=fill_value,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
        )

    def to_torchgeo(
        self,
        bands: str | Sequence[str] | None = None,
        *,
        target_crs: Any = None,
        resolution: float | tuple[float, float] | None = None,
        is_image: bool = True,
        time_series: bool = False,
        label: str | None = None,
        split: Any = None,
        split_column: str = "split",
        mosaic: Literal["first_valid", "last_valid", "min", "max", "mean", "median", "count"] = "first_valid",
        valid: pl.Expr | None = None,
        masked: bool = False,
        fill_value: float | None = None,
        grid: str = "finest",
        resampling: Any = "nearest",
        unscale: Unscale = False,
        on_error: OnError | None = None,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> Any:
        """Return the collection as a dataset of TorchGeo, for its samplers, and to combine with other datasets (``&``, ``|``).

        The size of a sample is that of the sampler's queries. The samples of a batch are read at the same time, so
        ``num_workers=0`` is fast; workers must be spawned. TorchGeo asks an ``IntersectionDataset`` or ``UnionDataset`` for one
        sample at a time: give such a loader spawned workers, or put all bands into one collection.

        Parameters
        ----------
        bands
            Names of raster columns, in the order of the channels; None: all raster columns.
        target_crs
            CRS of the dataset; None: that of the images, if they have only one.
        resolution
            Size of a pixel, or ``(x, y)``, in units of the CRS. None: that of the images, by `grid`; in another CRS, as GDAL
            suggests.
        is_image
            False: pixels are classes. The sample has ``mask`` for ``image``, int64, without the axis of a single band.
        time_series
            True: ``(T, C, H, W)``, a layer for each distinct time that the query finds. False: one mosaic of all.
        label
            Column of the collection with the label of a sample: that of the first record found.
        split, split_column
            Value that a column of the collection must have; None: every record.
        mosaic
            How the records of a layer become one, by time: the first valid pixel, ...
        valid
            Row-wise Boolean expression over bands and columns of the collection: where it is false, a pixel does not count.
        masked
            True: adds ``valid``, which is False where no record has a valid pixel.
        fill_value
            Value of these pixels; None: nodata, else NaN in floats and 0 in integers. A ``UnionDataset`` takes the maximum of
            its datasets, so fill with the smallest value there.
        grid
            Which resolution the dataset has where images have several: ``"finest"``, ``"coarsest"`` or a band's.
        resampling
            A method as in `read_windows`, or a dict of methods by band (nearest for the others), for images that are not on the
            grid of a query.
        unscale
            True or names of bands: ``value * scale + offset``.
        on_error
            ``"null"``: other records fill what cannot be read, and ``read_error`` has the reasons.
        transforms
            Function from a sample to a sample. Workers must be able to unpickle it: no lambda.

        Returns
        -------
        torchgeo.datasets.GeoDataset
            Indexed by ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax]``. A sample is a dict of ``image`` ``(C, H, W)`` (float32, or
            float64 for integers of 32 bits), ``crs``, ``bounds`` (the query) and ``record_id`` (a list).

        Raises
        ------
        UsageError
            Without TorchGeo, for words that are wrong, and for images of several CRSs without `target_crs`.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> from torchgeo.samplers import GridGeoSampler
        >>> dataset = pr.testing.example_scenes().raster.to_torchgeo(["red", "nir"])
        >>> queries = list(GridGeoSampler(dataset, size=32))
        >>> len(queries), dataset[queries[0]]["image"].shape
        (8, torch.Size([2, 32, 32]))
        """
        from polars_rasteret.chips.to_torchgeo import to_torchgeo as ask

        return ask(
            self._lf,
            bands,
            target_crs=target_crs,
            resolution=resolution,
            is_image=is_image,
            time_series=time_series,
            label=label,
            split=split,
            split_column=split_column,
            mosaic=mosaic,
            valid=valid,
            masked=masked,
            fill_value=fill_value,
            grid=grid,
            resampling=resampling,
            unscale=unscale,
            on_error=on_error,
            transforms=transforms,
        )
