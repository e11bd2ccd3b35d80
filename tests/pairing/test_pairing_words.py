"""Do the public verbs write the pairing words with the defaults of the one place that has them?"""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from polars_rasteret.namespaces.frames import RasterLazyFrame
from polars_rasteret.pairing.words import Pairing

DEFAULTS = {one.name: one.default for one in fields(Pairing)}
UNMATCHED = {"pair": "drop", "sample_points": "null", "read_windows": "drop", "zonal_stats": "null"}
"""Points and zones that no record covers stay, with nulls; other targets go."""
NOT_IN_ALL = {"pair": {"match", "valid", "min_valid_fraction"}, "sample_points": {"min_valid_fraction"}}
"""Words that make no sense for a verb."""


@pytest.mark.parametrize("verb", UNMATCHED)
def test_a_verb_takes_every_pairing_word_with_its_default(verb):
    parameters = inspect.signature(getattr(RasterLazyFrame, verb)).parameters
    expected = {**DEFAULTS, "unmatched": UNMATCHED[verb]}
    words = DEFAULTS.keys() - NOT_IN_ALL.get(verb, set())
    assert {word: parameters[word].default for word in words} == {word: expected[word] for word in words}


@pytest.mark.parametrize("verb", UNMATCHED)
def test_a_verb_takes_pairing_words_by_name_only(verb):
    parameters = inspect.signature(getattr(RasterLazyFrame, verb)).parameters
    assert {parameters[word].kind for word in DEFAULTS.keys() & parameters.keys()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters.keys().isdisjoint(NOT_IN_ALL.get(verb, set()))
