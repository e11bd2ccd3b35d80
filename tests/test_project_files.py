"""Do the files around the package say what is there: releases that are locked, tests that are run, modules on the map?"""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "polars_rasteret"
GUIDES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "tests/README.md", "tests/upstream/test_canaries.py")


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        found.setdefault(requirement.name, []).append(requirement)
    return found


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["test"], *extras["dev"]]
    return [one for one in map(Requirement, texts) if one.name != project["name"]]


def test_every_declared_dependency_is_locked_to_one_release_that_is_allowed():
    lock = locked()
    for requirement in declared():
        for one in lock[re.sub(r"[-_.]+", "-", requirement.name).lower()]:
            (pin,) = one.specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), f"{one} is locked, {requirement} is declared"


def test_the_version_is_written_once_and_cited():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == PACKAGE / "__init__.py"
    version = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version is not None
    assert (cited and cited[1], newest and newest[1].strip("[]")) == (version[1], version[1])


def test_the_tests_that_each_interpreter_runs_are_there():
    part = re.search(r"quick_tests=\((.*?)\)", (ROOT / ".ci" / "run").read_text(), re.DOTALL)
    assert part is not None
    assert [path for path in part[1].split() if not (ROOT / path).exists()] == []


def test_the_table_of_modules_says_what_their_docstrings_say():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    with_table = runpy.run_path(str(ROOT / ".ci" / "modules.py"))["with_table"]
    assert text == with_table(text), "bring it up to date: python .ci/modules.py --write"


@pytest.mark.parametrize("guide", GUIDES)
def test_modules_folders_and_files_that_a_guide_names_are_there(guide):
    parts = {path.stem for path in PACKAGE.iterdir()}
    missing = []
    for name in set(re.findall(r"`([A-Za-z0-9_./-]+)`", (ROOT / guide).read_text())):
        if "/" in name:
            if not any((base / name).exists() for base in (ROOT, ROOT / "tests", PACKAGE, PACKAGE / "frame")):
                missing.append(name)
        elif name.split(".")[0] in parts and "." in name:
            *folders, last = name.split(".")
            modules = [PACKAGE.joinpath(*folders, last), PACKAGE.joinpath(*folders, f"{last}.py")]
            of_a_module = PACKAGE.joinpath(*folders[:-1], f"{folders[-1]}.py")
            is_name = of_a_module.exists() and re.search(rf"\b{last}\b", of_a_module.read_text()) is not None
            if not (is_name or any(path.exists() for path in modules)):
                missing.append(name)
    assert missing == []


def test_the_glossary_has_twenty_words():
    glossary = (ROOT / "ARCHITECTURE.md").read_text().partition("## Twenty words")[2].partition("\n## ")[0]
    words = re.findall(r"^\| ([a-z ]+) \|", glossary, re.MULTILINE)
    assert len(words) == len(set(words)) == 20


@pytest.mark.parametrize(
    ("title", "journey"),
    [("A point query", "points"), ("A window expression", "expression"), ("A resumed build", "build")],
)
def test_a_query_passes_through_the_modules_of_its_journey(title, journey):
    text = (ROOT / "ARCHITECTURE.md").read_text().partition(f"### {title}")[2].partition("\n##")[0]
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    assert len(named) > 10
    command = [sys.executable, str(ROOT / "benchmarks" / "journeys.py"), "--list", journey]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert named - {line for line in done.stdout.splitlines() if not line.startswith(" ")} == set()


def test_no_test_module_imports_another_one():
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.relative_to(ROOT)}: {one}" for one in names if re.search(r"(^|\.)test_", one)]
    assert found == [], "what tests share stands in tests/support"
