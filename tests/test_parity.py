"""Does every line of `parity.md` name tests that are there, or say why nothing corresponds?"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "tests" / "parity.md").read_text()
SECTIONS = [
    "Points",
    "Areas",
    "Records at hand",
    "Single files",
    "Collections",
    "Tables",
    "Datasets of the catalog",
    "STAC",
    "Command line",
    "PyTorch, Hugging Face, Arrow",
]
HEAD = ("rasteret", "here", "shown by")


def rows() -> list[tuple[str, str, str]]:
    """Give the lines of all tables, without their heads."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [one for one in cells if one != HEAD and set("".join(one)) != {"-"}]


@cache
def names_in(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def missing(shown_by: str) -> list[str]:
    """Give the tests that a line names and that are not there."""
    found = re.findall(r"`([^`]+)::(test_\w+)`", shown_by)
    return [f"{path}::{name}" for path, name in found if name not in names_in(path)]


def test_the_tables_are_complete():
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE) == SECTIONS
    assert all(len(one) == len(HEAD) for one in rows())
    facts = [fact for fact, _, _ in rows()]
    assert len(facts) == len(set(facts))
    assert len(facts) > 90


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_a_line_names_tests_that_are_there_or_says_why_not(row):
    _, here, shown_by = row
    if here.startswith("not:"):
        assert len(here.split()) > 5, "say why nothing corresponds"
        assert not shown_by
        return
    assert re.fullmatch(r"`[\w./]+::test_\w+`( `[\w./]+::test_\w+`)*", shown_by)
    assert missing(shown_by) == []


def test_a_test_that_is_not_there_is_noticed():
    assert missing("`tests/test_parity.py::test_of_nothing`") == ["tests/test_parity.py::test_of_nothing"]
    assert missing("`tests/no_such_file.py::test_of_nothing`") == ["tests/no_such_file.py::test_of_nothing"]
    assert missing("`tests/test_parity.py::test_the_tables_are_complete`") == []
