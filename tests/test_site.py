"""Does the site say all that there is: every public name, every page, every file that a page stands for?"""

from __future__ import annotations

import inspect
import re
import runpy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import rasterio

import polars_rasteret as pr
from polars_rasteret.namespaces.expression import RasterExpr
from polars_rasteret.namespaces.frames import RasterLazyFrame

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HOOK = runpy.run_path(str(ROOT / ".ci" / "site_pages.py"))
NAMED = re.compile(r"^::: (\S+)\n    options:\n      heading: (\S+)$", re.MULTILINE)
REFERENCE = [one for path in sorted(DOCS.joinpath("reference").glob("*.md")) for one in NAMED.findall(path.read_text())]


def public() -> dict[str, object]:
    """Give all public names as a reader writes them."""
    modules = {name: getattr(pr, name) for name in pr.__all__ if inspect.ismodule(getattr(pr, name))}
    found = {f"pr.{name}": getattr(pr, name) for name in set(pr.__all__) - set(modules)}
    inner = {f"pr.{at}.{name}": getattr(one, name) for at, one in modules.items() for name in one.__all__}
    found |= {name: one for name, one in inner.items() if not any(one is other for other in found.values())}
    for kind, namespace in (("LazyFrame", RasterLazyFrame), ("Expr", RasterExpr)):
        methods = inspect.getmembers(namespace, inspect.isfunction)
        found |= {f"{kind}.raster.{name}": method for name, method in methods if not name.startswith("_")}
    return found


def object_at(path: str) -> object:
    """Give what a path of the reference names."""
    parts = path.split(".")
    found: object = import_module(parts[0])
    for at, part in enumerate(parts[1:], 1):
        # `polars_rasteret.options` is a module and a name of the package; the reference goes on into the module.
        is_module = at < len(parts) - 1 and part.islower()
        found = import_module(".".join(parts[: at + 1])) if is_module else getattr(found, part)
    return found


def test_the_reference_has_every_public_name_once_and_no_other():
    shown = [heading for _, heading in REFERENCE if not heading.endswith("(...)")]
    assert sorted(shown) == sorted(public()), (
        f"pages of docs/reference lack {public().keys() - set(shown)}, and have {set(shown) - public().keys()} too many"
    )
    answers = {heading.removesuffix("(...)") for _, heading in REFERENCE if heading.endswith("(...)")}
    assert answers <= public().keys()  # "pr.name(...)" shows the class of what the name returns


@pytest.mark.parametrize(
    ("path", "heading"), [one for one in REFERENCE if one[1] != "pr.options" and not one[1].endswith("(...)")]
)
def test_a_heading_of_the_reference_stands_over_the_docstring_of_its_name(path, heading):
    assert object_at(path) is public()[heading]


def test_every_page_is_reached_from_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "parts" not in path.parts}
    assert set(re.findall(r"(\S+\.md)$", text, re.MULTILINE)) == pages


def test_files_of_the_repository_that_a_page_names_are_there():
    named = {
        (str(page.relative_to(DOCS)), path)
        for page in DOCS.rglob("*.md")
        for path in re.findall(r"`((?:tests|benchmarks|examples|docs|\.ci)/[\w./-]+)`", page.read_text())
    }
    assert len({path for _, path in named if path.startswith("tests/")}) > 15
    assert [one for one in named if not (ROOT / one[1]).exists() and "examples/output" not in one[1]] == []


def test_a_page_that_stands_for_a_file_of_the_repository_says_where_its_text_comes():
    for page, file in HOOK["PAGES"].items():
        assert (ROOT / file).is_file()
        (mark,) = HOOK["MARK"].findall((DOCS / page).read_text())
        assert file in mark


def test_the_text_of_a_file_comes_below_the_title_of_its_page():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="benchmarks.md"), meta={})
    shown = HOOK["on_page_markdown"]((DOCS / "benchmarks.md").read_text(), page=page)
    titles = re.findall(r"^# .*", shown, re.MULTILINE)
    assert titles == ["# Benchmarks"]
    for line in (ROOT / "benchmarks" / "RESULTS.md").read_text().splitlines():
        if line.startswith("|"):
            assert line in shown


def test_parameters_that_are_described_together_have_one_entry():
    item = """<li class="doc-section-item field-body">
        <b><code>{}</code></b> (<code>Any</code>) &ndash;
        <div class="doc-md-description"><p>{}</p></div>
    </li>"""
    words = [("x", "Where."), ("y", "Where."), ("crs", "Which."), ("z", "Where.")]
    page = "<ul>" + "\n".join(item.format(*one) for one in words) + "</ul>tail"
    shown = HOOK["on_page_content"](page)
    assert re.findall(r"<p>(.*?)</p>", shown) == ["Where.", "Which.", "Where."]
    assert re.findall(r"<code>(\w+)</code>", shown) == ["x", "y", "crs", "Any", "z", "Any"]
    assert shown.startswith("<ul><li")
    assert shown.endswith("</li></ul>tail")
    assert HOOK["on_page_content"]("<p>none</p>") == "<p>none</p>"


def test_the_drawing_of_a_journey_is_that_of_the_plan_of_today():
    script = runpy.run_path(str(ROOT / ".ci" / "journey_drawing.py"))
    journey = script["travelled"]()
    shown = script["drawing"](journey)
    assert shown == script["DRAWING"].read_text(), "draw it again: python .ci/journey_drawing.py --write"
    # What is drawn as wanted, by the plan, is what the store was asked for, and holds what rasterio says of the pixels.
    wanted = [tile for tile in journey.tiles if tile.is_wanted]
    asked = journey.requests[script["SHOWN"]]
    assert all(any(low <= one.byte_start and one.byte_stop <= high for low, high in asked) for one in wanted)
    assert {one.band for one in wanted} == {"red", "nir"}
    with rasterio.open(pr.example_data() / f"{script['SHOWN']}.tif") as file:
        bands = dict(zip(file.descriptions, file.read(), strict=True))
    for plot, row, col in journey.pixels:
        expected = {band: bands[band][row, col] for band in ("red", "nir")}
        assert journey.answer.row(by_predicate=pl.col("plot") == plot, named=True).items() >= expected.items()
        held = [one.band for one in wanted if one.box[0] <= row < one.box[1] and one.box[2] <= col < one.box[3]]
        assert sorted(held) == ["nir", "red"]


@pytest.mark.parametrize(
    ("link", "source", "page", "wanted"),
    [
        ("docs/guide/points.md", "README.md", "index.md", "guide/points.md"),
        ("examples/from_rasteret.md", "README.md", "index.md", "coming-from/rasteret.md"),
        ("ARCHITECTURE.md", "README.md", "index.md", HOOK["SOURCE"] + "ARCHITECTURE.md"),
        ("../README.md", "examples/from_rasteret.md", "coming-from/rasteret.md", "../index.md"),
        ("picture.py", "examples/from_rasteret.md", "coming-from/rasteret.md", HOOK["SOURCE"] + "examples/picture.py"),
    ],
)
def test_links_of_such_a_file_lead_within_the_site_where_it_has_the_page(link, source, page, wanted):
    assert HOOK["_target"](link, source, page) == wanted
