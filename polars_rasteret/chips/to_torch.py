"""How is ``.raster.to_torch`` asked?"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import checked_shape, checked_unscale
from polars_rasteret.chips.chip_question import chip_question
from polars_rasteret.chips.tensor_dtypes import tensor_dtype
from polars_rasteret.errors import UsageError, missing_extra
from polars_rasteret.frame.query.question import raster_dtypes
from polars_rasteret.pixels.answer_columns import window_stack_dtype
from polars_rasteret.pixels.windows.window_options import checked_window_options
from polars_rasteret.pixels.windows.window_product import WindowProduct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from polars_rasteret.chips.torch_samples import ChipDataset, ChipStream
    from polars_rasteret.pairing.words import Pairing


def to_torch(
    lf: pl.LazyFrame,
    chips: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    shape: Any,
    stride: Any,
    label: str | None,
    split: Any,
    split_column: str,
    time_series: bool,
    is_image: bool,
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None,
    chips_per_read: int | None,
    coverage: str | None,
    masked: bool,
    fill_value: float | None,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> ChipDataset | ChipStream:
    """Return the dataset of ``.raster.to_torch``."""
    what = "to_torch"
    if find_spec("torch") is None:
        raise missing_extra(what, "PyTorch", "torch")
    from polars_rasteret.chips.torch_samples import ChipDataset, ChipStream, SampleForm

    if chips_per_read is not None and (type(chips_per_read) is not int or chips_per_read < 1):
        raise UsageError(f"{what}: chips_per_read={chips_per_read!r}; expected a number of samples, 1 or more")
    _check_together(chips, pairing, stride=stride, time_series=time_series)
    dtypes = raster_dtypes(what, lf, bands)
    window = checked_window_options(
        what,
        shape=shape,
        resolution=None,
        grid=grid,
        resampling=resampling,
        fill_value=fill_value,
        coverage=coverage,
        bands=list(dtypes),
    )
    if window.shape is None:
        raise UsageError(f"{what}: shape is None; samples of a batch have one size: pass shape=(height, width)")
    product = WindowProduct(
        bands=dtypes,
        unscale=checked_unscale(what, unscale, dtypes),
        window=window,
        stack=True,
        masked="column" if masked else False,
        min_valid_fraction=pairing.min_valid_fraction,
        clips_points=chips is not None,
    )
    tensor_dtype(window_stack_dtype(dtypes, product.unscale), is_image=is_image)  # refuses what no tensor holds
    asked = chip_question(
        lf,
        chips,
        product=product,
        pairing=pairing,
        grid=grid,
        stride=checked_shape(what, window.shape if stride is None else stride, word="stride") or window.shape,
        label=label,
        split=split,
        split_column=split_column,
        is_series=time_series,
    )
    dataset = ChipDataset(asked, SampleForm(is_image=is_image, transform=transform))
    return dataset if chips_per_read is None else ChipStream(dataset, chips_per_read)


def _check_together(chips: Any, pairing: Pairing, *, stride: Any, time_series: bool) -> None:
    """Refuse words that do not go together."""
    if time_series and pairing.match != "all":
        raise UsageError(f"to_torch: time_series=True takes all records of a chip; leave out match={pairing.match!r}")
    if chips is not None and stride is not None:
        raise UsageError(
            f"to_torch: stride={stride!r} is for windows over whole images; pass None as chips, or leave it out"
        )
    if chips is not None:
        return
    given = {
        "time_series": time_series or None,
        "match": None if pairing.match == "all" else pairing.match,
        "unmatched": None if pairing.unmatched == "drop" else pairing.unmatched,
        **{word: getattr(pairing, word) for word in ("x", "y", "geometry", "crs", "at", "tolerance")},
    }
    if wrong := [word for word, value in given.items() if value is not None]:
        raise UsageError(
            f"to_torch: {', '.join(wrong)} is about a table of chips, but chips is None: each image is cut into windows"
        )
