"""What is written down of a query in parts, and in which words?

``job.json`` beside the answer names the parts, the query's digest, and the versions; it is written once. What became of a part is
a note of its own, so that no process rewrites another's. Where these files lie must not be put here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import polars as pl

from polars_rasteret.distribute.cutting.parts import Part, Period
from polars_rasteret.errors import FileFormatError

MANIFEST = "job.json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``job.json`` holds."""

    digest: str
    """Of the query, its rows, the files of its records, and versions."""
    parts: tuple[Part, ...]
    by: str
    bound: str
    duplication: float
    parquet: dict[str, Any]
    """Options of the Parquet files, as `polars.LazyFrame.sink_parquet` takes them."""
    plan: str
    """Name of the file of the plan beside this one."""
    targets: str
    """Name of the file of the caller's rows."""
    records: str | None
    """Name of the file of the records; None where the plan scans them."""

    def text(self) -> bytes:
        """Return the content of ``job.json``."""
        fields = {
            "version": _VERSION,
            "polars_rasteret": version("polars-rasteret"),
            "polars": pl.__version__,
            **{
                name: getattr(self, name)
                for name in ("digest", "by", "bound", "duplication", "parquet", "plan", "targets", "records")
            },
        }
        # A line for each part, so that people can read it.
        head = json.dumps(fields, indent=1).removesuffix("\n}")
        lines = ",\n".join(f"  {json.dumps(asdict(part))}" for part in self.parts)
        return f'{head},\n "parts": [\n{lines}\n ]\n}}\n'.encode()


def manifest_of(text: bytes, where: str) -> Manifest:
    """Return what the content of a ``job.json`` says.

    Raises
    ------
    FileFormatError
        When another version wrote it, or it is damaged.
    """
    try:
        fields = json.loads(text)
        found = fields.pop("version")
        if found != _VERSION:
            raise FileFormatError(
                f"{where}: expected version {_VERSION}, got {found!r}; another version of polars-rasteret wrote it. Use that "
                "one, or run the query again into a new folder."
            )
        del fields["polars_rasteret"], fields["polars"]
        parts = tuple(_part_of(one) for one in fields.pop("parts"))
        return Manifest(parts=parts, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{where} is no manifest of a query in parts: {type(error).__name__}: {error}. Run the query again into a new folder."
        ) from error


def _part_of(fields: dict[str, Any]) -> Part:
    period = fields["period"]
    return Part(
        **{
            **fields,
            "targets": tuple(fields["targets"]),
            "period": None if period is None else Period(*period),
        }
    )


def done_name(number: int) -> str:
    """Return the name of the note that a part is done.

    Examples
    --------
    >>> done_name(12)
    'done/part-000012.json'
    """
    return f"done/part-{number:06d}.json"


def failed_name(number: int) -> str:
    """Return the name of the note that a part failed."""
    return f"failed/part-{number:06d}.json"
