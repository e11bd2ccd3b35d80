"""Which files of items lie beside the project, and which bands do items have?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars_rasteret.stac.asset_bands import BandChoice, Plane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(__file__).resolve().parents[3] / "shared/data/stac"
FILES = sorted(FOLDER.glob("*json")) + sorted(FOLDER.glob("api/*json"))
REFUSED = {
    "cop-dem__collection.json": "Collection",
    "landsat__collection.json": "Collection",
    "odc-stac__sentinel-2-l2a.collection.json": "Collection",
    "psc_test_get_item_1_Collection.json": "Collection",
    "stac-spec__collection.json": "Collection",
    "stac-spec__catalog.json": "Catalog",
}
"""Every file that holds no item, with what it is."""


def bands_of_items(
    items: Sequence[Mapping[str, Any]], bands: Sequence[str] | Mapping[str, str] | None
) -> dict[str, list[Plane | None]]:
    """Give, per band name, the plane of each item, as a build of one page chooses them."""
    choice = BandChoice(bands)
    planes = choice.of_items(items)
    choice.refuse_missing()
    return planes
