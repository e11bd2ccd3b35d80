"""Do bundles and patterns behave as the dataclasses and compiled patterns that they stand for?"""

from __future__ import annotations

import pickle
import re
from dataclasses import field, replace

import pytest

from polars_rasteret.bundles import bundle
from polars_rasteret.patterns import pattern


@bundle(eq=True)
class Key:
    """What is compared."""

    href: str
    size: int = 0
    secret: str = field(default="", repr=False, compare=False)


@bundle
class Columns:
    """What is not compared."""

    values: list[int]


def test_a_bundle_is_made_replaced_pickled_and_shown_like_a_dataclass():
    key = Key(href="a", size=1, secret="s")
    assert repr(key) == "Key(href='a', size=1)"
    assert replace(key, size=2) == Key(href="a", size=2)
    assert pickle.loads(pickle.dumps(key)) == key
    with pytest.raises(TypeError, match="positional"):
        Key("a")
    with pytest.raises(AttributeError):
        key.other = 1


def test_bundles_are_equal_and_found_by_their_fields_where_that_is_asked_for():
    assert {Key(href="a", secret="x"): 1}[Key(href="a", secret="y")] == 1
    assert Key(href="a") != Key(href="b")
    assert Key(href="a") != ("a", 0)
    one, other = Columns(values=[1]), Columns(values=[1])
    assert one != other
    assert len({one, other}) == 2


def test_a_pattern_is_compiled_when_it_is_first_used(monkeypatch):
    compiled = []
    monkeypatch.setattr(re, "compile", lambda *given, real=re.compile: compiled.append(given) or real(*given))
    kept = pattern(r"a(\d)", re.IGNORECASE)
    assert compiled == []
    assert [found[1] for found in map(kept.search, ("xA1", "a2"))] == ["1", "2"]
    assert kept.sub("b", "a1 A2") == "b b"
    assert kept.pattern == r"a(\d)"
    assert all(one == (r"a(\d)", re.IGNORECASE) for one in compiled)
