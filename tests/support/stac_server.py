"""A STAC API on loopback, with what real ones do: query, CQL2, sort, busy answers, GET alone, empty pages, pages that shift.

It knows nothing of the package. Every request is written down.
"""

from __future__ import annotations

import datetime as dt
import json
import operator
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import shapely
from shapely.geometry import shape

CLASSES = ("core", "item-search", "item-search#query", "item-search#filter", "item-search#sort")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_COMPARISON = re.compile(r"\s*([\w:]+)\s*(<=|>=|<|>|=)\s*('[^']*'|[-\d.]+)\s*")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: method, path, and the words of the query or of the body."""

    method: str
    path: str
    words: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Habits:
    """How the server answers."""

    classes: Sequence[str] = CLASSES
    methods: Sequence[str] = ("POST", "GET")
    """Methods of the search; others get 405."""
    advertises: bool = True
    """Whether the landing page says which methods there are."""
    most_per_page: int = 3
    faults: dict[int, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """Number of a search request (from 0) to the status and headers it gets instead of a page."""
    cut: set[int] = field(default_factory=set)
    """Numbers of search requests whose answer breaks off."""
    empty_pages: set[int] = field(default_factory=set)
    """Offsets at which an empty page with a next link comes first."""
    before_page: Callable[[int, list[dict[str, Any]]], None] | None = None
    """``before_page(offset, items)`` may change the items before a page is made."""
    loops: bool = False
    """Whether the next link of a page names the page itself."""


class StacServer:
    """Serves items at ``url`` until the block ends."""

    def __init__(self, items: Sequence[dict[str, Any]], **habits: Any) -> None:
        self.items = list(items)
        self.habits = Habits(**habits)
        self.asked: list[Asked] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def searches(self) -> list[Asked]:
        """The requests for pages."""
        return [one for one in self.asked if one.path == "/search"]

    def note(self, one: Asked) -> int:
        """Write down a request; return its number among the searches."""
        with self._lock:
            number = len(self.searches)
            self.asked.append(one)
            return number

    def landing_page(self) -> dict[str, Any]:
        links = [
            {"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json"}
            | ({"method": method} if self.habits.advertises else {})
            for method in (self.habits.methods if self.habits.advertises else ["POST"])
        ]
        return {
            "type": "Catalog",
            "id": "api",
            "description": "of tests",
            "stac_version": "1.0.0",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{one}" for one in self.habits.classes],
            "links": [{"rel": "self", "href": self.url}, *links],
        }

    def collection(self, name: str) -> dict[str, Any]:
        links = [{"rel": "root", "href": self.url}, {"rel": "items", "href": f"{self.url}/collections/{name}/items"}]
        return {"type": "Collection", "id": name, "stac_version": "1.0.0", "links": links}

    def page(self, method: str, words: dict[str, Any]) -> dict[str, Any]:
        """Return the page that the words of a request name."""
        offset, was_empty = (int(one) for one in str(words.get("token", "0-0")).split("-"))
        if self.habits.before_page is not None:
            self.habits.before_page(offset, self.items)
        found = [item for item in self.items if _meets(item, words)]
        for part in reversed(words.get("sortby") or ()):
            name = part["field"].removeprefix("properties.")
            found.sort(key=lambda one: one["properties"].get(name), reverse=part["direction"] == "desc")
        stop = offset + min(int(words.get("limit") or 10), self.habits.most_per_page)
        is_empty = offset in self.habits.empty_pages and not was_empty
        following = f"{offset}-1" if is_empty else f"{stop}-0"
        if self.habits.loops:
            following = "0-0"
        page: dict[str, Any] = {
            "type": "FeatureCollection",
            "features": [] if is_empty else found[offset:stop],
            "links": [],
        }
        if is_empty or stop < len(found):
            link: dict[str, Any] = {"rel": "next", "method": method, "href": f"{self.url}/search"}
            if method == "POST":
                link |= {"body": {"token": following}, "merge": True}
            else:
                query = {key: value for key, value in words["given"].items() if key != "token"}
                link["href"] += "?" + urlencode({**query, "token": following})
            page["links"].append(link)
        return page


def _meets(item: Mapping[str, Any], words: Mapping[str, Any]) -> bool:
    return all(_tests(item, words))


def _tests(item: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[bool]:
    properties = item["properties"]
    if words.get("collections"):
        yield item.get("collection") in words["collections"]
    if words.get("ids"):
        yield item["id"] in words["ids"]
    if words.get("bbox"):
        half = len(words["bbox"]) // 2
        west, south, east, north = words["bbox"][0], words["bbox"][1], words["bbox"][half], words["bbox"][half + 1]
        yield item["geometry"] is not None and shapely.box(west, south, east, north).intersects(shape(item["geometry"]))
    if words.get("intersects"):
        yield item["geometry"] is not None and shape(words["intersects"]).intersects(shape(item["geometry"]))
    if words.get("datetime"):
        start, _, end = words["datetime"].partition("/")
        begins = _instant(properties.get("start_datetime") or properties["datetime"])
        ends = _instant(properties.get("end_datetime") or properties["datetime"])
        yield start == ".." or ends >= _instant(start)
        yield end == ".." or begins <= _instant(end or start)
    for name, tests in (words.get("query") or {}).items():
        for word, value in tests.items():
            yield name in properties and _OPERATORS[word](properties[name], value)
    if words.get("filter"):
        yield _cql2(item, words["filter"], words.get("filter-lang"))


def _cql2(item: Mapping[str, Any], expression: Any, lang: Any) -> bool:
    if lang == "cql2-text":
        tests = []
        for part in expression.split(" AND "):
            name, word, value = _COMPARISON.fullmatch(part).groups()
            value = value.strip("'") if value[0] == "'" else float(value)
            tests.append(_OPERATORS[word](item["properties"].get(name, item.get(name)), value))
        return all(tests)
    assert lang == "cql2-json", lang
    if expression["op"] == "and":
        return all(_cql2(item, one, lang) for one in expression["args"])
    name, value = expression["args"]
    return _OPERATORS[expression["op"]](item["properties"].get(name["property"], item.get(name["property"])), value)


def _instant(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    assert found.tzinfo is not None, f"{text} has no zone"
    return found


class _Handler(BaseHTTPRequestHandler):
    owner: StacServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        words: dict[str, Any] = {**given, "given": given}
        for name in ("collections", "ids"):
            if name in given:
                words[name] = given[name].split(",")
        if "bbox" in given:
            words["bbox"] = [float(one) for one in given["bbox"].split(",")]
        for name in ("intersects", "query"):
            if name in given:
                words[name] = json.loads(given[name])
        if given.get("filter-lang") == "cql2-json":
            words["filter"] = json.loads(given["filter"])
        if "sortby" in given:
            words["sortby"] = [
                {"field": one.lstrip("+-"), "direction": "desc" if one[0] == "-" else "asc"}
                for one in given["sortby"].split(",")
            ]
        self._answer("GET", parts.path, words)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("POST", urlsplit(self.path).path, body)

    def _answer(self, method: str, path: str, words: dict[str, Any]) -> None:
        owner, habits = self.owner, self.owner.habits
        number = owner.note(Asked(method, path, words))
        if path in ("", "/"):
            self._send(200, owner.landing_page())
        elif path.startswith("/collections/"):
            self._send(200, owner.collection(path.rpartition("/")[2]))
        elif path != "/search":
            self._send(404, {"description": "nothing here"})
        elif number in habits.faults:
            status, headers = habits.faults[number]
            self._send(status, {"description": "not now"}, headers)
        elif method not in habits.methods:
            self._send(405, {"description": "no such method"})
        elif (box := words.get("bbox")) and box[0] > box[len(box) // 2]:
            self._send(400, {"description": "minx is above maxx"})
        else:
            self._send(200, owner.page(method, words), is_cut=number in habits.cut)

    def _send(
        self, status: int, answer: Any, headers: Mapping[str, str] | None = None, *, is_cut: bool = False
    ) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/geo+json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if is_cut else data)
        self.close_connection = self.close_connection or is_cut
