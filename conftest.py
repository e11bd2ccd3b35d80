"""Imports the package before pytest collects its modules: one collected alone would hide ``pr.options`` behind its own name.

Modules that import an optional library are left out where that library is missing.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import polars_rasteret  # noqa: F401 - imported for its effect
from tests.support.process_state import as_before

if TYPE_CHECKING:
    from collections.abc import Iterator

# No test and no example reads or writes the datasets that whoever runs them has registered.
LOCAL_DATASETS = tempfile.TemporaryDirectory(prefix="polars-rasteret-")
os.environ["POLARS_RASTERET_DATASETS"] = os.path.join(LOCAL_DATASETS.name, "datasets.toml")  # noqa: PTH118
os.environ.setdefault("MPLBACKEND", "Agg")  # pictures of tests and of docstrings open no window

NEEDS = {"torch": "torch_samples", "torchgeo": "torchgeo_dataset"}
collect_ignore = [
    f"polars_rasteret/chips/{module}.py" for library, module in NEEDS.items() if find_spec(library) is None
]


def pytest_sessionstart() -> None:
    """Import TorchGeo where it is installed, before warnings are errors: its libraries warn when they are first imported."""
    if find_spec("torchgeo") is not None:
        from tests.support.torchvision_ops import make_importable

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_importable()
            import_module("torchgeo.datasets")


@pytest.fixture(autouse=True)
def the_process_is_as_before() -> Iterator[None]:
    """Let no test and no example see what one before it configured."""
    with as_before():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip examples of docstrings that import a library which is missing."""
    missing = [library for library in NEEDS if find_spec(library) is None]
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            code = "".join(example.source for example in item.dtest.examples)
            for library in missing:
                if f"import {library}" in code or f"from {library}" in code:
                    item.add_marker(pytest.mark.skip(reason=f"{library} is not installed"))
