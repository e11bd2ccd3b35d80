"""How are descriptors of datasets written as TOML, and read from it with errors that name file, line, dataset and field?

One table per dataset, ``[dataset."id"]``, with the fields of `DatasetDescriptor` under their names.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from polars_rasteret.catalog.band_facts import BandSource
from polars_rasteret.catalog.descriptor import FIELDS, DatasetDescriptor
from polars_rasteret.errors import UsageError

SCHEMA_VERSION = 1
"""Version of the fields; a file of a later one was written by a later release."""
_HEADER = re.compile(
    r"""\s*\[\[?\s*dataset\s*\.\s*(?:"(?P<quoted>[^"]*)"|'(?P<literal>[^']*)'|(?P<bare>[\w-]+))"""
    r"""\s*(?:\.\s*["']?(?P<field>\w+).*)?\]"""
)
_KEY = re.compile(r"""\s*["']?(\w+)["']?\s*[.=]""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def descriptors_of(text: str, where: str) -> dict[str, DatasetDescriptor]:
    """Return the datasets of a TOML text by id, in their order.

    Parameters
    ----------
    text
        The text of a file.
    where
        Name of the file, for messages.

    Raises
    ------
    UsageError
        When the text is no TOML, or a dataset has an unknown field or a value that does not fit.

    Examples
    --------
    >>> text = '''
    ... [dataset."mine/scenes"]
    ... title = "Scenes"
    ... path = "/data/scenes"
    ... '''
    >>> descriptors_of(text, "datasets.toml")["mine/scenes"].title
    'Scenes'
    >>> descriptors_of(text + 'bandes = 1', "datasets.toml")
    Traceback (most recent call last):
        ...
    polars_rasteret.errors.UsageError: datasets.toml, line 5: dataset 'mine/scenes': there is no field 'bandes'; ...
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is no TOML: {error}") from error
    version = content.pop("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise UsageError(f"{where}: schema_version is {version!r}; this release reads {SCHEMA_VERSION}")
    tables = content.pop("dataset", {})
    if content or not isinstance(tables, dict):
        raise UsageError(
            f'{where}: {", ".join(content) or "dataset"} is unexpected; expected tables like [dataset."id"]'
        )
    found: dict[str, DatasetDescriptor] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"{_place(text, where, name)}: dataset {name!r} is {table!r}; expected a table of its fields"
            )
        if unknown := [one for one in table if one not in FIELDS or one == "id"]:
            raise UsageError(
                f"{_place(text, where, name, unknown[0])}: dataset {name!r}: there is no field {unknown[0]!r}; expected some of "
                f"{', '.join(FIELDS[1:])}"
            )
        try:
            found[name] = DatasetDescriptor(**{"id": name, "title": "", **table})
        except UsageError as error:
            named = re.search(r"field '(\w+)'", str(error))
            raise UsageError(f"{_place(text, where, name, named and named[1])}: {error}") from error
    return found


def toml_of(descriptors: Iterable[DatasetDescriptor]) -> str:
    """Return datasets as TOML text that `descriptors_of` reads; fields at their default are left out.

    Examples
    --------
    >>> print(toml_of([DatasetDescriptor(id="mine/scenes", title="Scenes", path="/data/scenes", bands={"red": "B04"})]))
    schema_version = 1
    <BLANKLINE>
    [dataset."mine/scenes"]
    title = "Scenes"
    path = "/data/scenes"
    bands = { red = "B04" }
    <BLANKLINE>
    """
    blocks = [f"schema_version = {SCHEMA_VERSION}\n"]
    for one in descriptors:
        lines = [f'[dataset."{one.id}"]']
        lines += [f"{name} = {_value(value)}" for name, value in _changed(one) if name != "id"]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _changed(fact: Any) -> list[tuple[str, Any]]:
    """Return names and values of the fields of a dataclass that are not at their default."""
    found = []
    for one in fields(fact):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        value = getattr(fact, one.name)
        if default is MISSING or value != default:
            found.append((one.name, value))
    return found


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return '""'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dt.date):
        return f'"{value.isoformat()}"'
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, BandSource) and value.index == 0:
        return _value(value.asset)
    if is_dataclass(value):
        return _value(dict(_changed(value)))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items()) + " }"
    return f"[{', '.join(map(_value, value))}]"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _place(text: str, where: str, dataset: str, field: str | None = None) -> str:
    """Return the name of a file with the line of a dataset, or of its field."""
    at = None
    is_inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            is_inside = next(one for one in header.group("quoted", "literal", "bare") if one is not None) == dataset
            at = at or (number if is_inside else None)
            if is_inside and field is not None and header["field"] == field:
                return f"{where}, line {number}"
        elif is_inside and field is not None and (key := _KEY.match(line)) and key[1] == field:
            return f"{where}, line {number}"
    return where if at is None else f"{where}, line {at}"
