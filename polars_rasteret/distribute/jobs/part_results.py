"""What became of a part: rows in a file, or an error that must be raised as what it was, in another process?"""

from __future__ import annotations

import builtins
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret import errors
from polars_rasteret.errors import RasteretError, StaleIndexError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.distribute.jobs.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """A part whose file is there."""

    number: int
    rows: int
    seconds: float
    """Of reading and writing, in the worker."""
    was_there: bool = False
    """Whether the file was there before."""
    told: dict[str, Any] = field(default_factory=lambda: {"amounts": {}, "hosts": {}, "reasons": {}})
    """What was read; see `profile.told`."""

    def note(self, worker: str) -> dict[str, Any]:
        """Return what is written down of the part."""
        amounts = self.told["amounts"]
        counts = {name: int(amounts.get(name, 0)) for name in ("requests", "bytes", "retries")}
        return {"part": self.number, "rows": self.rows, **counts, "seconds": round(self.seconds, 3), "worker": worker}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFailure:
    """A part that failed."""

    number: int
    kind: str
    """Name of the class of the error: one of ours, or with its module, one of Polars' or of Python's own."""
    text: str
    may_pass: bool = False
    """Whether it may go well when it is tried again."""
    ends_run: bool = False
    """Whether every other part would fail in the same way."""

    @classmethod
    def of(cls, number: int, error: BaseException, *, ends_run: bool = False) -> PartFailure:
        """Return the failure of a part by an error."""
        may_pass = isinstance(error, OSError) and not isinstance(error, StaleIndexError)
        text = str(error)
        for one in type(error).__mro__:
            if one.__module__ == errors.__name__:
                return cls(number=number, kind=one.__name__, text=text, may_pass=may_pass, ends_run=ends_run)
            if one.__module__ in (pl.exceptions.__name__, builtins.__name__) and issubclass(one, Exception):
                if one is Exception:
                    break
                kind = f"{one.__module__}.{one.__name__}"
                return cls(number=number, kind=kind, text=text, may_pass=may_pass, ends_run=ends_run)
        text = f"{type(error).__name__}: {text}"
        return cls(number=number, kind=RasteretError.__name__, text=text, may_pass=may_pass, ends_run=ends_run)

    @classmethod
    def lost(cls, number: int, how: str) -> PartFailure:
        """Return the failure of a part whose workers died again and again.

        Parameters
        ----------
        number
            The part.
        how
            Words after "the worker process", such as "was killed by SIGKILL 3 times".
        """
        why = (
            "A function of the query, or a library, ended it (sys.exit, os._exit)"
            if "exit code" in how
            else "Mostly memory is short: ask for fewer workers, smaller parts (part_bytes=), or smaller batches "
            "(pr.options(max_answer_bytes=...)). Else a library of the query crashes"
        )
        text = f"the worker process {how}. {why}: read the part by itself, pr.run_part(into, n)."
        return cls(number=number, kind=RasteretError.__name__, text=text)

    def note(self, worker: str) -> dict[str, Any]:
        """Return what is written down of the part."""
        return {"part": self.number, "error": self.kind, "text": self.text, "worker": worker}


def result_fields(result: PartResult | PartFailure) -> dict[str, Any]:
    """Return the fields of a result, which JSON can hold; `result_of` is the way back."""
    return asdict(result)


def result_of(fields: dict[str, Any]) -> PartResult | PartFailure:
    """Return the result of its fields."""
    return PartFailure(**fields) if "kind" in fields else PartResult(**fields)


def error_of(failures: Sequence[PartFailure], job: Job) -> Exception:
    """Return the error of the first of some failures, of the class that it was; its text names the part and counts the others."""
    first = min(failures, key=lambda one: (not one.ends_run, one.number))
    module, _, name = first.kind.rpartition(".")
    source = {"": errors, pl.exceptions.__name__: pl.exceptions, builtins.__name__: builtins}.get(module)
    kind = getattr(source, name, RasteretError)
    others = f"; {len(failures) - 1} more parts failed" if len(failures) > 1 else ""
    n_parts = len(job.parts)
    text = (
        f"{first.text} (part {first.number} of {n_parts}{others}: {shown(job.files.job_path('failed'))}; parts that are done "
        "stay, and the same call reads the rest)"
    )
    try:
        error = kind(text)
    except TypeError:  # a class of Python's own that is made of more than a text, such as UnicodeDecodeError
        return RasteretError(f"{name}: {text}")
    return error if isinstance(error, Exception) else RasteretError(f"{name}: {text}")
