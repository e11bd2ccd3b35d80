"""How are samples read, many at once, from pairs that were found before?

Chips and records are paired once per process. A batch is then one read, whatever rows it names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.chips.chip_images import UNKNOWN_TIME, ChipImages, numbers_of, stacked_pixels, stacked_valid
from polars_rasteret.chips.chip_question import CHIP, RECORD
from polars_rasteret.chips.image_grid import IMAGE
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.batched_reads import row_reader
from polars_rasteret.frame.query.budget import within_budget
from polars_rasteret.frame.query.candidate_records import candidate_records
from polars_rasteret.frame.query.pair_runs import pair_runs
from polars_rasteret.frame.query.pushdown import pushdown
from polars_rasteret.frame.query.resolved import resolve
from polars_rasteret.frame.query.target_rows import collect_targets, located
from polars_rasteret.pairing.paired_rows import KeyColumns
from polars_rasteret.pairing.pairs import covering_rows
from polars_rasteret.pairing.rounds import Rounds
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.series import gathered
from polars_rasteret.plan.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.chips.chip_question import ChipQuestion
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.windows.window_product import WindowProduct


class ChipReader:
    """Reads samples of a question.

    Raises
    ------
    UsageError
        When there are too many pairs, or chips and records do not go together.
    BudgetError
        When one pass over all samples would exceed the budget.
    """

    def __init__(self, asked: ChipQuestion) -> None:
        question = self._question = asked.whole()
        resolved = resolve(question)
        images = [IMAGE] if asked.covers_images else []
        wanted = [*resolved.values, *resolved.records, CHIP, *images, *([] if asked.label is None else [asked.label])]
        pushed = pushdown(question, resolved, list(dict.fromkeys(wanted)), None, None)
        frame = collect_targets(question, resolved, pushed)
        targets = located(question, resolved, pushed, frame)
        self._asked, self._product, self._pushed = asked, asked.product, pushed
        self._records = candidate_records(question, resolved, pushed, targets)
        self._keys = KeyColumns(frame, self._records)
        self._reader = row_reader(question, resolved, pushed, self._keys)
        if asked.covers_images:
            runs: Iterator[tuple[PairedRows, range]]
            runs = iter([(_rows_of_images(frame[IMAGE], targets, self._records, self._product), range(frame.height))])
        else:
            runs = pair_runs(question, pushed, targets, self._records, self._keys)
        if question.options.has_budget:
            runs = within_budget(runs, self._reader, question)
        found = [rows for rows, _ in runs]
        if len(found) > 1:
            raise UsageError(
                f"to_torch: {frame.height} chips and {len(self._records)} records make more pairs than one dataset may have; "
                "ask for parts of the chips, and join them with torch.utils.data.ConcatDataset"
            )
        # Without a target or a record there is no run.
        self._rows = found[0] if found else None
        self._targets = self._targets_of_samples(frame.height)

    @property
    def _is_chosen(self) -> bool:
        """Whether pixels decide of which record a sample is."""
        return self._question.pairing.match != "all"

    def __len__(self) -> int:
        if self._targets is not None:
            return len(self._targets)
        return 0 if self._rows is None else len(self._rows)

    def read(self, samples: NDArray[np.int64]) -> ChipImages:
        """Return the images of some samples, in this order; samples may repeat."""
        assert self._rows is not None
        targets = None if self._targets is None else self._targets[samples]
        if targets is None:
            rows, offset = self._rows.taken(samples), np.arange(len(samples) + 1)
            answer = self._read(rows)
            targets = rows.target
        elif self._is_chosen:
            rows, answer = self._read_chosen(targets)
            offset = np.arange(len(samples) + 1)
        else:
            first, stop = (np.searchsorted(self._rows.target, targets, side=side) for side in ("left", "right"))
            offset = np.concatenate([[0], np.cumsum(stop - first)])
            rows = self._rows.taken(np.repeat(first - offset[:-1], stop - first) + np.arange(offset[-1]))
            answer = self._read(rows)
        return self._images(rows, answer, offset, targets)

    def _targets_of_samples(self, n_targets: int) -> NDArray[np.int64] | None:
        """Return the chip of each sample, ascending; None where samples are pairs."""
        if not (self._is_chosen or self._asked.is_series):
            return None
        if self._question.pairing.unmatched == "null":
            return np.arange(n_targets)
        return np.zeros(0, np.int64) if self._rows is None else np.unique(self._rows.target)

    def _read(self, rows: PairedRows, *, must_count: bool = False) -> Answer:
        """Return the answer of rows, read in parts that fit ``max_answer_bytes``."""
        options = self._question.options.without_budget().begun()
        # The budget was checked for the whole: what one pass reads, the next may read again.
        reader = replace(self._reader, call=replace(self._reader.call, options=options, spending=None))
        sizes = reader.row_bytes(rows, self._pushed.outputs)
        parts = [rows.taken(one) for one in batches_of(sizes, max_bytes=options.max_answer_bytes, ramps_up=False)]
        answers = [reader.read(part, must_count=must_count) for part in parts or [rows]]
        if len(answers) == 1:
            return answers[0]
        starts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
        return Answer(
            columns={name: pl.concat([one.columns[name] for one in answers]) for name in answers[0].columns},
            errors={start + row: why for start, one in zip(starts, answers) for row, why in one.errors.items()},  # noqa: B905
            counts=np.concatenate([one.counts for one in answers]) if must_count else None,
        )

    def _read_chosen(self, targets: NDArray[np.int64]) -> tuple[PairedRows, Answer]:
        """Return the record that counts for each target, and its images."""
        assert self._rows is not None
        outputs = {name: dtype for name, dtype in self._product.outputs.items() if name in self._pushed.values}
        distinct, place = np.unique(targets, return_inverse=True)  # rounds take each target once, ascending
        rounds = Rounds(self._rows, distinct, outputs)
        while rounds.are_open:
            some = rounds.next_rows()
            rounds.close(some, self._read(some, must_count=True))
        chosen = rounds.chosen()
        columns = {name: gathered(column, pl.Series(place)) for name, column in chosen.columns.items()}
        errors = {row: chosen.errors[at] for row, at in enumerate(place.tolist()) if at in chosen.errors}
        return chosen.rows.taken(place), Answer(columns=columns, errors=errors)

    def _images(
        self, rows: PairedRows, answer: Answer, offset: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> ChipImages:
        records, record, columns = self._records, rows.record, answer.columns
        has_record = (record >= 0) & (len(records) > 0)
        ids = [records.ids[at] if is_there else None for at, is_there in zip(record.tolist(), has_record, strict=True)]
        time = np.full(len(record), UNKNOWN_TIME)
        if len(records):
            time[has_record] = np.where(records.times.is_known, records.times.start, UNKNOWN_TIME)[record[has_record]]
        keys = self._keys_of(rows, offset, targets)
        return ChipImages(
            offset=offset,
            is_series=self._asked.is_series,
            chip=keys[CHIP].cast(pl.Int64).to_numpy(),
            label=None if self._asked.label is None else keys[self._asked.label],
            pixels=stacked_pixels(columns, records, record, self._product),
            valid=stacked_valid(columns, list(self._product.bands)),
            transform=numbers_of(columns["transform"]),
            crs=[one or "" for one in columns["raster_crs"]],
            record_id=[one or "" for one in ids],
            time=time,
            error=[answer.errors.get(row, "") for row in range(len(rows))] if self._question.tells_errors else None,
        )

    def _keys_of(self, rows: PairedRows, offset: NDArray[np.int64], targets: NDArray[np.int64]) -> pl.DataFrame:
        """Return chip and label of each sample; a label of the records is that of the sample's first record."""
        first = offset[:-1]
        is_there = offset[1:] > first
        record = np.full(len(first), -1, np.int64)
        record[is_there] = rows.record[first[is_there]]
        of_samples = replace(rows, target=targets, record=record, windows={})
        names = {CHIP} if self._asked.label is None else {CHIP, self._asked.label}
        return self._keys.frame(of_samples, names)


def _rows_of_images(image: pl.Series, targets: TargetRows, records: Records, product: WindowProduct) -> PairedRows:
    """Return each window over an image, paired with the record of that image alone."""
    image_of_window = image.to_numpy()
    n_images = int(image_of_window.max(initial=-1)) + 1
    number = np.full(n_images, -1, np.int64)
    if len(records):
        its_image = records.columns[RECORD].to_numpy()
        is_asked = its_image < n_images
        number[its_image[is_asked]] = np.flatnonzero(is_asked)
    record = number[image_of_window]
    target = np.flatnonzero(record >= 0)
    return covering_rows(targets.targets, (target, record[target]), records, product)
