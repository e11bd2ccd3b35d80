"""Do all real items become rows with the bands, hrefs and CRSs that pystac reads, and does rustac's API give what it should?"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from pystac.extensions.projection import ProjectionExtension
from shapely.geometry import shape

import polars_rasteret.stac.api_search as module
from polars_rasteret.stac.build_from_stac import tables_of
from polars_rasteret.stac.item_sources import pages_of
from polars_rasteret.stac.items import items_of
from polars_rasteret.stac.page_tables import PLANE, PageTables, bands_of
from polars_rasteret.stac.search_words import search_of
from tests.support.stac_items import FILES, FOLDER, REFUSED

QUALITY = {"cloud", "cloud-shadow", "snow-ice", "water-mask", "saturation", "data-mask"}
PICTURES = {"thumbnail", "overview", "visual"}

pytestmark = pytest.mark.skipif(not FILES, reason="the real items of ../shared/data/stac are not there")


def raw_items(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_bytes())
    found = content if isinstance(content, list) else content.get("features", [content])
    return [one for one in found if one.get("type") == "Feature"]


def is_data(key: str, asset: pystac.Asset) -> bool:
    """Say by the words of the documentation whether an asset is taken without being named."""
    kind = asset.media_type or ""
    is_tiff = kind.startswith(("image/tiff", "image/vnd.stac.geotiff")) or (
        not kind and bool(re.search(r"\.tiff?$", asset.href.split("?")[0], re.IGNORECASE))
    )
    roles = set(asset.roles or [])
    return is_tiff and not (roles or {key}) & PICTURES and (not roles or bool(roles & ({"data"} | QUALITY)))


def n_bands(asset: pystac.Asset) -> int:
    lists = [asset.extra_fields.get(name) or [] for name in ("bands", "eo:bands", "raster:bands")]
    return max(1, *map(len, lists))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_bands_hrefs_and_crs_are_those_of_pystac(path: Path) -> None:
    pages = PageTables()
    raw = raw_items(path)
    pages.catalogued.planes = lambda _item, _one: None  # the bands of the catalog are tested with the catalog
    table = pages.of_page(items_of(path))
    if path.name in REFUSED:
        assert pages.refused.total() == 1
        assert not raw
        return
    assert not pages.refused
    assert pages.n_items == len(raw)
    rows = dict(zip(table.frame["id"], table.frame.iter_rows(named=True), strict=True))
    checked = 0
    for one in raw:
        assets = one.get("assets") or {}
        if not assets or one.get("geometry") is None:
            continue  # an answer to `fields`, which pystac does not read
        item = pystac.Item.from_dict(json.loads(json.dumps(one)), preserve_dict=False)
        if item.get_self_href() is None:
            item.set_self_href(str(path))
        expected = {}
        for key, asset in item.assets.items():
            if is_data(key, asset):
                count = n_bands(asset)
                expected |= {f"{key}.{n + 1}": (key, n) for n in range(count)} if count > 1 else {key: (key, 0)}
        row = rows.get(item.id)
        found = (
            {} if row is None else {band: row[f"{PLANE}{band}"] for band in bands_of(table) if row[f"{PLANE}{band}"]}
        )
        assert found.keys() == expected.keys()
        for band, (key, index) in expected.items():
            asset = item.assets[key]
            assert found[band]["href"] == re.sub(r"\?s[a-z]=.*", "", asset.get_absolute_href())
            assert found[band]["band_index"] == index
            projection = ProjectionExtension.ext(asset, add_if_missing=True)
            stated = projection.code or projection.wkt2 or projection.projjson
            assert (found[band]["crs"] is None) == (stated is None)
            if stated is not None:
                text = found[band]["crs"]
                assert (json.loads(text) if text.startswith("{") else text) == stated
            checked += 1
    assert checked or path.name in {
        "pystac__optional-epsg.json",
        "stac-spec__simple-item.json",
        "stac-spec__collectionless-item.json",
        "stac-spec__core-item.json",
        "stac-spec__extended-item.json",
        "rustac-py__extended-item.json",
        "rustac-py__invalid-item.json",
    } | {one.name for one in FILES if not any((item.get("assets") and item.get("geometry")) for item in raw_items(one))}


@pytest.fixture(scope="module")
def rustac(tmp_path_factory):
    """The API of rustac, in memory, over items that it takes; their ids are unique."""
    package = pytest.importorskip("rustac")
    items: dict[str, dict[str, Any]] = {}
    for path in FILES:
        for one in raw_items(path):
            if one.get("geometry") and one.get("stac_version", "").startswith("1.") and one.get("collection"):
                items.setdefault(one["id"], one)
    place = tmp_path_factory.mktemp("rustac") / "items.json"
    place.write_text(json.dumps({"type": "FeatureCollection", "features": list(items.values())}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("rustac", path=sysconfig.get_path("scripts")) or str(
        Path(package.__file__).parents[4] / "bin" / "rustac"
    )
    command = [
        program,
        "serve",
        "--addr",
        f"127.0.0.1:{port}",
        "--use-duckdb",
        "false",
        "--create-collections",
        str(place),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url, items
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_api_of_another_make_is_paged_and_filtered(rustac, method, monkeypatch: pytest.MonkeyPatch) -> None:
    url, items = rustac
    monkeypatch.setattr(module, "ITEMS_PER_PAGE", 7)
    links = module._links
    monkeypatch.setattr(
        module,
        "_links",
        lambda page, rel: [one for one in links(page, rel) if rel != "search" or one.get("method") == method],
    )

    def found(**words: Any) -> list[str]:
        taken = pages_of(url, search_of(**words))
        return sorted(item["id"] for page in taken.items for item in page.items)

    def expected(test: Any) -> list[str]:
        return sorted(name for name, one in items.items() if test(one))

    assert found() == sorted(items)
    assert len(items) > 30
    box = (-125.0, 30.0, -80.0, 50.0)
    assert found(bbox=box) == expected(lambda one: shapely.box(*box).intersects(shape(one["geometry"])))
    some = sorted(items)[3:9]
    assert found(ids=some) == some
    names = sorted({one["collection"] for one in items.values()})[:2]
    assert found(collections=names) == expected(lambda one: one["collection"] in names)
    year = found(datetime="2020")
    assert year == expected(
        lambda one: (
            (one["properties"].get("start_datetime") or one["properties"]["datetime"])[:4] <= "2020"
            and (one["properties"].get("end_datetime") or one["properties"]["datetime"])[:4] >= "2020"
        )
    )
    assert 0 < len(year) < len(items)


def test_recorded_pages_are_read_as_an_api_sends_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in FOLDER.glob("api/*FeatureCollection.json"):
            pages = PageTables()
            tables = list(tables_of(json.loads(path.read_bytes()), search_of(), pages))
            assert pages.n_items == len(raw_items(path))
            assert sum(table.frame.height for table in tables) == pages.n_items - pages.n_without_bands
