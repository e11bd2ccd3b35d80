"""Which facts does the catalog have about one dataset?

A value that is checked when it is made, whether it comes from a file or from a caller. How it is written into a file is not
known here.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from polars_rasteret.catalog.band_facts import BandSource, ClearRule, ValueRule, fact_of
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

Auth = Literal["none", "requester_pays", "planetary_computer", "earthdata", "credentials"]
"""What the files of a dataset ask of a reader. ``"planetary_computer"``: a token that everybody gets."""

PLACES = ("api", "catalog", "items", "table", "path", "data")
"""Fields that say where a dataset is catalogued; a dataset has one of them."""
TABLE_COLUMNS = ("id", "datetime", "geometry", "bbox", "start_datetime", "end_datetime", "collection", "proj:epsg")
"""Record columns that `DatasetDescriptor.columns` may map."""
_ID = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)*")
_REGION = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescriptor:
    """The facts about one dataset of the catalog, checked when they are given.

    Exactly one of `api`, `catalog`, `items`, `table`, `path` and `data` says where the dataset is catalogued.

    Parameters
    ----------
    id
        Words of letters, digits and single ``. _ -``, joined by ``/``: ``"earthsearch/sentinel-2-l2a"``.
    title, description
        Words for people.
    api, catalog, items
        URL of a STAC API; URL or path of a static STAC catalog; STAC items as GeoParquet.
    table
        Parquet table with a row per record and hrefs in columns.
    path
        A collection that is built: of this package or of rasteret.
    data, index
        Folder of a collection of rasteret, and the Parquet table that says which records it holds.
    collection, collection_aliases
        Id of the STAC collection, and ids that it had before.
    bands
        Band to where it is: the key of an asset (its first band), or ``(asset, 0-based band index)``. Of a `table` or `index`
        the asset is a column of hrefs.
    columns
        Record column (``id``, ``datetime``, ``geometry``, ``bbox``, ...) to the column of `table` or `index` that holds it.
    rewrite
        Beginnings of hrefs to what stands in their place.
    alternate
        Name of the alternate href that is read, such as ``"s3"``.
    auth
        What reading the files asks for: ``"none"``, ``"requester_pays"``, ``"planetary_computer"`` (a token that everybody
        gets), ``"earthdata"`` or ``"credentials"`` (of the owner).
    requires_account
        Whether the token may be given to subscribers only (Planetary Computer).
    credentials_url
        Where temporary keys are given (NASA Earthdata).
    regions
        Bucket, as ``"s3://name/"``, to its region.
    license, license_url, commercial_use
        Terms of use; None: unknown.
    temporal_extent
        First and last day, as dates or ISO 8601 text; None or ``""`` is open or unknown.
    spatial_extent
        ``(xmin, ymin, xmax, ymax)`` in longitude and latitude; None: unknown, or the whole Earth.
    coverage
        The place in words: ``"global"``.
    clear
        Which values of a quality band mean a clear pixel: ``{"band": "SCL", "values": [4, 5, 6]}``, or bits,
        ``{"band": "QA", "bits": [{"first": 6, "count": 1, "equals": 1}]}``.
    rules
        What pixel values mean where items do not state it: ``[{"bands": ["B*"], "scale": 0.0001, "offset": -0.1,
        "property": "s2:processing_baseline", "at_least": "04.00"}]``; the first rule that holds counts, field by field.
    notes
        What a user should know before trusting the pixels.
    example_bbox, example_datetime
        A small question that has an answer.

    Raises
    ------
    UsageError
        When a field does not hold what it must; the message names dataset and field.

    Examples
    --------
    >>> fields = DatasetDescriptor(
    ...     id="mine/fields", title="Fields", api="https://stac.example.org/v1", collection="fields",
    ...     bands={"red": "B04", "nir": ("image", 3)}, clear={"band": "red", "values": [1]},
    ... )
    >>> fields.bands["nir"]
    BandSource(asset='image', index=3)
    >>> DatasetDescriptor(id="mine/fields", title="Fields")
    Traceback (most recent call last):
        ...
    polars_rasteret.errors.UsageError: dataset 'mine/fields': nothing says where it is catalogued; expected one of api, ...
    """

    id: str
    title: str
    description: str = ""
    api: str | None = None
    catalog: str | None = None
    items: str | None = None
    table: str | None = None
    path: str | None = None
    data: str | None = None
    index: str | None = None
    collection: str | None = None
    collection_aliases: Sequence[str] = ()
    # Any: several forms are taken, and kept in the first one that the comment names.
    bands: Mapping[str, Any] = field(default_factory=dict)  # of BandSource
    columns: Mapping[str, str] = field(default_factory=dict)
    rewrite: Mapping[str, str] = field(default_factory=dict)
    alternate: str | None = None
    auth: Auth = "none"
    requires_account: bool = False
    credentials_url: str | None = None
    regions: Mapping[str, str] = field(default_factory=dict)
    license: str = ""
    license_url: str = ""
    commercial_use: bool | None = None
    temporal_extent: Any = (None, None)  # (date | None, date | None)
    spatial_extent: tuple[float, float, float, float] | None = None
    coverage: str = ""
    clear: Any = None  # ClearRule | None
    rules: Sequence[Any] = ()  # tuple of ValueRule
    notes: Sequence[str] = ()
    example_bbox: tuple[float, float, float, float] | None = None
    example_datetime: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise UsageError(
                f"dataset id is {self.id!r}; expected words of letters, digits and single '.', '_' or '-', joined by '/', like "
                "'earthsearch/sentinel-2-l2a'"
            )
        for name, check in _CHECKS.items():
            try:
                object.__setattr__(self, name, check(getattr(self, name)))
            except UsageError as error:
                raise UsageError(f"dataset {self.id!r}: field {name!r}: {error}") from error
        self._check_together()

    def _check_together(self) -> None:
        places = [name for name in PLACES if getattr(self, name) is not None]
        if not places:
            self._refuse(f"nothing says where it is catalogued; expected one of {', '.join(PLACES)}")
        if len(places) > 1:
            self._refuse(f"{' and '.join(places)} both say where it is catalogued; keep one")
        if (self.index is None) != (self.data is None):
            self._refuse("data and index belong together; give both or neither")
        if self.api is not None and self.collection is None:
            self._refuse("field 'collection': a STAC API has many collections; name one")
        if not self.bands and self.path is None:
            self._refuse("field 'bands': expected at least one band, like {'red': 'B04'}")
        if self.clear is not None and self.bands and self.clear.band not in self.bands:
            self._refuse(f"field 'clear': band {self.clear.band!r} is none of {', '.join(self.bands)}")
        first, last = self.temporal_extent
        if first is not None and last is not None and first > last:
            self._refuse(f"field 'temporal_extent': {first} to {last} ends before it starts")

    def _refuse(self, why: str) -> None:
        raise UsageError(f"dataset {self.id!r}: {why}")

    @property
    def place(self) -> str:
        """Which of `PLACES` says where the dataset is catalogued."""
        return next(name for name in PLACES if getattr(self, name) is not None)

    @property
    def collections(self) -> tuple[str, ...]:
        """The ids of the STAC collection, the present one first."""
        return () if self.collection is None else (self.collection, *self.collection_aliases)


FIELDS = tuple(one.name for one in fields(DatasetDescriptor))
"""Fields of a descriptor, in their order."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"expected text, got {value!r}")
    return value


def _title(value: Any) -> str:
    if not _text(value).strip():
        raise UsageError("expected a title, got nothing")
    return str(value)


def _optional_text(value: Any) -> str | None:
    return None if value is None else _title(value)


def _place(value: Any) -> str | None:
    if value is None:
        return None
    if shown(_title(value)) != value:
        raise UsageError(
            f"{shown(value)!r} comes with a query, a user or a fragment, which may hold a key; keep keys in pr.configure_store"
        )
    return str(value)


def _url(value: Any) -> str | None:
    if value is not None and not str(_place(value)).startswith(("https://", "http://")):
        raise UsageError(f"expected a URL (https://...), got {value!r}")
    return None if value is None else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"expected a list of texts, got {value!r}")
    return tuple(_title(one) for one in value)


def _bands(value: Any) -> dict[str, BandSource]:
    if not isinstance(value, Mapping):
        raise UsageError(f"expected bands and their assets, like {{'red': 'B04'}}, got {value!r}")
    bands: dict[str, BandSource] = {}
    for name, source in value.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"a band is named {name!r}; expected text")
        given: Any = source
        if isinstance(source, str):
            given = {"asset": source}
        elif isinstance(source, tuple | list) and len(source) == 2:
            given = {"asset": source[0], "index": source[1]}
        bands[name] = fact_of(BandSource, given, f"band {name!r}")
    return bands


def _text_map(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UsageError(f"expected texts by name, got {value!r}")
    return {_title(name): _text(one) for name, one in value.items()}


def _columns(value: Any) -> dict[str, str]:
    columns = _text_map(value)
    if unknown := [name for name in columns if name not in TABLE_COLUMNS]:
        raise UsageError(f"{', '.join(unknown)} is no record column; expected some of {', '.join(TABLE_COLUMNS)}")
    return columns


def _rewrite(value: Any) -> dict[str, str]:
    return {str(_place(before)): "" if not after else str(_place(after)) for before, after in _text_map(value).items()}


def _regions(value: Any) -> dict[str, str]:
    regions = _text_map(value)
    for bucket, region in regions.items():
        if not re.fullmatch(r"s3://[a-z0-9.-]+/", bucket) or not _REGION.fullmatch(region):
            raise UsageError(
                f"{bucket!r}: {region!r} is no bucket and its region; expected 's3://name/' and 'us-west-2'"
            )
    return regions


def _choice(*choices: str | None) -> Any:
    def check(value: Any) -> Any:
        if value not in choices:
            raise UsageError(f"expected one of {', '.join(repr(one) for one in choices if one)}, got {value!r}")
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"expected true or false, got {value!r}")
    return value


def _days(value: Any) -> tuple[dt.date | None, dt.date | None]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise UsageError(f"expected first and last day, like ['2015-06-23', ''], got {value!r}")
    return _day(value[0]), _day(value[1])


def _day(value: Any) -> dt.date | None:
    if value is None or value == "":
        return None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected a day, like '2015-06-23', or '' for an open end, got {value!r}") from error


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(numbers) != 4 or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in numbers
    ):
        raise UsageError(f"expected (xmin, ymin, xmax, ymax) in degrees, got {value!r}")
    xmin, ymin, xmax, ymax = map(float, numbers)
    if not (-180 <= xmin <= 180 and -180 <= xmax <= 180 and -90 <= ymin <= ymax <= 90):
        raise UsageError(f"expected longitudes in -180..180 and latitudes in -90..90, ymin first, got {value!r}")
    return xmin, ymin, xmax, ymax


def _clear(value: Any) -> ClearRule | None:
    return None if value is None else fact_of(ClearRule, value, "the rule")


def _rules(value: Any) -> tuple[ValueRule, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"expected a list of rules, got {value!r}")
    return tuple(fact_of(ValueRule, one, f"rule {number}") for number, one in enumerate(value, start=1))


_CHECKS: dict[str, Any] = {
    "title": _title,
    "description": _text,
    "api": _url,
    "catalog": _place,
    "items": _place,
    "table": _place,
    "path": _place,
    "data": _place,
    "index": _place,
    "collection": _optional_text,
    "collection_aliases": _texts,
    "bands": _bands,
    "columns": _columns,
    "rewrite": _rewrite,
    "alternate": _optional_text,
    "auth": _choice(*get_args(Auth)),
    "requires_account": _boolean,
    "credentials_url": _url,
    "regions": _regions,
    "license": _text,
    "license_url": _text,
    "commercial_use": lambda value: None if value is None else _boolean(value),
    "temporal_extent": _days,
    "spatial_extent": _box,
    "coverage": _text,
    "clear": _clear,
    "rules": _rules,
    "notes": _texts,
    "example_bbox": _box,
    "example_datetime": _optional_text,
}
"""Field to the function that checks it, and returns it in the form in which it is kept."""
