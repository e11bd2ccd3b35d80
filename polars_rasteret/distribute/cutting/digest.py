"""Is a query the one of which some parts are there already?

Two processes that write the same query get the same digest: it is made of what decides the rows of parts. The order of sets in
the words of a verb is not part of it, nor are options that only say how fast and how dear a read may be. A Python set that the
caller gave to Polars is in the order that it has in this process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from importlib.metadata import version
from types import FunctionType
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.frame.query.plan_objects import PlanObject, other_objects
from polars_rasteret.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polars_rasteret.engine import PixelReference
    from polars_rasteret.pairing.records import Records


def digest_of(
    query: pl.LazyFrame, targets: pl.DataFrame, records: Records, references: Iterable[PixelReference]
) -> str:
    """Return the digest of a query in parts.

    Parameters
    ----------
    query
        The query.
    targets
        The caller's rows, in their own order: how they are cut depends on the number of workers.
    records
        Records that may answer: the plan names the file that they are scanned from, which somebody may have written anew.
    references
        What these records refer to: another file, or another version of a file, is another query.
    """
    digest = hashlib.sha256(f"polars-rasteret {version('polars-rasteret')}, polars {pl.__version__}\n".encode())
    with other_objects(_Told):
        digest.update(query.serialize())
    times = records.times
    intervals = pl.DataFrame({"start": times.start, "stop": times.stop, "is_known": times.is_known})
    rasters = [column.series.alias(name).to_frame() for name, column in records.rasters.items()]
    sink: Any = _Digesting(digest)
    for frame in (targets, records.columns, records.ids.to_frame(), intervals, *rasters):
        frame.write_ipc(sink, compression="uncompressed")
    for one in references:
        digest.update(f"{one.href} {one.band_index} {one.tiles.etag} {one.tiles.file_size}\n".encode())
    return digest.hexdigest()


class _Digesting(io.RawIOBase):
    """File that keeps no more than the digest of what is written to it."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self.digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


class _Told(PlanObject):
    """Stands for an object of this package in a plan that is only digested."""

    def __init__(self, one: PlanObject) -> None:
        self.text = told(one)

    def __reduce_ex__(self, _: Any) -> Any:
        return str, (self.text,)


def told(value: Any) -> str:
    """Return words for a value that are equal in every process.

    Examples
    --------
    >>> told({"b": {2, 1}, "a": None})
    "{'b': {1, 2}, 'a': None}"
    """
    if isinstance(value, ReadOptions):
        return f"on_error={value.on_error}"
    if isinstance(value, pl.LazyFrame):
        return hashlib.sha256(value.serialize()).hexdigest()
    if isinstance(value, pl.Expr):
        return hashlib.sha256(value.meta.serialize()).hexdigest()  # as a text, sets and functions of two look alike
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.name != "targets"}
        return f"{type(value).__name__}({told(fields)})"
    if isinstance(value, PlanObject):  # what it has found out about itself is left out
        state = {name: one for name, one in vars(value).items() if name not in {"resolved", "_schemas"}}
        return f"{type(value).__name__}({told(state)})"
    if isinstance(value, partial):
        return f"partial({told(value.func)}, {told(value.args)}, {told(value.keywords)})"
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{told(key)}: {told(one)}" for key, one in value.items()) + "}"
    if isinstance(value, AbstractSet):
        return "{" + ", ".join(sorted(told(one) for one in value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(told(one) for one in value) + "]"
    return repr(value)
