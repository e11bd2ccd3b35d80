"""What does the process remember from one test to the next, and how is it made to forget?

Tests share processes in an order that nobody chooses. Stores, hints of places and keys of links that one test configured would
decide how another reads; a server of a later test may even have the port of an earlier one.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REMEMBERED = {
    "polars_rasteret.fetch.sources.settings": ("_settings", "_priced"),
    "polars_rasteret.fetch.hints": ("_hints",),
    "polars_rasteret.fetch.signing": ("_signed",),
}
"""Dictionaries of modules. They are put back: there is no public way to take out what a scan has learnt."""


def remembered() -> dict[tuple[str, str], dict[Any, Any]]:
    """Return copies of what the modules remember that are imported."""
    return {
        (module, name): dict(getattr(sys.modules[module], name))
        for module, names in REMEMBERED.items()
        if module in sys.modules
        for name in names
    }


def put_back(before: dict[tuple[str, str], dict[Any, Any]]) -> None:
    """Make the modules remember what they did before; nothing, where they were not imported."""
    for key in remembered():
        module, name = key
        setattr(sys.modules[module], name, dict(before.get(key, {})))


def surroundings() -> dict[str, object]:
    """Return what a test must leave as it was, since nothing puts it back."""
    options = sys.modules["polars_rasteret.options"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {
        "pr.options": options.process_options(),
        "os.environ": variables,
        "the current directory": os.getcwd(),  # noqa: PTH109 - it is compared, nothing is opened
        "sys.path": list(sys.path),
    }


@contextmanager
def as_before() -> Iterator[None]:
    """Put back what the process remembers; raise where a test leaves its surroundings changed."""
    memories, before = remembered(), surroundings()
    yield
    put_back(memories)
    after = surroundings()
    changed = {name: (value, after[name]) for name, value in before.items() if after[name] != value}
    assert not changed, f"the test leaves another state to the tests after it: {changed}"
