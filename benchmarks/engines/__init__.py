"""One driver per engine; `NAMES` says where each one is, in the order of the tables.

``before`` is our driver with the package of another checkout (``run.py --against``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from engines.interface import Engine

NAMES = {
    "ours": "engines.ours",
    "ours-engine": "engines.ours_engine",
    "before": "engines.ours",
    "rasterio": "engines.rasterio_engine",
    "async-geotiff": "engines.async_geotiff_engine",
    "rasteret": "engines.rasteret_engine",
}
PEERS = ("rasterio", "async-geotiff", "rasteret")


def load(name: str) -> Engine:
    """Import a driver; ImportError where its package is not installed."""
    return cast("Engine", importlib.import_module(NAMES[name]))
