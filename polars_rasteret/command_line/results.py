"""How do results leave a command: as a file, as CSV or JSON on stdout, as a table for a terminal?"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SUFFIXES = (".parquet", ".csv", ".ndjson", ".arrow")


def check_output(path: str | None, suffixes: Sequence[str], *, force: bool) -> None:
    """Raise `UsageError` for a file that cannot be written, before anything is read."""
    if path is None:
        return
    if not path.lower().endswith(tuple(suffixes)):
        raise UsageError(f"-o {shown(path)}: expected a file that ends in {', '.join(suffixes)}")
    if "://" in path:
        return
    if Path(path).exists() and not force:
        raise UsageError(f"-o {path}: the file is there already; say --force to replace it")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"-o {path}: there is no such folder")


def write_rows(query: pl.LazyFrame, path: str | None, *, as_json: bool) -> None:
    """Write the rows of a query to a file, which appears whole, or to stdout, as CSV or as a line of JSON each."""
    if path is None:
        frame = _as_text(query.collect(), "stdout", allows_nested=as_json)
        sys.stdout.write(frame.write_ndjson() if as_json else frame.write_csv())
        return
    suffix = Path(path).suffix.lower()

    def write(to: str) -> int:
        if suffix == ".parquet":
            query.sink_parquet(to)
            return int(pl.scan_parquet(to, glob=False).select(pl.len()).collect().item())
        frame = query.collect()
        if suffix == ".arrow":
            frame.write_ipc(to)
        elif suffix == ".ndjson":
            _as_text(frame, path, allows_nested=True).write_ndjson(to)
        else:
            _as_text(frame, path, allows_nested=False).write_csv(to)
        return frame.height

    report(path, _whole(path, write), as_json=as_json)


def write_arrays(query: pl.LazyFrame, path: str, *, as_json: bool) -> None:
    """Write windows as a NumPy file: ``pixels`` (window, band, row, column), ``valid``, and the other columns by name."""
    pixels, rows = pr.to_numpy(query)
    arrays = {f"column:{name}": rows[name].to_numpy() for name in rows.columns if not rows.schema[name].is_nested()}
    arrays = {name: _plain(array) for name, array in arrays.items()}
    arrays["pixels"] = np.ma.getdata(pixels)
    arrays["valid"] = ~np.ma.getmaskarray(pixels)

    def write(to: str) -> int:
        with Path(to).open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stubs take names for options
        return len(pixels)

    report(path, _whole(path, write), as_json=as_json)


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype != object:
        return array
    if any(isinstance(one, bytes) for one in array):
        return np.array([b"" if one is None else one for one in array])
    return np.array(["" if one is None else str(one) for one in array])


def _whole(path: str, write: Callable[[str], int]) -> int:
    """Call ``write(to)``, and put what it wrote in its place when it is done; a failed or killed command leaves nothing there."""
    if "://" in path:
        return write(path)
    file = Path(path)
    draft = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    try:
        n_rows = write(str(draft))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return n_rows


def _as_text(frame: pl.DataFrame, where: str, *, allows_nested: bool) -> pl.DataFrame:
    """Return the frame with geometries as WKT; refuse what CSV cannot hold."""
    from polars_rasteret.geo.geometry import parsed

    columns = []
    for name, dtype in frame.schema.items():
        plain = frame[name].ext.storage() if isinstance(dtype, pl.BaseExtension) else frame[name]
        if plain.dtype == pl.Binary:
            plain = pl.Series(
                name, [None if one is None else one.wkt for one in parsed(plain.to_list())], dtype=pl.String
            )
        if plain.dtype.is_nested() and not allows_nested:
            instead = "with -o file.parquet" if where == "stdout" else "to a .parquet file"
            raise UsageError(f"{where}: column {name!r} is {plain.dtype!s:.60}, which CSV cannot hold; write {instead}")
        columns.append(plain)
    return pl.DataFrame(columns)


def report(path: str, n_rows: int, *, as_json: bool) -> None:
    """Print what was written."""
    print(json.dumps({"path": path, "rows": n_rows}) if as_json else f"{shown(path)}: {n_rows:,} rows")


def print_built(path: str, storage_options: Mapping[str, Any] | None, *, as_json: bool) -> None:
    """Print what is in a collection that a command made or changed; files that could not be read are counted."""
    from polars_rasteret.collection.reading.list_collections import collection_facts

    facts = collection_facts(path, storage_options=storage_options)
    told = {word: facts[word] for word in ("path", "records", "bands", "parts")}
    scan = pr.scan_collection(path, storage_options=storage_options)
    if "header_error" in scan.collect_schema():
        told["header errors"] = scan.select(pl.col("header_error").count()).collect().item()
    print_facts({what: value for what, value in told.items() if value != 0 or what == "records"}, as_json=as_json)


def print_rows(frame: pl.DataFrame, *, as_json: bool) -> None:
    """Print a frame: as a JSON list, or as columns of text under their names."""
    rows = frame.to_dicts()
    if as_json:
        print_json(rows)
        return
    cells = [frame.columns, *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(frame.columns))]
    for row in cells:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: as a JSON object, or as a line per fact."""
    if as_json:
        print_json(dict(facts))
        return
    width = max(map(len, facts))
    for what, value in facts.items():
        print(f"{what:<{width}}  {_cell(value)}")


def print_json(value: Any) -> None:
    """Print a value as JSON; times as ISO 8601, and what is no number as null."""
    print(json.dumps(_jsonable(value), indent=2, ensure_ascii=False))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " ".join(_cell(one) for one in value.values())
    if isinstance(value, list | tuple):
        return ",".join(map(_cell, value)) or "-"
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
