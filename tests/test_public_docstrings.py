"""Do the docstrings of public names have the sections that numpydoc asks for?"""

from __future__ import annotations

import inspect

import pytest

import polars_rasteret as pr
from polars_rasteret import errors, testing
from polars_rasteret.namespaces.frames import RasterExpr, RasterLazyFrame

validate = pytest.importorskip("numpydoc.validate").validate

NOT_ASKED = {
    "ES01": "a summary that says all needs no second paragraph",
    "SA01": "names are linked where they matter",
    "PR03": "parameters that belong together are described together",
    "PR04": "types stand in the signature",
}
GIVEN_BY_THE_PACKAGE = {pr.ByteSource, pr.Description, pr.Estimate, pr.RasterHandle}
"""Classes that users receive or imitate: fields and methods are described where they stand, and functions show examples."""


def public_objects() -> list[object]:
    named = [getattr(pr, name) for name in pr.__all__]
    named = [one for one in named if not inspect.ismodule(one)]
    named += [getattr(module, name) for module in (errors, testing) for name in module.__all__]
    for namespace in (RasterLazyFrame, RasterExpr):
        named += [one for name, one in inspect.getmembers(namespace, inspect.isfunction) if not name.startswith("_")]
    return named


@pytest.mark.parametrize("public", public_objects(), ids=lambda one: one.__qualname__)
def test_the_docstring_of_a_public_name_is_complete(public):
    not_asked = set(NOT_ASKED)
    if public in GIVEN_BY_THE_PACKAGE or (isinstance(public, type) and issubclass(public, errors.RasteretError)):
        not_asked |= {"EX01", "PR01"}
    found = validate(f"{public.__module__}.{public.__qualname__}")["errors"]
    assert [(code, message) for code, message in found if code not in not_asked] == []
