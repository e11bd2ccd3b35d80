"""Which commands read pixels: ``sample``, ``window``, and ``estimate``, which tells the cost of both beforehand?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import polars_rasteret as pr
from polars_rasteret.command_line.input_files import open_scenes, places, stated_geometry
from polars_rasteret.command_line.option_values import (
    add_bands,
    add_shared,
    bounds,
    crs,
    flat,
    key_value,
    names,
    numbers,
    sql_expression,
    storage,
)
from polars_rasteret.command_line.results import SUFFIXES, check_output, print_facts, write_arrays, write_rows
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from argparse import Namespace

    import polars as pl

    from polars_rasteret.frame.estimate.dry_run import Estimate

_FACTS = ("records", "images", "tiles", "requests", "bytes", "decoded_bytes", "seconds", "cost_usd", "bound")


def add_to(commands: Any) -> None:
    """Add the commands to the parser of all commands."""
    sample = commands.add_parser(
        "sample",
        help="values of pixels at points, as a table",
        description="Read the pixels of a collection, or of GeoTIFFs, at points. Without -o, CSV goes to stdout.",
    )
    _add_sample(sample)
    _add_output(sample, SUFFIXES)
    sample.set_defaults(run=_sample)

    window = commands.add_parser(
        "window",
        help="windows of pixels, as arrays",
        description="Read windows of a collection, or of GeoTIFFs: one box, pixels by number, or areas of a file.",
    )
    _add_window(window)
    _add_output(window, (".parquet", ".npz"), needed=True)
    window.set_defaults(run=_window)

    estimate = commands.add_parser(
        "estimate",
        help="what a sample or a window would cost",
        description="Tell tiles, requests, bytes and time beforehand. The words are those of the command that is estimated.",
    )
    kinds = estimate.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, add, query in (("sample", _add_sample, _sample_query), ("window", _add_window, _window_query)):
        one = kinds.add_parser(name, help=f"the cost of `polars-rasteret {name}` with the same words")
        add(one)
        one.set_defaults(run=_estimate, query_of=query)


def with_kind(words: list[str]) -> list[str]:
    """Return the words of a line, with what is estimated where it is not named: a window where there is a place for one."""
    if words[:1] != ["estimate"] or len(words) == 1 or words[1] in ("sample", "window", "-h", "--help"):
        return words
    is_window = any(word.partition("=")[0] in ("--bounds", "--window", "--areas") for word in words)
    return ["estimate", "window" if is_window else "sample", *words[1:]]


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "points", metavar="POINTS", help="Parquet, GeoParquet, CSV, Arrow or GeoJSON; - is CSV from stdin"
    )
    _add_reading(parser)
    parser.add_argument("--x", metavar="COLUMN", help="column of x or longitude (default: x/y, lon/lat and the like)")
    parser.add_argument("--y", metavar="COLUMN", help="column of y or latitude")
    parser.add_argument("--geometry", metavar="COLUMN", help="column of point geometries")
    parser.add_argument("--match", choices=("all", "latest", "earliest", "nearest"), default="all")
    parser.add_argument("--at", metavar="COLUMN", help="column of times that records are matched to")
    parser.add_argument("--tolerance", metavar="DURATION", help="greatest distance from --at, like 3d")
    parser.add_argument("--method", choices=("nearest", "bilinear", "cubic"), default="nearest")
    parser.add_argument(
        "--max-distance-pixels", metavar="N", type=int, default=0, help="look for a valid pixel this far"
    )
    parser.add_argument("--unmatched", choices=("null", "drop"), default="null", help="points without a record")
    parser.add_argument("--layout", choices=("wide", "long"), default="wide", help="long: rasteret's columns")


def _add_window(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--bounds", metavar="MINX,MINY,MAXX,MAXY", type=bounds, help="a box in --crs")
    place.add_argument(
        "--window",
        metavar="ROW,ROW,COL,COL",
        type=numbers(4, "row_start,row_stop,col_start,col_stop", int),
        help="pixels by number, half open",
    )
    place.add_argument("--areas", metavar="FILE", help="a window per row: Parquet, GeoParquet, Arrow or GeoJSON")
    _add_reading(parser)
    parser.add_argument("--geometry", metavar="COLUMN", help="column of the geometries of --areas")
    parser.add_argument("--shape", metavar="HEIGHT,WIDTH", type=numbers(2, "height,width", int))
    parser.add_argument("--resolution", metavar="SIZE", type=float, help="size of a pixel, in the CRS of the image")
    parser.add_argument(
        "--resampling", default="nearest", metavar="METHOD", help="nearest, bilinear, average, mode, ..."
    )
    parser.add_argument("--coverage", choices=("center", "all_touched"), help="blank pixels outside of an area")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--collection",
        metavar="PATH",
        required=True,
        help="a collection (file, folder, glob, URL), or GeoTIFFs (path, URL or glob that ends in .tif)",
    )
    add_bands(parser, "bands to read, in order (default: all)")
    parser.add_argument(
        "--crs", type=crs, help="CRS of the coordinates: 4326, EPSG:n, WKT, or native: that of the images"
    )
    parser.add_argument("--datetime", metavar="PERIOD", help="records of a time: 2024, 2024-06, 2024-06-01/2024-06-15")
    parser.add_argument(
        "--bbox", metavar="W,S,E,N", type=bounds, help="records that meet a box in longitude and latitude"
    )
    parser.add_argument("--cloud-cover-lt", metavar="PERCENT", type=float, help="records with less clouds")
    parser.add_argument("--where", metavar="SQL", type=sql_expression, help="records, by a condition on their columns")
    parser.add_argument("--valid", metavar="SQL", type=sql_expression, help='pixels that count: "SCL IN (4, 5, 6)"')
    parser.add_argument("--unscale", action="store_true", help="apply scale and offset")
    parser.add_argument(
        "--record-columns", metavar="NAMES", type=names, help="columns of the records (default: id,datetime)"
    )
    parser.add_argument("--on-error", choices=("raise", "null"), help="null: go on, with the reason in a column")
    parser.add_argument("--budget-bytes", metavar="N", type=int, help="refuse to fetch more")
    parser.add_argument(
        "--store",
        nargs=2,
        metavar=("PREFIX", "KEY=VALUE"),
        action="append",
        help="option of the store of the pixels below a prefix, as in pr.configure_store (repeatable)",
    )
    add_shared(parser)


def _add_output(parser: argparse.ArgumentParser, suffixes: tuple[str, ...], *, needed: bool = False) -> None:
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=needed, help=f"a file that ends in {', '.join(suffixes)}"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(suffixes=suffixes)


def _sample(args: Namespace) -> None:
    check_output(args.output, args.suffixes, force=args.force)
    write_rows(_sample_query(args), args.output, as_json=args.json)


def _window(args: Namespace) -> None:
    check_output(args.output, args.suffixes, force=args.force)
    query = _window_query(args)
    if args.output.lower().endswith(".npz"):
        write_arrays(query, args.output, as_json=args.json)
    else:
        write_rows(query, args.output, as_json=args.json)


def _estimate(args: Namespace) -> None:
    cost: Estimate = pr.estimate(args.query_of(args))
    print_facts({name: getattr(cost, name) for name in _FACTS}, as_json=args.json)


def _sample_query(args: Namespace) -> pl.LazyFrame:
    more: dict[str, Any] = {}
    if args.match != "all":
        more["match"] = args.match
    geometry, place_crs = _place(args.points, args) if args.x is None else (args.geometry, args.crs)
    return pr.raster(_scenes(args)).sample_points(
        places(args.points),
        flat(args.bands),
        x=args.x,
        y=args.y,
        geometry=geometry,
        crs=place_crs,
        at=args.at,
        tolerance=args.tolerance,
        method=args.method,
        max_distance_pixels=args.max_distance_pixels,
        unmatched=args.unmatched,
        layout=args.layout,
        **_words(args),
        **more,
    )


def _window_query(args: Namespace) -> pl.LazyFrame:
    scenes = _scenes(args)
    if args.window is not None:
        return _numbered_window(scenes, args)
    if args.areas is None:
        geometry, place_crs, areas = None, args.crs, [args.bounds]
    else:
        geometry, place_crs = _place(args.areas, args)
        areas = places(args.areas)
    return pr.raster(scenes).read_windows(
        areas,
        flat(args.bands),
        geometry=geometry,
        crs=place_crs,
        shape=args.shape,
        resolution=args.resolution,
        resampling=args.resampling,
        coverage=args.coverage,
        **_words(args),
    )


def _numbered_window(scenes: pl.LazyFrame, args: Namespace) -> pl.LazyFrame:
    if args.valid is not None or args.coverage is not None:
        raise UsageError("--valid and --coverage go with --bounds or --areas, not with --window")
    bands = flat(args.bands) or pr.raster(scenes).bands()
    pixels = pr.read_window(
        bands,
        window=args.window,
        shape=args.shape,
        resolution=args.resolution,
        resampling=args.resampling,
        unscale=args.unscale,
        on_error=args.on_error,
    )
    columns = args.record_columns or ["id", "datetime"]
    return scenes.select(*columns, pixels.alias("pixels")).unnest("pixels")


def _words(args: Namespace) -> dict[str, Any]:
    words: dict[str, Any] = {
        "valid": args.valid,
        "unscale": args.unscale,
        "on_error": args.on_error,
        "budget_bytes": args.budget_bytes,
    }
    if args.record_columns is not None:
        words["record_columns"] = args.record_columns
    return words


def _place(path: str, args: Namespace) -> tuple[str | None, Any]:
    """Return the geometry column and the CRS of a file of places, by the options, else as GeoParquet says."""
    stated = stated_geometry(path) if path != "-" else None
    if stated is None or (args.geometry is not None and args.geometry != stated[0]):
        return args.geometry, args.crs
    return stated[0], args.crs if args.crs is not None else stated[1]


def _scenes(args: Namespace) -> pl.LazyFrame:
    stores: dict[str, dict[str, str]] = {}
    for prefix, option in args.store or ():
        try:
            key, value = key_value(option)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--store {shown(prefix)}: {error}") from None
        stores.setdefault(prefix, {})[key] = value
    for prefix, options in stores.items():
        pr.configure_store(prefix, storage_options=options)
    scenes = open_scenes(args.collection, storage(args))
    if args.datetime is not None or args.bbox is not None or args.cloud_cover_lt is not None:
        scenes = pr.raster(scenes).subset(bbox=args.bbox, datetime=args.datetime, cloud_cover_lt=args.cloud_cover_lt)
    return scenes if args.where is None else scenes.filter(args.where)
