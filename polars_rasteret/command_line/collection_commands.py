"""Which commands keep collections: ``collections list``, ``info``, ``build``, ``import``, ``append``, ``delete``?

Packages that a command needs are imported when it runs: the words of the line are understood in the time of importing Polars.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_rasteret as pr
from polars_rasteret.command_line.input_files import (
    clear_way,
    names_parquet,
    names_tiffs,
    read_table,
    scan_if_collection,
)
from polars_rasteret.command_line.option_values import (
    add_bands,
    add_search,
    add_shared,
    flat,
    json_mapping,
    names,
    search_words,
    sql_expression,
    storage,
)
from polars_rasteret.command_line.results import print_built, print_facts, print_json, print_rows
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace

_LISTED = ("name", "records", "bands", "start", "end", "source", "bytes")


def add_to(commands: Any) -> None:
    """Add the group to the parser of all commands."""
    group = commands.add_parser("collections", help="list, describe, import, append to and delete collections")
    kinds = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = kinds.add_parser("list", help="the collections in a folder")
    listing.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="default: this folder")
    listing.add_argument("--search", metavar="TEXT", help="only those whose name, source or description has this text")
    add_shared(listing)
    listing.set_defaults(run=_list)

    info = kinds.add_parser("info", help="what is in a collection")
    info.add_argument("path", metavar="PATH")
    add_shared(info)
    info.set_defaults(run=_info)

    importing = kinds.add_parser(
        "import",
        help="make a collection from a table of hrefs, from GeoTIFFs, or from another collection",
        description="Make a collection. Of a table, --bands or --href-column tells which columns hold hrefs; headers are read, "
        "so the result can be sampled. A killed import goes on where it was.",
    )
    importing.add_argument("source", metavar="SOURCE", help="a table (Parquet, CSV, Arrow), GeoTIFFs, or a collection")
    importing.add_argument("into", metavar="INTO", help="a folder, or a file that ends in .parquet")
    _add_table_words(importing)
    importing.add_argument("--force", action="store_true", help="replace a collection that is there")
    importing.set_defaults(run=_import)

    build = kinds.add_parser(
        "build",
        help="make a collection of the items of a STAC API or catalog",
        description="Make a collection with one record per STAC item, part by part; a killed build goes on where it was, a later "
        "one adds what is new. For a dataset of the catalog: `polars-rasteret build`.",
    )
    build.add_argument(
        "source", metavar="SOURCE", help="URL of a STAC API; a static catalog, or items as JSON or Parquet"
    )
    build.add_argument("into", metavar="INTO", help="a folder, or a file that ends in .parquet")
    build.add_argument("--collections", metavar="NAMES", type=names, help="STAC collections")
    add_bands(
        build,
        "assets, or common names (default: GeoTIFF assets of data and quality); NAME=ASSET, NAME=ASSET.BAND from 1",
    )
    add_search(build)
    build.add_argument("--alternate", metavar="NAMES", type=names, help="alternate locations to take: s3")
    _add_words_of_builds(build)
    build.add_argument("--force", action="store_true", help="replace a collection that is there")
    add_shared(build)
    build.set_defaults(run=_build_of_items)

    append = kinds.add_parser("append", help="add records of a table, of GeoTIFFs, or of another collection")
    append.add_argument("path", metavar="PATH", help="a collection")
    append.add_argument("source", metavar="SOURCE", help="a table (Parquet, CSV, Arrow), GeoTIFFs, or a collection")
    _add_table_words(append)
    append.set_defaults(run=_append)

    delete = kinds.add_parser(
        "delete",
        help="delete collections, by their exact names",
        description="Delete the files of collections, and no others.",
    )
    delete.add_argument(
        "names", metavar="NAME", nargs="+", help="a name as `collections list` shows it, never a prefix"
    )
    delete.add_argument("--folder", default=".", help="folder of the collections (default: this folder)")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    add_shared(delete)
    delete.set_defaults(run=_delete)


def _add_table_words(parser: argparse.ArgumentParser) -> None:
    add_bands(
        parser, "names of all bands of the files, in order; of a table: NAME=COLUMN or NAME=COLUMN.INDEX (from 0)"
    )
    parser.add_argument("--column-map", metavar="JSON", type=json_mapping, help='columns to rename: {"fid": "id"}')
    parser.add_argument("--columns", metavar="NAMES", type=names, help="columns of the table to keep")
    parser.add_argument("--where", metavar="SQL", type=sql_expression, help="rows of the table, by a condition")
    _add_words_of_builds(parser)
    parser.add_argument("--data-source", metavar="TEXT", help="where its records come from")
    add_shared(parser)


def _add_words_of_builds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rewrite", metavar="JSON", type=json_mapping, help='prefixes of hrefs: {"https://a/": "s3://b/"}'
    )
    parser.add_argument("--on-error", choices=("null", "raise"), default="null", help="files that cannot be read")
    parser.add_argument("--description", metavar="TEXT", help="what the collection is; its files say so")


def _list(args: Namespace) -> None:
    found = pr.list_collections(args.folder, storage_options=storage(args))
    if args.search is not None:
        text = pl.concat_str("name", "source", "description", separator="\n", ignore_nulls=True)
        found = found.filter(text.str.to_lowercase().str.contains(args.search.lower(), literal=True))
    print_rows(found if args.json else found.select(_LISTED), as_json=args.json)


def _info(args: Namespace) -> None:
    from polars_rasteret.collection.reading.list_collections import collection_facts

    facts = pr.raster(pr.scan_collection(args.path, storage_options=storage(args))).describe()
    said = collection_facts(args.path, storage_options=storage(args))
    more = {word: said[word] for word in ("source", "description", "parts", "bytes")}
    if args.json:
        print_json({"path": said["path"], **facts.data, **more})
        return
    print_facts({**dict(facts.table.iter_rows()), **{what: one for what, one in more.items() if one}}, as_json=False)


def _import(args: Namespace) -> None:
    from polars_rasteret.collection.reading.list_collections import collection_facts

    options = storage(args)
    scan = scan_if_collection(args.source, options)
    if scan is not None:
        _refuse_words_of_tables(args)
        there = collection_facts(args.source, storage_options=options)
        pr.raster(scan).sink_collection(
            args.into,
            mode="overwrite" if args.force else "error",
            description=args.description or there["description"],
            source=args.data_source or there["source"],
            storage_options=options,
        )
    else:
        clear_way(args.into, force=args.force, storage_options=options)
        _build(args, args.into)
    print_built(args.into, options, as_json=args.json)


def _build_of_items(args: Namespace) -> None:
    options = storage(args)
    clear_way(args.into, force=args.force, storage_options=options)
    bands = flat(args.bands)
    is_renamed = bands is not None and any("=" in one for one in bands)
    pairs = [one.partition("=") for one in bands or ()]
    pr.build_from_stac(
        args.source,
        collections=args.collections,
        bands={name: asset or name for name, _, asset in pairs} if is_renamed else bands,
        alternate=args.alternate,
        rewrite=args.rewrite,
        into=args.into,
        description=args.description,
        on_error=args.on_error,
        storage_options=options,
        **search_words(args),
    )
    print_built(args.into, options, as_json=args.json)


def _append(args: Namespace) -> None:
    from polars_rasteret.collection.reading.list_collections import collection_facts

    options = storage(args)
    collection_facts(args.path, storage_options=options)  # raises where no collection is there
    scan = scan_if_collection(args.source, options)
    if scan is not None:
        _refuse_words_of_tables(args)
        pr.raster(scan).sink_collection(args.path, mode="append", **_said(args), storage_options=options)
    else:
        _build(args, args.path)
    print_built(args.path, options, as_json=args.json)


def _said(args: Namespace) -> dict[str, Any]:
    return {"description": args.description, "source": args.data_source}


def _refuse_words_of_tables(args: Namespace) -> None:
    for word in ("bands", "column_map", "columns", "where", "rewrite"):
        if getattr(args, word) is not None:
            raise UsageError(
                f"--{word.replace('_', '-')}: {shown(args.source)} is a collection, which has its bands and columns"
            )


def _build(args: Namespace, into: str) -> None:
    words: dict[str, Any] = {"into": into, "on_error": args.on_error, **_said(args), "storage_options": storage(args)}
    bands = flat(args.bands)
    if names_tiffs(args.source):
        pr.build_from_files(args.source, bands=bands, **words)
        return
    table: Any = args.source
    if names_parquet(args.source):
        columns = pl.scan_parquet(args.source, storage_options=storage(args)).collect_schema().names()
    else:
        table = read_table(args.source)
        columns = table.collect_schema().names()
    if bands is None:
        raise UsageError(
            f"--bands is missing: say which columns of {shown(args.source)} hold hrefs, NAME=COLUMN, or NAME=COLUMN.INDEX with "
            f"the 0-based index of a band, or the column of STAC assets; there are {', '.join(columns)}"
        )
    known = {*columns, *(args.column_map or {}).values()}
    pr.build_from_table(
        table,
        bands="assets" if bands == ["assets"] else dict(_band(one, known) for one in bands),
        column_map=args.column_map,
        columns=args.columns,
        filter=args.where,
        rewrite=args.rewrite,
        **words,
    )


def _band(text: str, columns: set[str]) -> tuple[str, str | tuple[str, int]]:
    """Return a band and its column of hrefs, or column and index in the file."""
    name, equals, column = text.partition("=")
    column = column if equals else name
    stem, dot, index = column.rpartition(".")
    if column not in columns and dot and index.isdecimal():
        return name, (stem, int(index))
    return name, column


def _delete(args: Namespace) -> None:
    from polars_rasteret.collection.writing.deletion import delete_collection

    there = pr.list_collections(args.folder, storage_options=storage(args))
    paths = dict(there.select("name", "path").iter_rows())
    if unknown := [name for name in args.names if name not in paths]:
        raise UsageError(
            f"no collection {', '.join(map(repr, unknown))} is in {shown(args.folder)}; names are exact, and there are "
            f"{', '.join(paths) or 'none'}"
        )
    if not args.yes:
        _ask(args.names)
    deleted = []
    for name in dict.fromkeys(args.names):
        deleted.append({"name": name, "parts": delete_collection(paths[name], storage_options=storage(args))})
        if not args.json:
            print(f"deleted {name}")
    if args.json:
        print_json(deleted)


def _ask(found: list[str]) -> None:
    """Ask whether to delete; nobody can be asked where stdin is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError(f"say --yes to delete {', '.join(found)}: there is no terminal to ask at")
    print(f"Delete {', '.join(found)}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing is deleted")
