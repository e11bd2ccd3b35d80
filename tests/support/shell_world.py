"""Names of what the folder holds in which commands are tried."""

from __future__ import annotations

from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
CALIFORNIA = "m_3211605_ne_11_060_20200415.tif"
FLORIDA = "m_3008501_ne_16_1_20110815.tif"
BANDS = ["R", "G", "B", "NIR"]
POINTS = pl.DataFrame(
    {
        "name": ["a", "b", "c"],
        "lon": [-116.3821188410665, -116.38184282975767, 10.0],
        "lat": [32.972069602791954, 32.97206823698369, 45.0],
    }
)
