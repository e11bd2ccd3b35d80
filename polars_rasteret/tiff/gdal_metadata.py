"""Which scale, offset, description, colour and nodata do GDAL's own tags give for the bands of a TIFF?

The tags are GDAL_METADATA (42112, XML) and GDAL_NODATA (42113, text). Malformed metadata is ignored, as in GDAL.
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
    """Notes of GDAL_METADATA by 0-based band; a band without a note has no entry."""

    scale: dict[int, float] = field(default_factory=dict)
    offset: dict[int, float] = field(default_factory=dict)
    description: dict[int, str] = field(default_factory=dict)
    color: dict[int, str] = field(default_factory=dict)
    """Colour such as ``Red`` or ``Alpha``, for bands whose colour TIFF's own tags cannot express."""


def band_notes(text: str) -> BandNotes:
    """Return the items of GDAL_METADATA whose role is scale, offset, description or colour, by 0-based band."""
    notes = BandNotes()
    # XML entities could expand without limit; GDAL writes none.
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
    """Return the value of GDAL_NODATA for pixels of `dtype`; None when no pixel can equal the value.

    As in GDAL 3.10: the leading number counts, whatever follows, and a text without a number means 0. For integers of 8 bytes
    the text is read as a whole number and limited to the dtype. For all other dtypes the text is read as a double, which is cut
    to a whole number or rounded to the dtype.
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
    """Return the whole number at the beginning of a text, as C's strtoll and strtoull read it: negative unsigned ones wrap."""
    found = _WHOLE.match(text)
    if found is None:
        return 0
    # Numbers of more than 40 digits are beyond the limits in any case, and Python refuses to convert very long ones.
    size = int(found[2][:40])
    value = -size if found[1] == "-" else size
    least, most = int(limits.min), int(limits.max)
    if least == 0:
        return value % (most + 1) if size <= most else most
    return min(max(value, least), most)


def _leading_double(text: str) -> float:
    text = text.lstrip(" \t\n\r")
    # First the forms that old Windows C libraries write, then the words that GDAL accepts.
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
