"""Does the name of a collection say exactly what is in it, and is it read back?"""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.collection.queries.periods import period_of
from polars_rasteret.errors import UsageError

WORDS = st.from_regex(r"[A-Za-z0-9]{1,4}([._-][A-Za-z0-9]{1,3}){0,2}", fullmatch=True)
DATASETS = st.lists(WORDS, min_size=1, max_size=2).map("/".join)
DAYS = st.dates(dt.date(1900, 1, 1), dt.date(2999, 12, 30))
INSTANTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2999, 12, 30)).map(lambda one: one.replace(tzinfo=dt.UTC))
MOMENTS = DAYS | INSTANTS | DAYS.map(lambda day: dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))


@st.composite
def periods(draw):
    first, last = draw(MOMENTS | st.none()), draw(MOMENTS | st.none())
    try:
        period_of((first, last))
    except UsageError:
        return draw(DAYS)
    return (first, last)


@given(WORDS, periods() | st.none(), DATASETS | st.none())
def test_what_a_name_says_is_what_it_was_made_of(name, datetime, dataset):
    made = pr.create_name(name, datetime=datetime, dataset=dataset)
    found = pr.parse_name(made)
    assert (found.name, found.dataset) == (name, dataset)
    if datetime is None:
        assert found.datetime is None
    else:
        assert period_of(found.datetime) == period_of(datetime)
    assert not set(made) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_names_of_different_days_of_one_month_differ():
    made = {pr.create_name("bern", datetime=f"2024-01-01/2024-01-{day}", dataset="a/b") for day in (10, 30, 31)}
    assert len(made) == 3
    assert pr.create_name("bern", datetime="2024-01") == pr.create_name("bern", datetime="2024-01-01/2024-01-31")
    assert pr.create_name("bern", datetime="2024-01-01/2024-01-31T00:00:00Z") == "bern__20240101-20240131T000000Z"
    assert pr.create_name("bern", datetime="2024-01-31T12:30:00.5+02:00/..") == "bern__20240131T103000.500000Z-open"
    assert pr.create_name("a", dataset="b") == "a__all__b"


@pytest.mark.parametrize("name", ["Bern fields", "a__b", "a--b", "", "é", 3, "a/b", ".a"])
def test_a_word_that_would_not_be_read_back_is_refused(name):
    with pytest.raises(UsageError, match="name is"):
        pr.create_name(name)


def test_a_refused_word_comes_with_one_that_is_taken():
    with pytest.raises(UsageError, match="like 'Bern-fields-2'"):
        pr.create_name("Bern fields (2)")
    with pytest.raises(UsageError, match="dataset is 'a b'"):
        pr.create_name("a", dataset="a b")


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a__202401-06__sentinel", "a__20240101", "a__20240199-20240201", "a__open-open", "a__20240101-20240131__",
     "a__20240201-20240101", "a__20240101-20240131__b__c", "a__20240101T000000Z-20240131"],
)  # fmt: skip
def test_a_name_of_another_making_is_refused(name):
    with pytest.raises(UsageError, match="is no name that"):
        pr.parse_name(name)
