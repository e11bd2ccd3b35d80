"""Which facts about bands does a dataset state: where each is, what its numbers mean, which pixels are clear?

Small values, checked when they are made. Which dataset they belong to is not known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import polars as pl

from polars_rasteret.errors import UsageError

_Fact = TypeVar("_Fact")

_MOST_BITS = 64
_MOST_BANDS = 65_536
_NUMBER_IN_TEXT = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSource:
    """Where the pixels of a band are: in which asset of an item (or column of hrefs of a table), at which place in the file."""

    asset: str
    """Key of a STAC asset, or name of a column of hrefs."""
    index: int = 0
    """Place of the band in its file, counted from 0."""

    def __post_init__(self) -> None:
        if not isinstance(self.asset, str) or not self.asset:
            raise UsageError(f"asset is {self.asset!r}; expected the key of an asset, or the name of a column of hrefs")
        if not _is_whole(self.index) or not 0 <= self.index < _MOST_BANDS:
            raise UsageError(f"index is {self.index!r}; expected the place of the band in its file, counted from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """What the numbers of some bands mean, where neither an item nor its assets state it.

    With `property` the rule counts for items whose property is `at_least` (or `below`) a version number, like ``"04.00"``.

    Examples
    --------
    >>> rule = ValueRule(bands=("B*",), property="s2:processing_baseline", at_least="04.00", scale=1e-4, offset=-0.1)
    >>> rule.holds("B8A", {"s2:processing_baseline": "05.11"}), rule.holds("B8A", {"s2:processing_baseline": "03.01"})
    (True, False)
    >>> rule.holds("SCL", {"s2:processing_baseline": "05.11"}), rule.holds("B04", {})
    (False, False)
    """

    bands: tuple[str, ...]
    """Names of bands; ``*`` stands for any characters."""
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    property: str | None = None
    at_least: str | None = None
    below: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", _texts(self.bands, "bands", "names of bands, like ['B*']"))
        for name in ("nodata", "scale", "offset"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and (name == "nodata" or math.isfinite(value))):
                raise UsageError(f"{name} is {value!r}; expected a number")
        if self.nodata is None and self.scale is None and self.offset is None:
            raise UsageError("the rule states nothing; expected nodata, scale or offset")
        limits = [one for one in (self.at_least, self.below) if one is not None]
        if (self.property is None) != (not limits):
            raise UsageError("property and at_least (or below) belong together; give both or neither")
        if not all(isinstance(one, str) and version_of(one) is not None for one in limits):
            raise UsageError(f"at_least or below is {limits!r}; expected a version as text, like '04.00'")

    def holds_for(self, band: str) -> bool:
        """Return whether the rule may count for a band, whatever the properties of its item."""
        return any(fnmatchcase(band, one) for one in self.bands)

    def holds(self, band: str, properties: Mapping[str, Any]) -> bool:
        """Return whether the rule counts for a band of an item with these properties."""
        if not self.holds_for(band):
            return False
        if self.property is None:
            return True
        version = version_of(properties.get(self.property))
        if version is None:
            return False
        least, most = version_of(self.at_least), version_of(self.below)
        return (least is None or version >= least) and (most is None or version < most)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitTest:
    """A number that some bits of a quality band must have."""

    first: int
    count: int = 1
    equals: int

    def __post_init__(self) -> None:
        whole = all(map(_is_whole, (self.first, self.count, self.equals)))
        if not whole or self.first < 0 or self.count < 1 or self.first + self.count > _MOST_BITS:
            raise UsageError(f"bits are {self!r}; expected first (0 or more) and count (1 or more), below 64 together")
        if not 0 <= self.equals < 2**self.count:
            raise UsageError(f"equals is {self.equals}; {self.count} bit(s) hold 0 to {2**self.count - 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearRule:
    """Which values of a quality band mean that a pixel is clear: one of `values`, or all of `bits`."""

    band: str
    values: tuple[int, ...] = ()
    bits: tuple[BitTest, ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.band, str) or not self.band:
            raise UsageError(f"band is {self.band!r}; expected the name of a band")
        for name in ("values", "bits"):
            if isinstance(getattr(self, name), str) or not isinstance(getattr(self, name), Sequence):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected a list")
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "bits", tuple(fact_of(BitTest, one, "bit test") for one in self.bits))
        if not all(map(_is_whole, self.values)):
            raise UsageError(f"values is {self.values!r}; expected whole numbers")
        if bool(self.values) == bool(self.bits):
            raise UsageError("expected either values or bits that mean a clear pixel")

    @property
    def expression(self) -> pl.Expr:
        """The rule as an expression over the raw values of its band."""
        band = pl.col(self.band)
        if self.values:
            return band.is_in(list(self.values))
        tests = [(band // 2**one.first) & pl.lit(2**one.count - 1) == one.equals for one in self.bits]
        return pl.all_horizontal(tests) if len(tests) > 1 else tests[0]


def fact_of(kind: type[_Fact], value: Any, what: str) -> _Fact:
    """Return a fact of a class, made of a mapping of its fields where it is one.

    Raises
    ------
    UsageError
        When `value` is neither, or the mapping has a field that the class does not have, or lacks one.

    Examples
    --------
    >>> fact_of(BandSource, {"asset": "image", "index": 3}, "band 'nir'")
    BandSource(asset='image', index=3)
    """
    if isinstance(value, kind):
        return value
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is {value!r}; expected {', '.join(known)}")
    if unknown := [str(name) for name in value if name not in known]:
        raise UsageError(f"{what} has {', '.join(unknown)}; expected some of {', '.join(known)}")
    try:
        return kind(**value)
    except TypeError as error:
        raise UsageError(f"{what} is {dict(value)!r}, which lacks a field of {', '.join(known)}") from error


def version_of(text: Any) -> tuple[int, ...] | None:
    """Return the numbers of a version as text; None where it is none.

    Examples
    --------
    >>> version_of("05.11"), version_of("2.0.0"), version_of(None)
    ((5, 11), (2, 0, 0), None)
    """
    numbers = _NUMBER_IN_TEXT.findall(text) if isinstance(text, str) else []
    return tuple(map(int, numbers)) or None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Any, name: str, expected: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise UsageError(f"{name} is {value!r}; expected {expected}")
    if not all(isinstance(one, str) and one for one in value):
        raise UsageError(f"{name} is {value!r}; expected {expected}")
    return tuple(value)
