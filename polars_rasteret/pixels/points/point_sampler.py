"""What is the value of each band at each point?

A value is the pixel that holds the point, an interpolation between pixels, or the nearest valid pixel. Reads go in stages, each
for the rows that the stage before left open: bands of a ``valid=`` expression, then wanted bands, then neighbourhoods of null
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.neighbours import KERNEL_SIZE, interpolated, nearest_valid
from polars_rasteret.engine import dry_run_log
from polars_rasteret.pixels.points.neighbourhoods import Patch, PatchPositions, PatchRead, read_patches
from polars_rasteret.pixels.points.point_groups import PointGroup, PointGroups
from polars_rasteret.pixels.rasters.raster_faults import tell_faults
from polars_rasteret.pixels.reading import add_reasons, n_rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.points.sampling import Sampling
    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask

    Ints = NDArray[np.int64]

_CHUNK_BYTES = 64_000_000
"""Bytes of neighbourhoods that are searched together; they are larger than the answer."""
_PIXEL_BYTES = 32
"""Bytes of one pixel of a patch during the search: value, valid mask, distance and intermediate forms."""
_ADVICE = "raise pr.options(max_answer_bytes=...), or ask for fewer points or a smaller max_distance_pixels at once"


@dataclass(slots=True, kw_only=True)
class PointValues:
    """Values of one band in all rows."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    distance: NDArray[np.float32]
    """Distance of the value's pixel in pixels; NaN without a value. Empty when distances were not asked for."""
    around: Patch | None = None
    """Neighbourhood of every row; None when neighbourhoods were not asked for."""
    has_around: NDArray[np.bool_] | None = None


class PointSampler:
    """Sampling of one batch of rows.

    Parameters
    ----------
    bands
        Bands of the question and of a ``valid=`` expression by name, with the same rows.
    sampling
        Method and search for the values of points.
    call
        Options and budget, as the engine takes them.
    valid_mask
        Valid mask of a ``valid=`` expression; None without one.

    Attributes
    ----------
    errors
        Reasons by row, with ``on_error="null"``.
    counts
        Rows where any band that was read has a value.
    """

    def __init__(
        self,
        bands: Mapping[str, BandRows],
        sampling: Sampling,
        call: ReadCall,
        *,
        valid_mask: ValidMask | None = None,
    ) -> None:
        self.bands, self.sampling, self.valid_mask, self.spending = bands, sampling, valid_mask, call.spending
        options = call.options
        # Chunks bound the tiles in memory. The caller bounds the size of the answer.
        self.options = replace(options, max_answer_bytes=max(options.max_answer_bytes, 2 * _CHUNK_BYTES))
        self.n_rows = n_rows_of(bands)
        self.errors: dict[int, str] = {}
        self.counts = np.zeros(self.n_rows, np.bool_)
        self._has_raster = {name: band.reference_id >= 0 for name, band in bands.items()}
        self._groups = PointGroups(bands, sampling, is_joint=valid_mask is not None)
        self._is_read = self._groups.is_read
        if options.dry_run is not None and (sampling.costs_vary or (valid_mask is not None and valid_mask.bands)):
            dry_run_log(options.dry_run).is_upper = True

    def sample(
        self, wanted: Sequence[str], asked: Sequence[str], *, must_count: bool = False
    ) -> dict[str, PointValues]:
        """Return the values of all bands that were read: the wanted ones, and maybe more.

        Parameters
        ----------
        wanted
            Names of bands whose values are used.
        asked
            All bands of the question. They are read when the answer depends on them: the nearest pixel must be valid in all of
            them, and with `must_count` a row counts when one of them is not null.
        must_count
            Whether ``counts`` must be right for all bands of the question.
        """
        answer: dict[str, PointValues] = {}
        first, rest = list(wanted), [name for name in asked if name not in wanted]
        if must_count and not first:
            first, rest = rest[:1], rest[1:]
        if self.sampling.max_distance and self.sampling.joint:
            joined = [
                name
                for name in rest
                if self.valid_mask is not None or any(self._groups.meet(name, one) for one in first)
            ]
            first, rest = first + joined, [name for name in rest if name not in joined]
        for names in (first, rest) if must_count else (first,):
            rows = np.flatnonzero(~self.counts)
            if not names or not len(rows):
                continue
            self._tell_faults(names, rows)
            found = self._sampled(names, rows)
            answer.update(found)
            for one in found.values():
                self.counts |= one.valid
        return answer

    def _tell_faults(self, names: Sequence[str], rows: Ints) -> None:
        """Add the reasons of rows with a faulty raster value, or raise the first fault."""
        for name in dict.fromkeys([*names, *(() if self.valid_mask is None else self.valid_mask.bands)]):
            if faults := self.bands[name].faults:
                asked = {row: faults[row] for row in np.intersect1d(list(faults), rows).tolist()}
                add_reasons(self.errors, tell_faults(asked, on_error=self.options.on_error))

    def _sampled(self, names: Sequence[str], rows: Ints) -> dict[str, PointValues]:
        sampling = self.sampling
        found = {name: self._blank(self.bands[name]) for name in names}
        size = KERNEL_SIZE[sampling.method]
        windows = self.bands[names[0]].windows
        for chunk in _chunks(rows, windows.row_start[rows], windows.col_start[rows], size * size * len(self.bands)):
            groups = list(self._groups.groups(names, chunk))
            patches = self._patches(groups, size)
            for group, of_group in zip(groups, patches, strict=True):
                for name in group.names:
                    self._put_values(found[name], group.positions, of_group[name])
                if sampling.max_distance or sampling.neighbourhood != "off":
                    self._look_around(group, of_group, found)
        return found

    def _blank(self, band: BandRows) -> PointValues:
        sampling, n_rows = self.sampling, self.n_rows
        dtype = band.column.dtype if sampling.method == "nearest" else np.dtype(np.float64)
        result = PointValues(
            values=np.zeros(n_rows, dtype),
            valid=np.zeros(n_rows, np.bool_),
            distance=np.full(n_rows if sampling.max_distance else 0, np.nan, np.float32),
        )
        if sampling.neighbourhood != "off":
            shape = (n_rows, sampling.size, sampling.size)
            result.around = Patch(values=np.zeros(shape, dtype), valid=np.zeros(shape, np.bool_))
            result.has_around = np.zeros(n_rows, np.bool_)
        return result

    def _patches(self, groups: Sequence[PointGroup], size: int) -> list[dict[str, Patch]]:
        """Return the patches of all groups; a pixel that the valid mask rejects is null in every band."""
        if self.valid_mask is None:
            return self._read(groups, size)
        results: list[dict[str, Patch]] = []
        for group in groups:
            masking = replace(group, names=self.valid_mask.bands)
            seen = self._read([masking], size, of_mask=True)[0] if self.valid_mask.bands else {}
            accepted = self.valid_mask.of(group.positions.rows, seen, size)
            # Where no pixel is valid, no band is read.
            hopeful = np.flatnonzero(accepted.any(axis=(1, 2)))
            if self.options.dry_run is not None and self.valid_mask.bands:  # any of them may turn out to be valid
                hopeful = np.arange(len(accepted))
            later = tuple(name for name in group.names if name not in seen)
            unread = replace(group, positions=group.positions.taken(hopeful), names=later)
            rest = self._read([unread], size)[0] if later else {}
            patches = {}
            for name in group.names:
                if name in rest:
                    whole = Patch(values=np.zeros(accepted.shape, rest[name].values.dtype), valid=accepted.copy())
                    whole.values[hopeful] = rest[name].values
                    whole.valid[hopeful] &= rest[name].valid
                else:
                    is_read = self._is_read[name][group.positions.rows]
                    whole = Patch(values=seen[name].values, valid=seen[name].valid & accepted & is_read[:, None, None])
                patches[name] = whole
            results.append(patches)
        return results

    def _read(self, groups: Sequence[PointGroup], size: int, *, of_mask: bool = False) -> list[dict[str, Patch]]:
        wanted = self._has_raster if of_mask else self._is_read
        reads = [
            PatchRead(
                band=self.bands[name],
                positions=group.positions,
                size=size,
                is_on_grid=name in group.own,
                is_wanted=wanted[name],
            )
            for group in groups
            for name in group.names
        ]
        patches, errors = read_patches(reads, self.options, advice=_ADVICE, spending=self.spending)
        add_reasons(self.errors, errors)
        given = iter(patches)
        return [{name: next(given) for name in group.names} for group in groups]

    def _put_values(self, found: PointValues, positions: PatchPositions, patch: Patch) -> None:
        rows, method = positions.rows, self.sampling.method
        if method == "nearest":
            found.values[rows], found.valid[rows] = patch.values[:, 0, 0], patch.valid[:, 0, 0]
            if self.sampling.max_distance:
                found.distance[rows[found.valid[rows]]] = 0.0
            return
        windows = positions.grid.windows
        assert windows.at_row is not None
        assert windows.at_col is not None
        row, col = windows.at_row[rows] - positions.row_start, windows.at_col[rows] - positions.col_start
        found.values[rows], found.valid[rows] = interpolated(patch.values, patch.valid, row, col, method)

    def _look_around(self, group: PointGroup, centres: Mapping[str, Patch], found: Mapping[str, PointValues]) -> None:
        """Search the neighbourhoods of rows that are still null, and keep them when they were asked for."""
        sampling, positions = self.sampling, group.positions
        is_met = {name: self._is_read[name][positions.rows] for name in group.names}
        is_null = {name: is_met[name] & ~centres[name].valid[:, 0, 0] for name in group.names}
        some_null: NDArray[np.bool_] = np.logical_or.reduce(list(is_null.values()))
        is_open = np.ones_like(some_null) if sampling.neighbourhood == "always" else some_null
        index = np.flatnonzero(is_open)
        for chunk in _chunks(
            index, positions.row_start[index], positions.col_start[index], sampling.size**2 * len(self.bands)
        ):
            part = positions.taken(chunk)
            wide = PatchPositions(
                grid=part.grid,
                rows=part.rows,
                row_start=part.row_start - sampling.max_distance,
                col_start=part.col_start - sampling.max_distance,
            )
            patches = self._patches([replace(group, positions=wide)], sampling.size)[0]
            searched = {name: is_null[name][chunk] for name in group.names}
            met = {name: is_met[name][chunk] for name in group.names}
            for name in group.names:
                self._keep_around(found[name], part.rows, patches[name], searched[name], met[name])
            if sampling.max_distance:
                self._search(part, patches, searched, met, found)

    def _keep_around(
        self, found: PointValues, rows: Ints, patch: Patch, is_null: NDArray[np.bool_], is_met: NDArray[np.bool_]
    ) -> None:
        if found.around is None or found.has_around is None:
            return
        kept = np.flatnonzero(is_met if self.sampling.neighbourhood == "always" else is_null)
        found.around.values[rows[kept]] = patch.values[kept]
        found.around.valid[rows[kept]] = patch.valid[kept]
        found.has_around[rows[kept]] = True

    def _search(
        self,
        part: PatchPositions,
        patches: Mapping[str, Patch],
        is_null: Mapping[str, NDArray[np.bool_]],
        is_met: Mapping[str, NDArray[np.bool_]],
        found: Mapping[str, PointValues],
    ) -> None:
        """Fill null values with the nearest valid pixel: valid in all bands that meet the point, or band by band."""
        windows = part.grid.windows
        assert windows.at_row is not None
        assert windows.at_col is not None
        reach = self.sampling.max_distance
        row = windows.at_row[part.rows] - part.row_start + reach
        col = windows.at_col[part.rows] - part.col_start + reach
        if self.sampling.joint:
            valid = np.ones_like(next(iter(patches.values())).valid)
            for name, patch in patches.items():
                valid &= patch.valid | ~is_met[name][:, None, None]
            some_null: NDArray[np.bool_] = np.logical_or.reduce(list(is_null.values()))
            choices = {name: (valid, some_null & is_met[name]) for name in patches}
        else:
            choices = {name: (patch.valid, is_null[name]) for name, patch in patches.items()}
        known: dict[int, tuple[Ints, NDArray[np.float32]]] = {}
        for name, (valid, is_searched) in choices.items():
            if id(valid) not in known:
                known[id(valid)] = nearest_valid(valid, row, col)
            index, distance = known[id(valid)]
            at = np.flatnonzero(is_searched)
            rows = part.rows[at]
            flat = patches[name].values.reshape(len(part), -1)
            one = found[name]
            one.valid[rows] = index[at] >= 0
            one.values[rows] = np.where(index[at] >= 0, flat[at, np.maximum(index[at], 0)], 0)
            one.distance[rows] = distance[at]


def _chunks(index: Ints, row: Ints, col: Ints, n_pixels: int) -> Iterator[Ints]:
    """Yield chunks of rows, of bounded size, whose pixels lie close together."""
    per_chunk = max(1, _CHUNK_BYTES // (n_pixels * _PIXEL_BYTES))
    if len(index) > per_chunk:
        index = index[np.lexsort((col // 512, row // 512))]
    for start in range(0, len(index), per_chunk):
        yield index[start : start + per_chunk]
