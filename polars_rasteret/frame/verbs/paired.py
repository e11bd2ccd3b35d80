"""Which verbs pair records with a table and read?

Each verb checks its arguments, captures the options in force, and gives a LazyFrame whose root is a `PairedSource`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import (
    check_choice,
    check_fill,
    checked_bands,
    checked_resolution,
    checked_shape,
    is_number,
)
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.frame.columns.long_layout import INDEX, long_layout, record_columns, with_raster_crs
from polars_rasteret.frame.query.paired_source import PairedSource
from polars_rasteret.frame.query.question import DEFAULT_RECORD_COLUMNS, Question, ReaderOf, Unmatched, whose_frame
from polars_rasteret.frame.verbs.pair import PairReader
from polars_rasteret.frame.verbs.read_windows import WindowReader
from polars_rasteret.frame.verbs.sample_points import PointReader
from polars_rasteret.grids.choosing import FINEST
from polars_rasteret.options import OnError, current_options
from polars_rasteret.pairing.records import checked_raster_columns
from polars_rasteret.pairing.targets import as_lazy_frame, named_places
from polars_rasteret.pairing.times import settled_tolerance
from polars_rasteret.pixels.resampling import check_resampling, methods_by_band
from polars_rasteret.pixels.sampling import checked_sampling

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    import polars as pl

    from polars_rasteret.pairing.reader import Reader
    from polars_rasteret.pixels.sampling import Sampling
    from polars_rasteret.plan.time_match import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The pairing words that every verb takes."""

    x: Any = None
    y: Any = None
    geometry: Any = None
    crs: Any = None
    match: Match = "all"
    at: Any = None
    tolerance: str | dt.timedelta | None = None
    valid: pl.Expr | None = None
    min_valid_fraction: float | None = None
    unmatched: Unmatched = "null"
    record_columns: Any = DEFAULT_RECORD_COLUMNS
    suffix: str = "_right"
    on_error: OnError | None = None
    maintain_order: bool = True
    budget_bytes: int | None = None

    def checked(self, what: str) -> Pairing:
        """Refuse words that are wrong or not built yet."""
        check_choice(what, "match", self.match, ("all", "latest", "earliest", "nearest"))
        check_choice(what, "unmatched", self.unmatched, ("null", "drop"))
        check_choice(what, "on_error", self.on_error, (None, "raise", "null"))
        fraction = self.min_valid_fraction
        if fraction is not None and (self.match == "all" or not is_number(fraction) or not 0 <= fraction <= 1):
            raise UsageError(
                f"{what}: min_valid_fraction={fraction!r} with match={self.match!r}; expected 0 to 1 with 'latest', 'earliest' "
                "or 'nearest': it says which record is chosen"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class _PairReaderOf:
    as_points: bool

    def __call__(self, bands: Mapping[str, pl.DataType]) -> Reader:
        return PairReader(bands=bands, as_points=self.as_points)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PointReaderOf:
    unscale: bool | tuple[str, ...]
    tells_errors: bool
    sampling: Sampling

    def __call__(self, bands: Mapping[str, pl.DataType]) -> Reader:
        return PointReader(
            bands=bands,
            unscale=_unscaled("sample_points", self.unscale, bands),
            tells_errors=self.tells_errors,
            sampling=self.sampling,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _WindowReaderOf:
    shape: tuple[int, int] | None
    resolution: tuple[float, float] | None
    coverage: str | None
    grid: str
    resampling: Any
    masked: bool | str
    fill_value: float | None
    min_valid_fraction: float | None
    stack: bool
    unscale: bool | tuple[str, ...]
    tells_errors: bool

    def __call__(self, bands: Mapping[str, pl.DataType]) -> Reader:
        check_resampling("read_windows", self.resampling, list(bands))
        return WindowReader(
            bands=bands,
            shape=self.shape,
            resolution=self.resolution,
            coverage=self.coverage,
            grid=self.grid,
            resampling=methods_by_band(self.resampling, list(bands)),
            masked=self.masked,
            fill_value=self.fill_value,
            min_valid_fraction=self.min_valid_fraction,
            stack=self.stack,
            unscale=_unscaled("read_windows", self.unscale, bands),
            tells_errors=self.tells_errors,
            # A point has a window where there is a shape; else it is the smallest area.
            as_points=None if self.shape is not None else False,
        )


def pair(lf: pl.LazyFrame, targets: Any, pairing: Pairing) -> pl.LazyFrame:
    """Build the frame behind ``.raster.pair``."""
    # Areas count by their outline here, and a point is the smallest area.
    return _paired("pair", lf, targets, None, pairing, reader_of=_PairReaderOf(as_points=False))


def sample_points(
    lf: pl.LazyFrame,
    points: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    method: str,
    max_distance_pixels: int,
    joint: bool,
    return_neighbourhood: str,
    layout: str,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> pl.LazyFrame:
    """Build the frame behind ``.raster.sample_points``."""
    what = "sample_points"
    check_choice(what, "layout", layout, ("wide", "long"))
    if resampling != "nearest":
        raise UsageError(
            f"{what}: resampling={resampling!r}; points take bands of other grids by 'nearest', interpolation is method="
        )
    reader = _PointReaderOf(
        unscale=_names(what, unscale),
        tells_errors=_tells_errors(pairing),
        sampling=checked_sampling(
            what,
            method=method,
            max_distance_pixels=max_distance_pixels,
            joint=joint,
            return_neighbourhood=return_neighbourhood,
            grid=grid,
        ),
    )
    if layout == "wide":
        return _paired(what, lf, points, bands, pairing, reader_of=reader, grid=grid)
    if pairing.record_columns != DEFAULT_RECORD_COLUMNS:
        raise UsageError(f"{what}: layout='long' has record columns of its own; leave record_columns out")
    names = checked_raster_columns(lf.collect_schema(), None if bands is None else checked_bands(what, bands))
    records = with_raster_crs(lf, names)
    question = _question(
        what,
        records,
        as_lazy_frame(points, what=whose_frame(what)).with_row_index(INDEX),
        names,
        replace(pairing, record_columns=record_columns(records, names)),
        reader_of=reader,
        grid=grid,
    )
    return long_layout(question)


def read_windows(
    lf: pl.LazyFrame,
    aois: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    shape: Any,
    resolution: Any,
    coverage: str | None,
    masked: bool | str,
    fill_value: float | None,
    stack: bool,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> pl.LazyFrame:
    """Build the frame behind ``.raster.read_windows``."""
    what = "read_windows"
    check_choice(what, "masked", masked, (False, True, "column"))
    check_choice(what, "coverage", coverage, (None, "center", "all_touched"))
    check_fill(what, fill_value)
    size = checked_shape(what, shape)
    pixel_size = checked_resolution(what, resolution, size)
    instead = " instead of resolution" if pixel_size is not None else ""
    if stack and size is None:
        raise UsageError(f"{what}: stack=True needs a known size: pass shape=(height, width){instead}")
    if masked == "column" and size is None:
        raise UsageError(f"{what}: masked='column' needs a known size: pass shape=(height, width){instead}")
    reader = _WindowReaderOf(
        shape=size,
        resolution=pixel_size,
        coverage=coverage,
        grid=grid,
        resampling=resampling,
        masked=masked,
        fill_value=fill_value,
        min_valid_fraction=pairing.min_valid_fraction,
        stack=stack,
        unscale=_names(what, unscale),
        tells_errors=_tells_errors(pairing),
    )
    return _paired(what, lf, aois, bands, pairing, reader_of=reader, grid=grid)


def _paired(
    verb: str,
    lf: pl.LazyFrame,
    targets: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    reader_of: ReaderOf,
    grid: str = FINEST,
) -> pl.LazyFrame:
    return PairedSource(_question(verb, lf, targets, bands, pairing, reader_of=reader_of, grid=grid)).scan()


def _question(
    verb: str,
    lf: pl.LazyFrame,
    targets: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    reader_of: ReaderOf,
    grid: str,
) -> Question:
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    words = pairing.checked(verb)
    frame, places = named_places(
        as_lazy_frame(targets, what=whose_frame(verb)),
        {"x": words.x, "y": words.y, "geometry": words.geometry},
        what=whose_frame(verb),
    )
    question = Question(
        verb=verb,
        records=lf,
        targets=frame,
        bands=None if bands is None else checked_bands(verb, bands),
        **places,
        crs=words.crs,
        reader_of=reader_of,
        match=words.match,
        at=words.at,
        tolerance=settled_tolerance(verb, words.tolerance),
        valid=words.valid,
        grid=grid,
        unmatched=words.unmatched,
        record_columns=words.record_columns,
        suffix=words.suffix,
        options=current_options(on_error=words.on_error, budget_bytes=words.budget_bytes),
    )
    # Polars turns an exception of a schema callable into its own type: settled here, errors keep theirs.
    _ = question.settled
    return question


def _tells_errors(pairing: Pairing) -> bool:
    return current_options(on_error=pairing.on_error).on_error == "null"


def _names(what: str, unscale: bool | Sequence[str]) -> bool | tuple[str, ...]:
    if isinstance(unscale, bool):
        return unscale
    return checked_bands(f"{what}: unscale", unscale)


def _unscaled(what: str, unscale: bool | tuple[str, ...], bands: Mapping[str, pl.DataType]) -> frozenset[str]:
    if isinstance(unscale, bool):
        return frozenset(bands) if unscale else frozenset()
    if unknown := [name for name in unscale if name not in bands]:
        raise UsageError(f"{what}: unscale names {', '.join(unknown)}, which is none of the bands {', '.join(bands)}")
    return frozenset(unscale)
