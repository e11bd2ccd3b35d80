"""Which commands ask and change the catalog of datasets, and build collections of them: ``datasets ...`` and ``build``?"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars_rasteret as pr
from polars_rasteret.command_line.input_files import clear_way
from polars_rasteret.command_line.option_values import (
    add_bands,
    add_search,
    add_shared,
    flat,
    search_words,
    storage,
)
from polars_rasteret.command_line.results import (
    check_output,
    print_built,
    print_facts,
    print_json,
    print_rows,
)
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace

_LISTED = ("id", "title", "auth", "start", "end", "origin")


def add_to(commands: Any) -> None:
    """Add the group, and ``build``, to the parser of all commands."""
    group = commands.add_parser("datasets", help="list, describe, register, export and build datasets of the catalog")
    kinds = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = kinds.add_parser("list", help="the datasets of the catalog")
    listing.add_argument("--search", metavar="WORDS", help="only those that have all of these words")
    add_shared(listing, opens=False)
    listing.set_defaults(run=_list)

    info = kinds.add_parser("info", help="what the catalog says of a dataset")
    info.add_argument("id", metavar="ID")
    add_shared(info, opens=False)
    info.set_defaults(run=_info)

    register = kinds.add_parser(
        "register",
        help="add a collection, or a file of datasets, to the catalog",
        description="Add datasets for all processes of this user: a collection under an id, or a TOML file of `export`.",
    )
    register.add_argument("id", metavar="ID|FILE.toml")
    register.add_argument("path", metavar="PATH", nargs="?", help="a collection")
    register.add_argument("--title", metavar="TEXT", default="")
    register.add_argument("--description", metavar="TEXT", default="")
    add_shared(register)
    register.set_defaults(run=_register)

    unregister = kinds.add_parser("unregister", help="take a dataset out of the catalog; its files stay")
    unregister.add_argument("id", metavar="ID")
    add_shared(unregister, opens=False)
    unregister.set_defaults(run=_unregister)

    export = kinds.add_parser("export", help="write what the catalog says of a dataset to a TOML file")
    export.add_argument("id", metavar="ID")
    export.add_argument("output", metavar="FILE.toml")
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    add_shared(export, opens=False)
    export.set_defaults(run=_export)

    for there in (kinds, commands):
        building = there.add_parser(
            "build",
            help="make a collection of a dataset",
            description="Make a collection of a dataset, part by part; a killed build goes on where it was, a later one adds "
            "what is new.",
        )
        _add_build(building)
        building.set_defaults(run=_build)


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="a dataset, as `datasets list` shows it")
    parser.add_argument("into", metavar="INTO", help="a folder, or a file that ends in .parquet")
    add_bands(parser, "bands by their names in the catalog (default: all)")
    add_search(parser)
    parser.add_argument("--on-error", choices=("null", "raise"), default="null", help="files that cannot be read")
    parser.add_argument("--force", action="store_true", help="delete the collection that is there, and build it anew")
    add_shared(parser)


def _list(args: Namespace) -> None:
    found = pr.datasets(args.search)
    print_rows(found if args.json else found.select(_LISTED), as_json=args.json)


def _info(args: Namespace) -> None:
    from polars_rasteret.catalog.descriptor_toml import toml_of

    facts = tomllib.loads(toml_of([pr.dataset(args.id)]))["dataset"][args.id]
    if args.json:
        print_json({"id": args.id, **facts})
        return
    bands = {f"band {name}": value for name, value in facts.pop("bands", {}).items()}
    notes = {f"note {number}": note for number, note in enumerate(facts.pop("notes", []), 1)}
    if "temporal_extent" in facts:
        facts["temporal_extent"] = " to ".join(facts["temporal_extent"]).strip()
    print_facts({"id": args.id, **facts, **bands, **notes}, as_json=False)


def _register(args: Namespace) -> None:
    if args.path is None:
        if not args.id.endswith(".toml"):
            raise UsageError(
                f"register {args.id}: say which collection, `register ID PATH`, or name a .toml file of datasets"
            )
        if args.title or args.description:
            raise UsageError("--title and --description go with ID and PATH; a file has its own")
        pr.register(args.id, persist=True)
        found = sorted(tomllib.loads(Path(args.id).read_text("utf-8"))["dataset"])
    else:
        words = {"title": args.title, "description": args.description, "storage_options": storage(args)}
        found = [pr.register_local(args.id, args.path, **words).id]
    _told(args, "registered", found)


def _unregister(args: Namespace) -> None:
    pr.unregister(args.id)
    _told(args, "unregistered", [args.id])


def _export(args: Namespace) -> None:
    check_output(args.output, (".toml",), force=args.force)
    pr.export_dataset(args.id, args.output)
    _told(args, "exported", [args.id])


def _told(args: Namespace, what: str, found: list[str]) -> None:
    if args.json:
        print_json({what: found})
    else:
        print("\n".join(f"{what} {one}" for one in found))


def _build(args: Namespace) -> None:
    options = storage(args)
    is_collection = pr.dataset(args.id).place == "path"
    clear_way(args.into, force=args.force, storage_options=options, refuse=is_collection)
    words: dict[str, Any] = {
        **search_words(args),
        "bands": flat(args.bands),
        "on_error": args.on_error,
        "storage_options": options,
    }
    if is_collection:
        pr.raster(pr.build(args.id, **words)).sink_collection(args.into, source=shown(args.id), storage_options=options)
    else:
        pr.build(args.id, into=args.into, **words)
    print_built(args.into, options, as_json=args.json)
