"""Do the snippets of README and of the pages of the site run, and do they print what the pages say?

Every page is run by itself, in a folder with the example data alone, from its first snippet to its last.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from importlib.util import find_spec

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support.site_pages import DOCS, ROOT, snippets, text_of
from tests.support.stac_server import StacServer

API = "https://earth-search.aws.element84.com/v1"
LIBRARIES = {"torchgeo": "torchgeo", "torch": "torch"}  # `.ci/run torch` runs their snippets where PyTorch can be had


PAGES = {
    str(path.relative_to(ROOT)): snippets(path)
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if "parts" not in path.parts
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    process_scheduler().clear_cache()  # pages count requests
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(code: str, page: str, names: dict) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pl.Config(tbl_width_chars=120):
        exec(compile(code, page, "exec"), names)
    return out.getvalue()


@pytest.fixture
def api():
    """A STAC API that stands in for the one of the page of STAC."""
    pr.testing.example_scenes()
    items = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "sentinel-2-l2a",
            "geometry": {"type": "Point", "coordinates": [9.001, 45.15]},
            "properties": {"datetime": f"2024-0{month}-01T10:00:00Z", "eo:cloud_cover": 3},
            "assets": {band: {"href": f"memory://example-scenes/{name}.tif"} for band in ("red", "nir")},
        }
        for name, month in (("first", 5), ("second", 6))
    ]
    with StacServer(items) as server:
        yield server


def test_readme_and_the_pages_of_tasks_have_snippets():
    assert sum(page.startswith("docs/guide/") and bool(found) for page, found in PAGES.items()) >= 13
    assert len(PAGES["README.md"]) >= 1
    assert any(API in code for code, _ in PAGES["docs/guide/stac.md"])
    for page, found in PAGES.items():
        assert len(found) == text_of(ROOT / page).count("```python"), f"{page} has a block that is not found"


@pytest.mark.parametrize("page", [page for page, found in PAGES.items() if found])
def test_every_snippet_runs_and_prints_what_its_page_says(page, folder, api):
    assert [path.name for path in folder.iterdir()] == ["examples"]
    names: dict = {}
    for code, expected in PAGES[page]:
        needs = next((module for word, module in LIBRARIES.items() if word in code), None)
        if needs is not None and find_spec(needs) is None:
            continue
        output = printed(code.replace(API, api.url), page, names)
        if expected is not None:
            assert output.rstrip() == expected.rstrip(), code
