"""Which query runs in parts into this folder, which of its parts are missing, and is it the query that began there?"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.distribute.cutting.cut_query import part_query
from polars_rasteret.distribute.jobs.job_files import JOB_SUFFIX, job_files, run_token
from polars_rasteret.distribute.jobs.manifest import MANIFEST, Manifest, manifest_of
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.distribute.cutting.cut_query import CutQuery
    from polars_rasteret.distribute.cutting.parts import Part
    from polars_rasteret.distribute.jobs.job_files import JobFiles

_ROWS_OF_A_GROUP, _MOST_GROUPS = 20_000, 500
"""Rows of a row group of the caller's rows, at least, and how many groups there are at most: a worker reads a few groups, and a
footer that names all of them."""


@dataclass(frozen=True)
class Job:
    """A query in parts that was prepared."""

    files: JobFiles
    manifest: Manifest
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def into(self) -> str:
        """Path or URL of the folder of the answer."""
        return self.files.into

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts, by number."""
        return self.manifest.parts

    @cached_property
    def plan(self) -> bytes:
        """The plan of the query, with slots; see `CutQuery`."""
        found = self.files.read(self.manifest.plan)
        if found is None:
            raise self._lacks(self.manifest.plan, "is not there: somebody deleted it")
        return found

    @cached_property
    def _records(self) -> pl.DataFrame | None:
        name = self.manifest.records
        return None if name is None else self._frame(name)

    def _targets(self, start: int, stop: int) -> pl.DataFrame:
        """Return some of the caller's rows."""
        name = self.manifest.targets
        found = self._frame(name, start, stop - start)
        if found.height != stop - start:
            raise self._lacks(name, f"holds no rows {start} to {stop}: somebody changed it")
        return found

    def _frame(self, name: str, start: int = 0, n_rows: int | None = None) -> pl.DataFrame:
        scan = pl.scan_parquet(self.files.job_path(name), glob=False)
        try:
            return scan.slice(start, n_rows).collect(engine="in-memory")
        except FileNotFoundError as error:
            raise self._lacks(name, "is not there: somebody deleted it") from error
        except pl.exceptions.PolarsError as error:
            raise self._lacks(name, f"could not be read: {error}", "If it is damaged, delete") from error

    def _lacks(self, name: str, what: str, then: str = "Delete") -> FileFormatError:
        return FileFormatError(
            f"{shown(self.files.job_path(name))}, which {MANIFEST} beside it names, {what}. {then} {shown(self.into)} and "
            f"{shown(self.into + JOB_SUFFIX)}, and run the query again."
        )

    def part(self, number: int) -> Part:
        """Return a part by its number.

        Raises
        ------
        UsageError
            When there is no such part.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.parts):
            raise UsageError(
                f"number is {number!r}; expected a whole number from 0 to {len(self.parts) - 1}: {shown(self.into)} has "
                f"{len(self.parts)} parts"
            )
        return self.parts[number]

    def query(self, number: int) -> pl.LazyFrame:
        """Return the query of a part."""
        part = self.part(number)
        with self._lock:
            records = self._records
        return part_query(self.plan, part, self._targets(*part.targets), records)

    def missing(self) -> list[int]:
        """Return the numbers of parts that have no file yet, in the order in which they should be read.

        Raises
        ------
        UsageError
            When other files are there, too.
        FileFormatError
            When a part is not whole any more.
        """
        there = self.files.numbers()
        if unknown := there - set(range(len(self.parts))):
            raise UsageError(
                f"{shown(self.into)} holds part {min(unknown)}, and the query has {len(self.parts)} parts; delete what is none "
                "of its parts, or choose a folder that is new"
            )
        return [number for number in range(len(self.parts)) if number not in there]


def prepare(cut_query: CutQuery, into: Any, parquet: Mapping[str, Any] | None = None) -> Job:
    """Write what workers need beside a folder, and return the job; a job of the same query that is there is taken up again.

    Parameters
    ----------
    cut_query
        A query in parts. Where its query has begun in this folder, the parts of then count, and the options of now.
    into
        Path or URL of the folder of the answer.
    parquet
        Options of the Parquet files, for `polars.LazyFrame.sink_parquet`.

    Raises
    ------
    UsageError
        When the folder holds parts of another query, or other files.
    """
    files, token = job_files(into), run_token()
    manifest = Manifest(
        digest=cut_query.digest,
        parts=cut_query.parts,
        by=cut_query.by,
        bound=cut_query.bound,
        duplication=cut_query.duplication,
        parquet=dict(parquet or {}),
        # Names of their own: of two processes that prepare at once, the one whose manifest comes first has all its files.
        plan=f"plan-{token}",
        targets=f"targets-{token}.parquet",
        records=None if cut_query.records is None else f"records-{token}.parquet",
    )
    if (known := _known(files)) is None:
        if there := files.numbers():
            raise UsageError(
                f"{shown(files.into)} holds {len(there)} parts of a query, and {shown(files.into + JOB_SUFFIX)}, which says of "
                "which one, is not there; choose a folder that is empty or new"
            )
        files.make()
        files.write(manifest.plan, cut_query.plan)
        n_rows = cut_query.targets.height
        files.write_frame(manifest.targets, cut_query.targets, max(_ROWS_OF_A_GROUP, -(-n_rows // _MOST_GROUPS)))
        if manifest.records is not None and cut_query.records is not None:
            files.write_frame(manifest.records, cut_query.records, _ROWS_OF_A_GROUP)
        # Last, and never over that of another: who finds it finds everything.
        if files.write(MANIFEST, manifest.text(), is_new=True):
            return Job(files, manifest)
        known = _known(files)
        assert known is not None
    _refuse_mixing(files, manifest, known)
    # The options of this call count, such as a budget that was raised: they are in the plan.
    if files.read(known.plan) != cut_query.plan:
        files.write(known.plan, cut_query.plan)
    return Job(files, known)


def open_job(into: Any) -> Job:
    """Return the job that was prepared for a folder.

    Raises
    ------
    UsageError
        When none was.
    """
    files = job_files(into)
    if (known := _known(files)) is None:
        raise UsageError(
            f"{shown(files.into)}: no query is prepared for this folder ({shown(files.job_path(MANIFEST))} is not there); call "
            "pr.plan_parts(query, into=...) first"
        )
    return Job(files, known)


def _known(files: JobFiles) -> Manifest | None:
    text = files.read(MANIFEST)
    return None if text is None else manifest_of(text, shown(files.job_path(MANIFEST)))


def _refuse_mixing(files: JobFiles, wanted: Manifest, known: Manifest) -> None:
    both = f"delete {shown(files.into)} and {shown(files.into + JOB_SUFFIX)}, or choose another folder"
    if known.digest != wanted.digest:
        raise UsageError(
            f"{shown(files.into)} holds parts of another query (or of other rows, other records, another version): its digest is "
            f"{known.digest[:12]}, that of yours {wanted.digest[:12]}. Parts of two queries are not mixed; {both}. A "
            "Python set in a query has another order in each process: write a sorted list."
        )
    if known.parquet != wanted.parquet:
        raise UsageError(
            f"{shown(files.into)} holds Parquet files written with {known.parquet}, yours are to be written with "
            f"{wanted.parquet}; say the same, {both}"
        )
