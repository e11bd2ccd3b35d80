"""Which parts can a scan pass over, by what is known of them?

Polars rules out files of a table by their least and greatest values before it opens them, as it does with row groups. It takes
these values by a keyword that is not public; tests/polars_contract keeps what is relied on. Without the keyword every part is
opened.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.storage.part_facts import SIDES, TIMES, is_plain_box
from polars_rasteret.schema import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.collection.storage.parts import Part

_KEYWORD = "_table_statistics"


def scan_words(parts: Sequence[Part], columns: Mapping[str, pl.DataType]) -> dict[str, Any]:
    """Return the keyword arguments by which a scan of parts, as these columns, passes over parts; none where none is known.

    A scan with them must not get a row index: Polars asks for statistics of that, too.
    """
    if all(part.facts is None for part in parts) or not _has_keyword():
        return {}
    frame = _statistics(parts, columns)
    return {} if frame.width == 1 else {_KEYWORD: frame}


@cache
def _has_keyword() -> bool:
    return _KEYWORD in inspect.signature(pl.scan_parquet).parameters


def _statistics(parts: Sequence[Part], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a row per part: length, and least and greatest value and number of nulls of some columns; null where unknown."""
    number = pl.get_index_type()
    found = [pl.Series("len", [None if part.facts is None else part.facts.n_rows for part in parts], dtype=number)]
    for name in TIMES:
        if columns.get(name) == TIME:
            found += _of_values(parts, name, name, TIME)
    if is_plain_box(box := columns.get("bbox")):
        assert isinstance(box, pl.Struct)
        sides = [_of_values(parts, f"bbox.{one.name}", one.name, pl.Float64()) for one in box.fields]
        for which, word in enumerate(("_min", "_max", "_nc")):
            fields = [of_side[which].alias(one.name) for one, of_side in zip(box.fields, sides, strict=True)]
            found.append(pl.DataFrame(fields).to_struct(f"bbox{word}"))
    return pl.DataFrame(found)


def _of_values(parts: Sequence[Part], key: str, name: str, dtype: pl.DataType) -> list[pl.Series]:
    known = [(None,) * 3 if part.facts is None else _range(part, key) for part in parts]
    least, greatest, nulls = zip(*known, strict=True)
    return [
        pl.Series(f"{name}_min", least, dtype=pl.Int64 if dtype == TIME else dtype).cast(dtype),
        pl.Series(f"{name}_max", greatest, dtype=pl.Int64 if dtype == TIME else dtype).cast(dtype),
        pl.Series(f"{name}_nc", nulls, dtype=pl.get_index_type()),
    ]


def _range(part: Part, key: str) -> tuple[Any, Any, Any]:
    assert part.facts is not None
    ranges = part.facts.ranges
    if key not in TIMES and not all(f"bbox.{side}" in ranges for side in SIDES):
        return None, None, None
    return ranges.get(key, (None, None, None))
