"""Is an API asked what the caller means, whatever the API is like, and do all of its items come, each once?"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, UsageError
from tests.support.stac_server import CLASSES, StacServer

HREF = "memory://example-scenes/first.tif"


@pytest.fixture(autouse=True)
def scenes() -> None:
    pr.testing.example_scenes()


def item(number: int, lon: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Give an item whose time is the last moment of a day of May."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"i{number}",
        "collection": "c",
        "geometry": {"type": "Point", "coordinates": [lon, 0.0]},
        "bbox": [lon, 0.0, lon, 0.0],
        "properties": {"datetime": f"2024-05-{number + 1:02}T23:59:59.999999Z", "n": number},
        "assets": {"red": {"href": HREF}},
        "links": [],
        **changes,
    }


ITEMS = [item(number, lon=(175.0, -175.0, 0.0)[number % 3]) for number in range(10)]


def numbers(frame: pl.LazyFrame) -> list[int]:
    assert frame.select(pl.col("red").is_not_null().all()).collect().item()
    return frame.select("n").collect().to_series().to_list()


@pytest.mark.parametrize("habits", [{}, {"methods": ["GET"]}, {"methods": ["GET"], "advertises": False}])
def test_every_word_of_a_search_is_answered_by_post_and_by_get(habits: dict[str, Any]) -> None:
    with StacServer(ITEMS, **habits) as server:

        def found(**words: Any) -> list[int]:
            return numbers(pr.build_from_stac(server.url, **words))

        assert found() == list(range(10))
        assert found(datetime="2024-05-03") == [2]
        assert found(datetime=("2024-05-03", None)) == list(range(2, 10))
        assert found(datetime="2024-05-03T23:59:59.999999Z") == [2]
        assert found(ids=["i3", "i4"], collections="c") == [3, 4]
        assert found(collections=["d", "c"], max_items=4) == [0, 1, 2, 3]
        assert found(query={"n": {"gte": 3, "lt": 5}}, sortby="-n") == [4, 3]
        assert found(filter="n >= 3 AND n < 5", sortby=["+n"]) == [3, 4]
        less = {"op": "and", "args": [{"op": "<", "args": [{"property": "n"}, 5]}]}
        assert found(filter=less) == [0, 1, 2, 3, 4]
        assert found(intersects={"type": "Point", "coordinates": [175.0, 0.0]}) == [0, 3, 6, 9]
        # The server answers 400 to a box over the antimeridian.
        assert sorted(found(bbox=(170, -1, -170, 1), max_items=5)) == [0, 1, 3, 6, 9]
        assert sorted(found(bbox=(170, -1, 0, 190, 1, 9))) == [0, 1, 3, 4, 6, 7, 9]
        boxes = [one.words["bbox"] for one in server.searches if "bbox" in one.words and "token" not in one.words]
        if not habits:
            assert boxes == [[170, -1, 180, 1], [-180, -1, -170, 1], [170, -1, 0, 180, 1, 9], [-180, -1, 0, -170, 1, 9]]
        assert {one.method for one in server.searches[2:]} <= set(server.habits.methods) | {"POST"}


@pytest.mark.parametrize("word", ["query", "filter", "sortby"])
def test_words_that_an_api_does_not_declare_are_refused_before_a_search(word: str) -> None:
    words = {"query": {"n": {"lt": 5}}, "filter": "n < 5", "sortby": "n"}
    kept = [one for one in CLASSES if not one.endswith({"sortby": "#sort"}.get(word, f"#{word}"))]
    with StacServer(ITEMS, classes=kept) as server:
        with pytest.raises(UsageError, match=rf"does not say that it answers {word}="):
            pr.build_from_stac(server.url, **words)
        assert not server.searches


def test_a_page_that_fails_is_asked_again_and_not_the_search() -> None:
    busy = {1: (429, {"Retry-After": "0"}), 2: (503, {"Retry-After": "0"}), 4: (500, {})}
    with StacServer(ITEMS, faults=busy, cut={6}, empty_pages={3, 6}) as server:
        assert numbers(pr.build_from_stac(server.url)) == list(range(10))
        tokens = [one.words.get("token") for one in server.searches]
    assert tokens == [None, "3-0", "3-0", "3-0", "3-1", "3-1", "6-0", "6-0", "6-1", "9-0"]


def test_a_page_that_never_comes_is_an_error_that_names_the_server() -> None:
    faults = {number: (503, {"Retry-After": "0"}) for number in range(99)}
    with StacServer(ITEMS, faults=faults) as server, pr.options(retries=1):
        with pytest.raises(FetchError, match=rf"{server.url}/search answered 503"):
            pr.build_from_stac(server.url)
        assert len(server.searches) == 2
    with StacServer(ITEMS, loops=True) as server, pytest.raises(FetchError, match="same next page twice"):
        pr.build_from_stac(server.url)


def test_items_that_shift_between_pages_come_once_and_changed_ones_as_they_are() -> None:
    def shift(offset: int, items: list[dict[str, Any]]) -> None:
        if offset == 3 and items[0]["id"] == "i0":
            items.insert(0, item(20, datetime=None))  # the last item of page one comes again
        if offset == 6:
            items[7] = item(6, assets={"red": {"href": "memory://example-scenes/second.tif"}})

    with StacServer(ITEMS, before_page=shift) as server:
        scenes = pr.build_from_stac(server.url)
        assert numbers(scenes) == list(range(10))
    hrefs = scenes.select(pl.col("red").struct.field("href")).collect().to_series()
    assert [href.split("/")[-1] for href in hrefs].count("second.tif") == 1


def test_one_id_in_two_collections_or_of_two_files_is_two_rows() -> None:
    other = item(1, collection="d"), item(1, assets={"red": {"href": "memory://example-scenes/second.tif"}})
    with StacServer([item(1), *other]) as server:
        assert pr.build_from_stac(server.url).select("id").collect().to_series().to_list() == ["i1", "i1", "i1"]


def test_a_collection_of_an_api_is_searched_through_the_api() -> None:
    with StacServer([*ITEMS, item(20, collection="d")]) as server:
        assert numbers(pr.build_from_stac(f"{server.url}/collections/c", query={"n": {"lt": 2}})) == [0, 1]


def test_no_items_give_an_empty_collection_with_a_warning() -> None:
    with StacServer(ITEMS) as server, pytest.warns(UserWarning, match="no item was found"):
        empty = pr.build_from_stac(server.url, bands=["red"], ids=["none"])
    assert empty.collect().height == 0
    assert empty.raster.bands() == ["red"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"datetime": "2024-06/2024-05"}, "ends before it starts"),
        ({"datetime": "soon"}, "not understood"),
        ({"bbox": (0, 1, 2)}, "expected finite"),
        ({"bbox": (0, 0, 1, 1), "intersects": {"type": "Point", "coordinates": [0, 0]}}, "give one of them"),
        ({"max_items": -1}, "max_items"),
        ({"ids": [3]}, "list of texts"),
        ({"bands": "red"}, r"\['red'\]"),
        ({"bands": []}, "bands is empty"),
        ({"bands": ["datetime"]}, "name of a record column"),
        ({"bands": ["blue"]}, "no item has 'blue'. Their assets: red"),
        ({"filter": 3}, "CQL2"),
        ({"sortby": 3}, "not understood"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: dict[str, Any], match: str) -> None:
    with StacServer(ITEMS[:2]) as server, pytest.raises(UsageError, match=match):
        pr.build_from_stac(server.url, **words)
