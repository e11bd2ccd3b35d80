"""What does GDAL say about bands beyond TIFF: scale, offset, description, nodata?

Reads GDAL_METADATA (tag 42112, XML) and GDAL_NODATA (tag 42113, text). Malformed metadata is ignored, as GDAL does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import unescape

import numpy as np

_MAX_TEXT = 1 << 24
_NUMBER = re.compile(r"-?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class BandNotes:
    """Per band: None where the file says nothing."""

    scale: dict[int, float] = field(default_factory=dict)
    offset: dict[int, float] = field(default_factory=dict)
    description: dict[int, str] = field(default_factory=dict)
    color: dict[int, str] = field(default_factory=dict)
    """Such as ``Red`` or ``Alpha``, where TIFF cannot say it."""


def band_notes(text: str) -> BandNotes:
    """Read the items of GDAL_METADATA whose role is scale, offset, description or colour, by 0-based sample."""
    notes = BandNotes()
    # Entities could blow up in memory; GDAL writes none.
    if not text or len(text) > _MAX_TEXT or "<!" in text:
        return notes
    try:
        root = ET.fromstring(text)  # noqa: S314  (no entities, see above)
    except ET.ParseError:
        return notes
    for item in root.iter("Item"):
        role, sample = item.get("role"), item.get("sample")
        if role is None or sample is None or not sample.isdecimal():
            continue
        band, value = int(sample), item.text or ""
        if role == "description":
            # GDAL escapes the text of an item twice.
            notes.description[band] = unescape(value, {"&quot;": '"', "&apos;": "'"})
        elif role == "colorinterp":
            notes.color[band] = value.strip()
        elif role in {"scale", "offset"}:
            try:
                number = float(value)
            except ValueError:
                continue
            (notes.scale if role == "scale" else notes.offset)[band] = number
    return notes


def nodata_of(text: str, dtype: np.dtype[Any]) -> int | float | None:
    """Read GDAL_NODATA for pixels of `dtype`; None where no pixel can equal it.

    As GDAL 3.10 does: the leading number counts, whatever follows it, and a text without one means 0. Integers of
    8 bytes are read as whole numbers, which stop at the limits of the dtype; for all others the number is read as a
    double, and cut to a whole number or rounded to the dtype.
    """
    if not text:
        return None
    if dtype.kind != "f" and dtype.itemsize == 8:
        return _whole(text, np.iinfo(dtype))
    value = _leading_double(text)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    limits = np.iinfo(dtype)
    return int(value) if limits.min <= value <= limits.max else None


def _whole(text: str, limits: Any) -> int:
    """Read a whole number as strtoll and strtoull of C do: unsigned ones wrap where they are negative."""
    found = _WHOLE.match(text)
    if found is None:
        return 0
    # More digits than Python converts are beyond the limits too.
    size = int(found[2][:40])
    value = -size if found[1] == "-" else size
    least, most = int(limits.min), int(limits.max)
    if least == 0:
        return value % (most + 1) if size <= most else most
    return min(max(value, least), most)


def _leading_double(text: str) -> float:
    text = text.lstrip(" \t\n\r")
    # What the C library of old Windows compilers writes, then what GDAL knows as a whole word.
    if text.startswith(("1.#QNAN", "1.#SNAN", "-1.#QNAN", "-1.#IND")):
        return math.nan
    if text.upper().startswith(("1.#INF", "-1.#INF")):
        return -math.inf if text[0] == "-" else math.inf
    unsigned = text.removeprefix("+")
    if unsigned in {"nan", "NaN"}:
        return math.nan
    if unsigned.removeprefix("-") in {"inf", "Inf", "INF", "Infinity"}:
        return -math.inf if unsigned[0] == "-" else math.inf
    found = _NUMBER.match(unsigned)
    return float(found[0].replace(",", ".")) if found else 0.0
