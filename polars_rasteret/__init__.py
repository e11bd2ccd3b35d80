"""Read pixels from cloud GeoTIFFs inside Polars queries.

``import polars_rasteret as pr`` registers ``.raster`` on LazyFrames, DataFrames and expressions. The map of the package,
arrows of import pointing up the list only::

    errors, schema, options, profile, hrefs, arguments, display, bundles, patterns, module_loading
                 errors, dtypes, defaults, counts, hrefs in messages, checks of arguments, tables for terminals; classes and
                 regular expressions that are made quickly, and how modules are imported
    geo/         pure geometry on arrays: affine transforms, CRSs, areas, footprints
    tiff/        the file format, no I/O: header, georeference, tile offsets, codec
    plan/        pure: windows and masks to tiles to requests, pairs by boxes, costs
    fetch/       bytes: sources, stores, scheduler, cache (the only effects)
    assemble/    pure: decoded pixels into answers, resampling kernels, nodata and casts
    engine/      windows in, pixels out: the only package that knows all stages
    grids/       pixel grids: choosing one, windows on grids, reprojection
    pixels/      what is read: raster values, points, windows, zones; valid masks
    pairing/     which records answer which rows
    frame/       the Polars faces: expressions, verbs, predicates, batches, estimates
    collection/  opening, writing and querying collections
    catalog/     the datasets that are known by name
    ingest/      files and tables into collections
    distribute/  queries in parts, by many workers
    export/      answers into NumPy, GeoPandas and Arrow
    handles/     one record at hand, without a query
    namespaces/  registers ``.raster``
    testing/     public fakes and small files for tests and examples
    command_line/  ``polars-rasteret`` in a shell

Heavy parts are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from polars_rasteret import errors
from polars_rasteret.module_loading import loading
from polars_rasteret.namespaces import (
    bits,
    clear_sky,
    normalized_difference,
    raster,
    read_window,
    sample_points,
    solar_day,
    weighted_mean,
)
from polars_rasteret.options import options
from polars_rasteret.profile import profile

if TYPE_CHECKING:
    from polars_rasteret import testing
    from polars_rasteret.catalog.descriptor import DatasetDescriptor
    from polars_rasteret.catalog.known import dataset, datasets
    from polars_rasteret.catalog.names import create_name, parse_name
    from polars_rasteret.catalog.register import export_dataset, register, register_local, unregister
    from polars_rasteret.collection.queries.describe import Description
    from polars_rasteret.collection.reading.list_collections import list_collections
    from polars_rasteret.collection.reading.scan import scan_collection
    from polars_rasteret.collection.writing.upkeep import compact, remove
    from polars_rasteret.distribute.engines.dask_engine import DaskEngine
    from polars_rasteret.distribute.engines.process_engine import ProcessEngine
    from polars_rasteret.distribute.engines.ray_engine import RayEngine
    from polars_rasteret.distribute.jobs.one_part import run_part
    from polars_rasteret.distribute.plan_parts import plan_parts
    from polars_rasteret.distribute.run import run
    from polars_rasteret.export.geodataframe import to_geopandas
    from polars_rasteret.export.numpy_arrays import to_numpy
    from polars_rasteret.fetch.sources.byte_source import ByteSource
    from polars_rasteret.fetch.sources.stores import configure_store
    from polars_rasteret.frame.estimate.dry_run import Estimate, estimate
    from polars_rasteret.handles.handle import RasterHandle
    from polars_rasteret.handles.opening import open, open_async  # noqa: A004 - the public name
    from polars_rasteret.ingest.build_dataset import build
    from polars_rasteret.ingest.build_from_files import build_from_files
    from polars_rasteret.ingest.build_from_table import build_from_table
    from polars_rasteret.ingest.refresh import refresh
    from polars_rasteret.stac.build_from_stac import build_from_stac
    from polars_rasteret.testing.example_images import example_data

__all__ = [
    "ByteSource",
    "DaskEngine",
    "DatasetDescriptor",
    "Description",
    "Estimate",
    "ProcessEngine",
    "RasterHandle",
    "RayEngine",
    "bits",
    "build",
    "build_from_files",
    "build_from_stac",
    "build_from_table",
    "clear_sky",
    "compact",
    "configure_store",
    "create_name",
    "dataset",
    "datasets",
    "errors",
    "estimate",
    "example_data",
    "export_dataset",
    "list_collections",
    "normalized_difference",
    "open",
    "open_async",
    "options",
    "parse_name",
    "plan_parts",
    "profile",
    "raster",
    "read_window",
    "refresh",
    "register",
    "register_local",
    "remove",
    "run",
    "run_part",
    "sample_points",
    "scan_collection",
    "solar_day",
    "testing",
    "to_geopandas",
    "to_numpy",
    "unregister",
    "weighted_mean",
]

__version__ = "0.1.0"

_LAZY = {
    "build": "polars_rasteret.ingest.build_dataset",
    "build_from_files": "polars_rasteret.ingest.build_from_files",
    "build_from_stac": "polars_rasteret.stac.build_from_stac",
    "build_from_table": "polars_rasteret.ingest.build_from_table",
    "ByteSource": "polars_rasteret.fetch.sources.byte_source",
    "compact": "polars_rasteret.collection.writing.upkeep",
    "configure_store": "polars_rasteret.fetch.sources.stores",
    "create_name": "polars_rasteret.catalog.names",
    "dataset": "polars_rasteret.catalog.known",
    "DatasetDescriptor": "polars_rasteret.catalog.descriptor",
    "datasets": "polars_rasteret.catalog.known",
    "Description": "polars_rasteret.collection.queries.describe",
    "Estimate": "polars_rasteret.frame.estimate.dry_run",
    "estimate": "polars_rasteret.frame.estimate.dry_run",
    "example_data": "polars_rasteret.testing.example_images",
    "export_dataset": "polars_rasteret.catalog.register",
    "list_collections": "polars_rasteret.collection.reading.list_collections",
    "open": "polars_rasteret.handles.opening",
    "open_async": "polars_rasteret.handles.opening",
    "parse_name": "polars_rasteret.catalog.names",
    "plan_parts": "polars_rasteret.distribute.plan_parts",
    "DaskEngine": "polars_rasteret.distribute.engines.dask_engine",
    "ProcessEngine": "polars_rasteret.distribute.engines.process_engine",
    "RayEngine": "polars_rasteret.distribute.engines.ray_engine",
    "RasterHandle": "polars_rasteret.handles.handle",
    "refresh": "polars_rasteret.ingest.refresh",
    "register": "polars_rasteret.catalog.register",
    "register_local": "polars_rasteret.catalog.register",
    "remove": "polars_rasteret.collection.writing.upkeep",
    "run": "polars_rasteret.distribute.run",
    "run_part": "polars_rasteret.distribute.jobs.one_part",
    "scan_collection": "polars_rasteret.collection.reading.scan",
    "to_geopandas": "polars_rasteret.export.geodataframe",
    "to_numpy": "polars_rasteret.export.numpy_arrays",
    "unregister": "polars_rasteret.catalog.register",
}


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module("polars_rasteret.testing")
    if name in _LAZY:
        with loading():
            module = importlib.import_module(_LAZY[name])
        value = globals()[name] = getattr(module, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
