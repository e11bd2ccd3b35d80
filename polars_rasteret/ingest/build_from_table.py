"""How does a table with one row per record, and hrefs in its columns, become a collection?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import shapely

from polars_rasteret.collection.queries.spatial import lonlat_geometry
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.writing.signed_hrefs import with_keys_kept_back
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, normalize_crs
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.ingest.headers import Header, Unreadable, read_headers
from polars_rasteret.ingest.indexed_files import with_unread
from polars_rasteret.ingest.records import BandFiles, check_band_names, records_frame
from polars_rasteret.ingest.resumable_build import RecordPlan, build_into
from polars_rasteret.ingest.source_files import absolute_href
from polars_rasteret.ingest.times import times_of_column
from polars_rasteret.pairing.geometry_columns import wkb_array
from polars_rasteret.pairing.stated_crs import geometry_crs
from polars_rasteret.schema import BBOX, RECORD_COLUMNS, TIME

if TYPE_CHECKING:
    import os


def build_from_table(
    frame: Any,
    *,
    bands: Mapping[str, str | tuple[str, int]] | str,
    id: str = "id",  # noqa: A002 - the column's name
    datetime: str | None = "datetime",
    geometry: str | None = "geometry",
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection with one record per row of a table; only headers are read, each file's once.

    Parameters
    ----------
    frame
        LazyFrame, DataFrame, or anything with ``__arrow_c_stream__``.
    bands
        Band name to the column that holds its href, or to ``(column, 0-based band index)``. A null href is a band that this
        record does not have.
    id, datetime, geometry
        Columns of the table that become ``id``, ``datetime`` and ``geometry``. ``datetime``: a Datetime with a zone, a Date, or
        ISO 8601 strings with a zone. ``geometry``: WKB or EWKB in longitude and latitude; where it is null or missing, the
        footprint of the images is used. A default name that the table does not have is left out.
    into
        A folder that the collection is written to, in parts, as in `build_from_files`: it goes on after a kill, and keeps the
        records that are there (with their columns) while their files are unchanged. None: the collection is built in memory.
    on_error
        ``"null"``: a file that cannot be used becomes a null raster, with the reason in ``header_error``. ``"raise"``: such a
        file raises an error.
    progress
        Whether to show a progress bar of files; None: as the options say.
    wait_s
        Seconds to wait for another writer of a local `into`.
    storage_options, credential_provider
        As in `polars.scan_parquet`: for files in buckets, and for writing `into`. They are remembered for these buckets, as by
        ``configure_store``, so that their pixels can be read.

    Returns
    -------
    LazyFrame
        ``id``, ``datetime``, ``geometry``, ``bbox``, ..., the other columns of the table, one raster column per band.

    Raises
    ------
    UsageError
        When a column is missing or has a dtype that does not fit.
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> table = pl.DataFrame({"id": ["a"], "image": ["memory://example-scenes/first.tif"], "label": ["field"]})
    >>> scenes = pr.build_from_table(table, bands={"red": ("image", 0), "nir": ("image", 1)})
    >>> scenes.select("id", "label", pl.col("nir").struct.field("band_index")).collect().row(0)
    ('a', 'field', 1)
    """
    if on_error not in ("raise", "null"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'null'")
    table = with_keys_kept_back(_collected(frame))
    planes = _planes_of(bands, table)
    base = _base(table, id=id, datetime=datetime, geometry=geometry, bands=list(planes))
    absolute: dict[str, str] = {}
    wanted: dict[str, set[int]] = {}
    of_band: dict[str, list[str | None]] = {}
    for name, (column, index) in planes.items():
        of_band[name] = []
        for href in table[column].to_list():
            full = None
            if href is not None:
                if (full := absolute.get(href)) is None:
                    full = absolute[href] = absolute_href(href)
                wanted.setdefault(full, set()).add(index)
            of_band[name].append(full)

    def make(
        rows: Sequence[int], headers: Mapping[str, Header | Unreadable], accepted: Mapping[str, np.dtype[Any]]
    ) -> pl.DataFrame:
        used = dict.fromkeys(href for hrefs in of_band.values() for row in rows if (href := hrefs[row]) is not None)
        number = {href: at for at, href in enumerate(used)}
        its = [headers[href] for href in used]
        sources = [
            BandFiles(
                name=name,
                file_id=np.array(
                    [-1 if (href := hrefs[row]) is None else number[href] for row in rows], dtype=np.int64
                ),
                band_index=np.full(len(rows), planes[name][1], dtype=np.int64),
            )
            for name, hrefs in of_band.items()
        ]
        made = records_frame(base[list(rows)], sources, its, on_error=on_error, accepted=accepted)
        return with_unread(made, sources, its, own_names=False)

    options = {"storage_options": storage_options, "credential_provider": credential_provider}
    if into is not None:
        hrefs_of_row = zip(*of_band.values(), strict=True)
        plan = RecordPlan(
            keys=[
                (one, tuple(sorted({href for href in hrefs if href is not None})))
                for one, hrefs in zip(base["id"].to_list(), hrefs_of_row, strict=True)
            ],
            bands=list(planes),
            indices=lambda href: sorted(wanted[href]),
            is_made_of_rasters=True,
            frame=make,
        )
        return build_into(plan, into, progress=progress, wait_s=wait_s, **options)
    headers = read_headers(list(wanted), [sorted(one) for one in wanted.values()], progress=progress, **options)
    return make(range(table.height), {one.href: one for one in headers}, {}).drop(UNREAD).lazy()


def _collected(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if hasattr(frame, "to_arrow") and hasattr(frame, "active_geometry_name"):
        frame = frame.to_crs(4326) if frame.crs is not None else frame
        frame = frame.to_arrow(index=False)
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise UsageError(
        f"frame is a {type(frame).__name__}; expected a LazyFrame, a DataFrame or an Arrow table. Files go to build_from_files."
    )


def _planes_of(bands: Any, table: pl.DataFrame) -> dict[str, tuple[str, int]]:
    """Return band name to href column and band index."""
    if isinstance(bands, str):
        raise UsageError(
            f"bands={bands!r}: a column of STAC assets comes with STAC support; until then name the bands, "
            'as in bands={"B04": "href_b04"} or {"R": ("image", 0)}'
        )
    if not isinstance(bands, Mapping) or not bands:
        raise UsageError(
            f'bands is {bands!r}; expected {{"B04": "href_b04"}} or {{"R": ("image", 0), "G": ("image", 1)}}'
        )
    planes: dict[str, tuple[str, int]] = {}
    for name, where in bands.items():
        column, index = where if isinstance(where, tuple | list) and len(where) == 2 else (where, 0)
        if (
            not isinstance(column, str)
            or isinstance(index, bool)
            or not isinstance(index, int)
            or not 0 <= index < 65_536
        ):
            raise UsageError(
                f"bands[{name!r}] is {where!r}; expected a column of hrefs, or (column, 0-based band index)"
            )
        if column not in table.columns:
            raise UsageError(f"bands[{name!r}] names column {column!r}; the table has {', '.join(table.columns)}")
        if table[column].dtype not in (pl.String, pl.Null):
            raise UsageError(
                f"column {column!r} of band {name!r} is {table[column].dtype}; expected String (paths or URLs)"
            )
        planes[name] = (column, index)
    check_band_names(list(planes))
    return planes


def _base(
    table: pl.DataFrame,
    *,
    id: str,  # noqa: A002 - as in the caller's words
    datetime: str | None,
    geometry: str | None,
    bands: list[str],
) -> pl.DataFrame:
    """Return the table with its record columns in their names and dtypes; other columns follow unchanged."""
    if id not in table.columns:
        raise UsageError(f"id={id!r}: the table has no such column; it has {', '.join(table.columns)}")
    ids = table[id]
    if not (ids.dtype == pl.String or ids.dtype.is_integer() or isinstance(ids.dtype, pl.Categorical | pl.Enum)):
        raise UsageError(f"column {id!r} is {ids.dtype}; expected ids as String (or integers)")
    known: dict[str, pl.Series] = {"id": ids.cast(pl.String)}
    moved = {id}
    for name, column in (("datetime", datetime), ("geometry", geometry)):
        if column is None:
            continue
        if column not in table.columns:
            if column != name:
                raise UsageError(f"{name}={column!r}: the table has no such column; it has {', '.join(table.columns)}")
            continue
        moved.add(column)
        known[name] = times_of_column(table[column], name=column) if name == "datetime" else _wkb(table[column])
    for name in ("start_datetime", "end_datetime"):
        if name in table.columns and name not in moved:
            known[name] = times_of_column(table[name], name=name)
    for name, dtype in RECORD_COLUMNS.items():
        if name in known or name not in table.columns or name in moved or dtype == TIME:
            continue
        column_dtype = table[name].dtype
        if name == "bbox":
            if isinstance(column_dtype, pl.Struct) and [f.name for f in column_dtype.fields] == [
                f.name for f in BBOX.fields
            ]:
                known[name] = table[name].cast(BBOX)
        elif name in ("collection", "proj:code", "proj:epsg"):
            known[name] = table[name].cast(dtype)
    extra = [
        table[name] for name in table.columns if name not in moved and name not in RECORD_COLUMNS and name not in bands
    ]
    return pl.DataFrame([*(column.rename(name) for name, column in known.items()), *extra])


def _wkb(column: pl.Series) -> pl.Series:
    """Return WKB in longitude and latitude, from WKB, EWKB (whose SRID counts) or geoarrow (whose CRS counts)."""
    crs = geometry_crs(column.dtype)
    if column.dtype == pl.Null:
        return column.cast(pl.Binary)
    geometries = parsed(wkb_array(column, crs or LONLAT))
    if crs is None and (codes := {int(code) for code in shapely.get_srid(geometries)} - {0, -1}):  # -1: null
        if len(codes) > 1:
            raise UsageError(f"column {column.name!r} mixes the SRIDs {sorted(codes)}; bring its geometries to one CRS")
        crs = normalize_crs(codes.pop())
    present = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    if crs is not None and crs not in LONLAT_NAMES:
        geometries = geometries.copy()
        geometries[present] = [lonlat_geometry(one, crs) for one in geometries[present]]
    west, south, east, north = shapely.total_bounds(geometries[present]).tolist() if present.any() else (0, 0, 0, 0)
    if not (west >= -360 and east <= 360 and south >= -90 and north <= 90):
        raise UsageError(
            f"column {column.name!r} reaches over {west:g} {south:g} {east:g} {north:g}; expected footprints in longitude and "
            "latitude, or a geoarrow column or EWKB that tells its CRS"
        )
    return pl.Series(column.name, list(shapely.to_wkb(geometries, include_srid=False)), dtype=pl.Binary)
