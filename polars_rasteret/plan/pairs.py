"""Which records may meet which targets, by their boxes alone?

Whether a target really meets an image is decided later, on the pixel grids of the records. Boxes only keep the number of such
tests small. Every box here must enclose its target or image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_POINTS_AT_ONCE = 2**19
"""Points that are sorted together at least: few enough for the processor's cache."""
_POINTS_PER_BOX = 64
"""Points for each box that are sorted together at least: every box is looked up among each part of the points."""
_DENSE = 8
"""Cells of a table of targets and records, for each pair, up to which the table is made."""
Pairs = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""``(target, record)``, sorted by target, then record."""


def pairs_of_points(x: NDArray[np.float64], y: NDArray[np.float64], boxes: NDArray[np.float64]) -> Pairs:
    """Return the pairs of points and boxes that hold them.

    Parameters
    ----------
    x, y
        float64, shape (n,); a point that is not finite pairs with nothing.
    boxes
        ``minx, miny, maxx, maxy``, shape (k, 4), closed; NaN pairs with nothing.

    Returns
    -------
    (target, record) : int64

    Examples
    --------
    >>> import numpy as np
    >>> target, record = pairs_of_points(np.array([0.5, 9.0]), np.array([0.5, 9.0]), np.array([[0, 0, 1, 1.0]]))
    >>> target.tolist(), record.tolist()
    ([0], [0])
    """
    step = max(_POINTS_AT_ONCE, _POINTS_PER_BOX * len(boxes))
    if len(x) > step:
        parts = [_pairs_of_points(x[at : at + step], y[at : at + step], boxes) for at in range(0, len(x), step)]
        target = np.concatenate([part[0] + at * step for at, part in enumerate(parts)])
        return target, np.concatenate([part[1] for part in parts])
    return _pairs_of_points(x, y, boxes)


def _pairs_of_points(x: NDArray[np.float64], y: NDArray[np.float64], boxes: NDArray[np.float64]) -> Pairs:
    order = np.argsort(x, kind="stable")
    n_finite = int(np.isfinite(x).sum())
    # NaN sorts last, -inf first and +inf before NaN: keep the finite run.
    first = int(np.searchsorted(x[order], -np.inf, side="right")) if len(x) else 0
    order = order[first : first + n_finite]
    sorted_x, sorted_y = x[order], y[order]
    low = np.searchsorted(sorted_x, boxes[:, 0], side="left")
    high = np.searchsorted(sorted_x, boxes[:, 2], side="right")
    usable = np.isfinite(boxes).all(axis=1)
    targets, records = [], []
    for record in np.flatnonzero(usable & (high > low)):
        run = slice(low[record], high[record])
        inside = (sorted_y[run] >= boxes[record, 1]) & (sorted_y[run] <= boxes[record, 3])
        found = order[run][inside]
        targets.append(found)
        records.append(np.full(len(found), record, np.int64))
    return _sorted_pairs(targets, records)


def pairs_of_boxes(areas: NDArray[np.float64], boxes: NDArray[np.float64]) -> Pairs:
    """Return the pairs of areas, by their bounds, and boxes that they touch.

    Both are ``minx, miny, maxx, maxy``, shape (n, 4); NaN pairs with nothing.
    """
    has_area = np.flatnonzero(np.isfinite(areas).all(axis=1))
    has_box = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    if not len(has_area) or not len(has_box):
        return _sorted_pairs([], [])
    tree = shapely.STRtree(shapely.box(*areas[has_area].T))
    record, target = tree.query(shapely.box(*boxes[has_box].T))
    return distinct_pairs(has_area[target], has_box[record])


def boxes_near(areas: NDArray[np.float64], boxes: NDArray[np.float64], n_cells: int = 512) -> NDArray[np.bool_]:
    """Return which boxes may touch any of the areas: all that do, and few others.

    The time grows with the number of areas plus the number of boxes. Both are ``minx, miny, maxx, maxy``; a box or area that is
    not finite touches nothing.

    Examples
    --------
    >>> import numpy as np
    >>> boxes_near(np.array([[3.0, 3, 3, 3]]), np.array([[0.0, 0, 5, 5], [4, 0, 5, 5]])).tolist()
    [True, False]
    """
    areas = areas[np.isfinite(areas).all(axis=1)]
    if not len(areas):
        return np.zeros(len(boxes), np.bool_)
    low, high = areas[:, :2].min(axis=0), areas[:, 2:].max(axis=0)
    with np.errstate(invalid="ignore"):
        near: NDArray[np.bool_] = ((boxes[:, :2] <= high) & (boxes[:, 2:] >= low)).all(axis=1)
    at = np.flatnonzero(near & np.isfinite(boxes).all(axis=1))
    near = np.zeros(len(boxes), np.bool_)
    if (low == high).all():
        near[at] = True
        return near
    # A grid over all areas marks the cells that areas touch; its summed-area table gives the marked cells in a box.
    cell = np.where(high > low, (high - low) / n_cells, 1.0)

    def cells(corners: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(np.clip(np.floor((corners - low) / cell), 0, n_cells - 1), np.int64)

    side = n_cells + 1
    (left, bottom), (right, top) = cells(areas[:, :2]).T, cells(areas[:, 2:]).T + 1
    change = np.zeros(side * side)
    for sign, x, y in ((1, left, bottom), (-1, right, bottom), (-1, left, top), (1, right, top)):
        change += sign * np.bincount(x * side + y, minlength=side * side)
    touched = change.reshape(side, side).cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    summed = np.zeros((side, side), np.int64)
    summed[1:, 1:] = touched.cumsum(axis=0).cumsum(axis=1)
    (left, bottom), (right, top) = cells(boxes[at, :2]).T, cells(boxes[at, 2:]).T + 1
    near[at] = summed[right, top] - summed[left, top] - summed[right, bottom] + summed[left, bottom] > 0
    return near


def covering_boxes(boxes: NDArray[np.float64], max_boxes: int = 16) -> NDArray[np.float64]:
    """Return a few larger boxes that cover all boxes and leave out space between them.

    Parameters
    ----------
    boxes
        ``minx, miny, maxx, maxy``, shape (n, 4); not finite ones are left out.
    max_boxes
        Number of boxes returned at most.

    Returns
    -------
    ndarray of float64, shape (k, 4)
        A single box where several would leave out less than half of its area; k is 0 when there is no finite box.
    """
    finite = np.isfinite(boxes).all(axis=1)
    kept = boxes if finite.all() else boxes[finite]
    if not len(kept):
        return np.zeros((0, 4))
    whole = np.concatenate([kept[:, :2].min(axis=0), kept[:, 2:].max(axis=0)])
    size = whole[2:] - whole[:2]
    if len(kept) < max_boxes:
        covered = np.prod(kept[:, 2:] - kept[:, :2], axis=1).sum()
        return whole[None] if covered > np.prod(size) / 2 else kept
    if not (size > 0).all():
        return whole[None]
    # Bands of y. Each band gets the span of x of the box centres in it, widened by what a box reaches beyond its centre.
    cell = size / max_boxes
    centre = (kept[:, :2] + kept[:, 2:]) / 2
    across, up = (
        np.clip((centre[:, axis] - whole[axis]) // cell[axis], 0, max_boxes - 1).astype(np.int64) for axis in (0, 1)
    )
    occupied = np.bincount(up * max_boxes + across, minlength=max_boxes**2).reshape(max_boxes, max_boxes) > 0
    row = np.flatnonzero(occupied.any(axis=1))
    first, last = occupied[row].argmax(axis=1), max_boxes - occupied[row, ::-1].argmax(axis=1)
    reach = np.max((kept[:, 2:] - kept[:, :2]) / 2, axis=0) + 1e-9 * size
    covers = np.stack(
        [
            whole[0] + first * cell[0] - reach[0],
            whole[1] + row * cell[1] - reach[1],
            whole[0] + last * cell[0] + reach[0],
            whole[1] + (row + 1) * cell[1] + reach[1],
        ],
        axis=1,
    )
    covered = np.prod(covers[:, 2:] - covers[:, :2], axis=1).sum()
    return whole[None] if covered > np.prod(size) / 2 else covers


def distinct_pairs(target: NDArray[np.int64], record: NDArray[np.int64]) -> Pairs:
    """Return pairs sorted by target, then record, without duplicates (the pieces of a cut box may give a pair twice)."""
    n_targets, n_records = int(target.max(initial=-1)) + 1, int(record.max(initial=-1)) + 1
    if n_targets * n_records <= _DENSE * len(
        target
    ):  # many dates of one place: marking pairs is quicker than sorting them
        is_pair = np.zeros((n_targets, n_records), np.bool_)
        is_pair[target, record] = True
        of_target, of_record = np.nonzero(is_pair)
        return of_target, of_record
    # One number per pair: sorting those takes a third of the time of two indirect sorts. Both indices are below 2**31.
    bits = int(record.max(initial=0)).bit_length()
    key = target << bits
    key |= record
    key.sort()
    is_new = np.ones(len(key), np.bool_)
    is_new[1:] = key[1:] != key[:-1]
    if not is_new.all():
        key = key[is_new]
    of_record = key & ((1 << bits) - 1)
    key >>= bits
    return key, of_record


def target_runs(target: NDArray[np.int64], n_targets: int, max_pairs: int) -> Iterator[tuple[slice, range]]:
    """Yield runs of whole targets with at most `max_pairs` pairs each (a single target may have more).

    Yields
    ------
    (pairs, targets)
        A slice of the sorted pairs, and the range of their targets. Runs cover every target once, in order.
    """
    first = 0
    ends = np.searchsorted(target, np.arange(n_targets), side="right")
    while first < n_targets:
        start = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, start + max_pairs, side="right"))
        last = max(last, first + 1)
        yield slice(start, int(ends[last - 1])), range(first, last)
        first = last


def _sorted_pairs(targets: list[NDArray[np.int64]], records: list[NDArray[np.int64]]) -> Pairs:
    if not targets:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if len(targets) == 1:  # one box: no duplicates, and all records are equal
        return np.sort(targets[0]), records[0]
    return distinct_pairs(np.concatenate(targets), np.concatenate(records))
