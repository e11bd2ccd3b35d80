"""What do the words after an option mean: bands, boxes, JSON, options of a store? Which options do several commands share?"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def names(text: str) -> list[str]:
    """Return the names of a list with commas: ``red,nir``."""
    found = [one.strip() for one in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names, like red,nir")
    return found


def numbers(count: int, form: str, kind: Callable[[str], float] = float) -> Callable[[str], tuple[Any, ...]]:
    """Return a function for a text of `count` numbers with commas; `form` shows it in messages."""

    def parsed(text: str) -> tuple[Any, ...]:
        try:
            found = tuple(kind(one) for one in text.split(","))
        except ValueError:
            found = ()
        if len(found) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form {form}")
        return found

    return parsed


bounds = numbers(4, "minx,miny,maxx,maxy")


def json_value(text: str) -> Any:
    """Return the value of a JSON text."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from None


def json_mapping(text: str) -> dict[str, Any]:
    """Return a mapping from JSON."""
    found = json_value(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError('no mapping in JSON, like {"a": "b"}')
    return found


def filter_value(text: str) -> str | dict[str, Any]:
    """Return a filter of a STAC API: JSON where the text begins with a brace, else CQL2 as it is."""
    return json_mapping(text) if text.lstrip().startswith("{") else text


def sql_expression(text: str) -> pl.Expr:
    """Return an expression from a condition in SQL: ``"eo:cloud_cover" < 20``."""
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no condition in SQL: {error}") from None


def crs(text: str) -> str | int:
    """Return a CRS: a number is an EPSG code."""
    return int(text) if text.isdecimal() else text


def key_value(text: str) -> tuple[str, str]:
    """Return key and value of ``KEY=VALUE``; the value is never shown."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError("expected KEY=VALUE")
    return key, value


def add_shared(parser: argparse.ArgumentParser, *, opens: bool = True, as_json: bool = True) -> None:
    """Add the options of every command: progress, JSON, options of the store of a collection."""
    if as_json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="bars on stderr (default: where that is a terminal)"
    )
    if opens:
        parser.add_argument(
            "--storage-option",
            dest="storage_options",
            metavar="KEY=VALUE",
            type=key_value,
            action="append",
            help="option of the store of the collection's Parquet, as in Polars (repeatable); better: the environment",
        )


def add_bands(parser: argparse.ArgumentParser, words: str) -> None:
    """Add ``--bands``, which takes ``red,nir`` and ``red nir``."""
    parser.add_argument("--bands", metavar="NAME", nargs="+", type=names, action="extend", help=words)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the words of a search for records."""
    parser.add_argument("--bbox", metavar="W,S,E,N", type=bounds, help="a box in longitude and latitude")
    parser.add_argument("--datetime", metavar="PERIOD", help="2024, 2024-06, 2024-06-01/2024-07-15")
    parser.add_argument("--ids", metavar="NAMES", type=names, help="ids of records")
    parser.add_argument(
        "--query", metavar="JSON", type=json_mapping, help='of a STAC API: {"eo:cloud_cover": {"lt": 20}}'
    )
    parser.add_argument("--filter", metavar="CQL2", type=filter_value, help="of a STAC API, as text or JSON")
    parser.add_argument("--sortby", metavar="NAMES", type=names, help="of a STAC API: -datetime")
    parser.add_argument("--max-items", metavar="N", type=int)


def search_words(args: argparse.Namespace) -> dict[str, Any]:
    """Return the words of `add_search` by name."""
    return {word: getattr(args, word) for word in ("bbox", "datetime", "ids", "query", "filter", "sortby", "max_items")}


def flat(lists: Sequence[Sequence[str]] | None) -> list[str] | None:
    """Return the names of all lists of an option that may be repeated; None where it was left out."""
    return None if lists is None else [name for some in lists for name in some]


def storage(args: argparse.Namespace) -> dict[str, str] | None:
    """Return the options of the store of the collection; None without any."""
    return dict(args.storage_options) if args.storage_options else None
