"""What may be known of a part without opening it, and how is that written in a text?

Pure. A text may be a stranger's, so all of it is checked. Where it is kept belongs in `parts_manifest`.
"""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FileFormatError
from polars_rasteret.patterns import pattern
from polars_rasteret.schema import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    Bound = int | float | None

N = TypeVar("N", int, float)
_VERSION = 1
_OUR_NAME = pattern(r"part-\d{8}T\d{12}-[0-9a-f]{8}\.parquet")
_MOST_ROWS = 2**32 - 1
TIMES = ("datetime", "start_datetime", "end_datetime")
SIDES = ("xmin", "ymin", "xmax", "ymax")


@bundle(eq=True)
class PartFacts:
    """What is known of one part."""

    columns: dict[str, pl.DataType]
    """Its columns, as `parts.read_schema` reads them."""
    schema_file: bytes
    """An empty Parquet file with these columns."""
    n_rows: int
    hints: str
    """What it tells of the places of its files."""
    empty_bands: frozenset[str]
    """Bands without a value."""
    ranges: Mapping[str, tuple[Bound, Bound, int]]
    """Least and greatest value, and number of nulls, of columns of times (microseconds since 1970) and of ``bbox.SIDE``. A
    column with a value that has no order, or of another dtype, is left out."""


def is_our_name(name: str) -> bool:
    """Return whether a part has a name that this package made: no other part ever gets it, so its content never changes."""
    return _OUR_NAME.fullmatch(name) is not None


def range_expressions(columns: Mapping[str, pl.DataType]) -> dict[str, pl.Expr]:
    """Return the expressions that make the `ranges` of a part, each a Struct of ``least``, ``greatest``, ``nulls``, ``odd``."""
    found = {name: pl.col(name) for name in TIMES if columns.get(name) == TIME}
    if is_plain_box(columns.get("bbox")):
        found |= {f"bbox.{side}": pl.col("bbox").struct.field(side) for side in SIDES}
    return {
        name: pl.struct(
            least=one.min().to_physical(),
            greatest=one.max().to_physical(),
            nulls=one.null_count(),
            odd=(~one.is_finite()).any() if name not in TIMES else pl.lit(value=False),
        )
        for name, one in found.items()
    }


def ranges_of(row: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Bound, Bound, int]]:
    """Return the `ranges` of a part from the values of `range_expressions`."""
    plain = {name: (one["least"], one["greatest"], one["nulls"]) for name, one in row.items() if not one["odd"]}
    has_box = all(f"bbox.{side}" in plain for side in SIDES)
    return {name: one for name, one in plain.items() if has_box or name in TIMES}


def is_plain_box(dtype: pl.DataType | None) -> bool:
    """Return whether a dtype is a ``bbox`` of four Float64 and nothing else."""
    return isinstance(dtype, pl.Struct) and {one.name: one.dtype for one in dtype.fields} == dict.fromkeys(
        SIDES, pl.Float64
    )


def facts_text(known: Mapping[str, tuple[int, PartFacts]]) -> str:
    """Return the text of what is known of parts: their names to their sizes in bytes and facts."""
    schemas = list(dict.fromkeys(facts.schema_file for _, facts in known.values()))
    hints = list(dict.fromkeys(facts.hints for _, facts in known.values()))
    of_schema, of_hints = ({one: number for number, one in enumerate(each)} for each in (schemas, hints))
    parts = {
        name: [
            n_bytes,
            facts.n_rows,
            of_schema[facts.schema_file],
            of_hints[facts.hints],
            sorted(facts.empty_bands),
            facts.ranges,
        ]
        for name, (n_bytes, facts) in known.items()
    }
    said = {
        "version": _VERSION,
        "schemas": [base64.b64encode(one).decode() for one in schemas],
        "hints": hints,
        "parts": parts,
    }
    return json.dumps(said, separators=(",", ":"))


def facts_in(text: str) -> dict[str, tuple[int, PartFacts]]:
    """Return what a text says of parts.

    Raises
    ------
    FileFormatError
        When `facts_text` did not write it, or that of another version did.
    """
    try:
        said = json.loads(text)
        if said["version"] != _VERSION:
            raise FileFormatError(f"facts of parts: expected version {_VERSION}, got {said['version']!r}")
        files = [base64.b64decode(one, validate=True) for one in said["schemas"]]
        columns = [dict(pl.scan_parquet(io.BytesIO(one)).collect_schema()) for one in files]
        hints = [_text(one) for one in said["hints"]]
        return {
            name: (
                _number(n_bytes, int, 0, 2**62),
                PartFacts(
                    columns=columns[_count(schema)],
                    schema_file=files[schema],
                    n_rows=_count(n_rows),
                    hints=hints[_count(hint)],
                    empty_bands=frozenset(_text(band) for band in empty),
                    ranges={column: _range(column, *ends) for column, ends in ranges.items()},
                ),
            )
            for name, (n_bytes, n_rows, schema, hint, empty, ranges) in said["parts"].items()
        }
    except (
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
        pl.exceptions.PolarsError,
    ) as error:
        raise FileFormatError(f"facts of parts: not written by polars_rasteret: {str(error)[:100]}") from error


def _range(column: str, least: Any, greatest: Any, nulls: Any) -> tuple[Bound, Bound, int]:
    kind: type[int | float] = int if column in TIMES else float
    ends: list[Bound] = [None if one is None else _number(one, kind, -(2**62), 2**62) for one in (least, greatest)]
    return ends[0], ends[1], _count(nulls)


def _count(value: Any) -> int:
    return int(_number(value, int, 0, _MOST_ROWS))


def _number(value: Any, kind: type[N], least: int, most: int) -> N:
    if type(value) is not kind or not least <= value <= most:
        raise TypeError(f"{value!r} is no {kind.__name__} between {least} and {most}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
