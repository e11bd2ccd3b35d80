"""Does each line of the tables for those who come from other libraries run?

What the lines give is compared where each verb is tested; lines of rasteret are in `test_from_rasteret.py`.
"""

from __future__ import annotations

import re
import shutil

import polars as pl
import pytest
import xarray as xr

from polars_rasteret.errors import RasteretError
from tests.support.site_pages import DOCS, ROOT, snippets

LIBRARIES = ("rasterio", "odc-stac", "rasterstats", "earth-engine")
ROW = re.compile(r"^\| (.+?) \| (.+?) \| ", re.MULTILINE)


def lines(library: str) -> list[str]:
    """Give the code in the second column of each row."""
    text = (DOCS / "coming-from" / f"{library}.md").read_text()
    return [code for left, right in ROW.findall(text) if left != "---" for code in re.findall(r"`([^`]+\))`", right)]


@pytest.fixture(scope="module", params=LIBRARIES)
def page(request, tmp_path_factory):
    """A page: its lines, and the names that its snippets make in a folder with the example data."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(ROOT / "examples" / "data", folder / "examples" / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names: dict = {}
        for code, _ in snippets(DOCS / "coming-from" / f"{request.param}.md"):
            exec(compile(code, request.param, "exec"), names)
        yield lines(request.param), names


def test_each_line_of_the_table_runs(page):
    codes, names = page
    assert len(codes) >= 12
    failed = []
    for code in codes:
        try:
            found = eval(compile(code, code, "eval"), names)
        except (RasteretError, NameError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
            failed.append((code, error))
            continue
        if isinstance(found, xr.Dataset):
            found.load()
        elif isinstance(found, pl.LazyFrame):
            assert found.collect().height > 0, code
        elif code.startswith("pr.options("):
            with found:  # after the block, options are as before
                pass
        elif isinstance(found, pl.DataFrame):
            assert found.height > 0, code
    assert failed == []
