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
    """Read GDAL_NODATA for pixels of `dtype`; None where no pixel can equal it or the text is no number."""
    text = text.strip()
    if not text:
        return None
    # The C library of old Windows compilers writes 1.#INF, -1.#IND, 1.#QNAN.
    text = re.sub(
        r"^([+-]?)1\.#(INF|IND|QNAN|SNAN).*", lambda found: f"{found[1]}{'inf' if found[2] == 'INF' else 'nan'}", text
    )
    try:
        value: int | float = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return None
    if dtype.kind == "f":
        return _float_nodata(float(value), dtype)
    if isinstance(value, float):
        if not math.isfinite(value) or not value.is_integer():
            return None
        value = int(value)
    limits = np.iinfo(dtype)
    return value if limits.min <= value <= limits.max else None


def _float_nodata(value: float, dtype: np.dtype[Any]) -> float | None:
    if dtype.itemsize < 8 and math.isfinite(value):
        largest = float(np.finfo(dtype).max)
        if abs(value) > largest:
            # Decimal digits of the largest float32, rounded up by the program that wrote them.
            return math.copysign(largest, value) if abs(value) <= largest * (1 + 1e-6) else None
        return float(dtype.type(value))
    return value
