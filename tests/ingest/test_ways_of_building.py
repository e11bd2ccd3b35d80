"""Does every way of building into a folder go on after a kill, keep a second builder off, and say what it made?"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.command_line.main import main
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import make_cog
from tests.support.range_server import RangeServer

N = 8
NAMES = [str(n) for n in range(N)]


@pytest.fixture
def server():
    files = {}
    for n in range(N):
        place = (10.0, 0.0, 300_000.0 + 1_000 * n, 0.0, -10.0, 5_000_000.0)
        files[f"{n}.tif"] = make_cog(np.full((2, 32, 32), n, dtype="uint8"), transform=place)
    with RangeServer(files) as one:
        yield one


@pytest.fixture
def table(server, tmp_path, monkeypatch) -> Path:
    """A table, and a dataset of it in a catalog of this test."""
    path = tmp_path / "table.parquet"
    hrefs = [f"https://stable.example/{name}.tif" for name in NAMES]
    pl.DataFrame({"fid": NAMES, "year": [2020] * N, "path": hrefs, "level": NAMES}).write_parquet(path)
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "datasets.toml"))
    pr.register(
        pr.DatasetDescriptor(
            id="mine/squares",
            title="Squares",
            table=str(path),
            bands={"b": ("path", 1)},
            columns={"id": "fid", "datetime": "year"},
            rewrite={"https://stable.example/": server.url("")},
        ),
        persist=True,
    )
    items = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "squares",
            "geometry": None,
            "properties": {"datetime": "2020-01-01T00:00:00Z"},
            "assets": {"image": {"href": server.url(f"{name}.tif"), "type": "image/tiff; application=geotiff"}},
        }
        for name in NAMES
    ]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    pr.register(
        pr.DatasetDescriptor(
            id="mine/items",
            title="Squares",
            items=str(tmp_path / "items.json"),
            collection="squares",
            bands={"b": ("image", 1)},
        ),
        persist=True,
    )
    return path


def by_files(server, table, into):
    hrefs = [server.url(f"{name}.tif") for name in NAMES]
    pr.build_from_files(hrefs, bands={"b": 1}, into=into, description="Squares", source="mine/squares")


def by_table(server, table, into):
    pr.build_from_table(
        table,
        bands={"b": ("path", 1)},
        column_map={"fid": "id", "year": "datetime"},
        rewrite={"https://stable.example/": server.url("")},
        into=into,
        description="Squares",
        source="mine/squares",
    )


def by_dataset(server, table, into):
    pr.build("mine/squares", ids=NAMES, into=into)


def by_stac(server, table, into):
    """Items of a catalog's dataset; their source is that of the catalog."""
    pr.build("mine/items", ids=NAMES, into=into)


def by_command(server, table, into):
    code = main(["build", "mine/squares", str(into), "--ids", ",".join(NAMES)])
    raise_what_was_told(code)


def by_import(server, table, into):
    words = ["--column-map", '{"fid": "id", "year": "datetime"}', "--bands", "b=path.1"]
    words += ["--rewrite", json.dumps({"https://stable.example/": server.url("")})]
    words += ["--description", "Squares", "--data-source", "mine/squares"]
    raise_what_was_told(main(["collections", "import", str(table), str(into), *words]))


def raise_what_was_told(code: int) -> None:
    """Raise what the exit code of a command stands for."""
    if code == 130:
        raise KeyboardInterrupt
    if code == 2:
        raise UsageError("the command was refused")
    assert code == 0


WAYS = {one.__name__: one for one in (by_files, by_table, by_dataset, by_stac, by_command, by_import)}


def content(path) -> pl.DataFrame:
    return pr.scan_collection(path).drop("indexed_at").sort("id").collect()


def headers_read(server) -> set[str]:
    """Give the files of which more than a few bytes were asked for, since the last call."""
    found = {seen.path for seen in server.requests if (seen.byte_stop or 0) - (seen.byte_start or 0) > 16}
    server.clear()
    return found


@pytest.mark.parametrize("name", ["c", "c.parquet"])
@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"by_stac"}))  # which has a test of its own
def test_a_killed_build_goes_on_and_its_files_say_what_it_is(way, name, server, table, tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    WAYS[way](server, table, tmp_path / "whole" / name)
    headers_read(server)
    write, n_left = into_module.write_parts, [2]

    def dying(*args, **words):
        if not n_left[0]:
            raise KeyboardInterrupt
        n_left[0] -= 1
        write(*args, **words)

    with monkeypatch.context() as patch:
        patch.setattr(into_module, "write_parts", dying)
        with pytest.raises(KeyboardInterrupt):
            WAYS[way](server, table, tmp_path / "killed" / name)
    headers_read(server)
    WAYS[way](server, table, tmp_path / "killed" / name)
    assert headers_read(server) == {f"{name}.tif" for name in NAMES[4:]}, "those of two parts are not read again"
    assert_frame_equal(content(tmp_path / "killed" / name), content(tmp_path / "whole" / name))
    for folder in ("whole", "killed"):
        row = pr.list_collections(tmp_path / folder).row(0, named=True)
        assert (row["name"], row["records"], row["bands"]) == (name, N, ["b"])
        assert (row["source"], row["description"]) == ("mine/squares", "Squares")
    WAYS[way](server, table, tmp_path / "killed" / name)
    assert headers_read(server) == set(), "nothing changed"


@pytest.mark.parametrize("way", WAYS)
def test_of_two_builds_at_once_the_second_is_told(way, server, table, tmp_path, monkeypatch):
    inside, leave = threading.Event(), threading.Event()
    write = into_module.write_parts

    def slow(*args, **words):
        inside.set()
        assert leave.wait(60)
        write(*args, **words)

    monkeypatch.setattr(into_module, "write_parts", slow)
    first = threading.Thread(target=by_dataset, args=(server, table, tmp_path / "c"))
    first.start()
    try:
        assert inside.wait(20)
        with pytest.raises(UsageError):
            WAYS[way](server, table, tmp_path / "c")
    finally:
        leave.set()
        first.join()
    assert pr.scan_collection(tmp_path / "c").collect()["id"].sort().to_list() == NAMES


def test_a_dataset_of_items_says_which_one_it_is(server, table, tmp_path):
    by_stac(server, table, tmp_path / "a" / "c")
    pr.build_from_stac(tmp_path / "items.json", into=tmp_path / "b" / "c", description="All of them")
    found = [pr.list_collections(tmp_path / folder).row(0, named=True) for folder in ("a", "b")]
    told = [(row["records"], row["source"], row["description"]) for row in found]
    assert told == [(N, "mine/items", "Squares"), (N, "squares", "All of them")]


def test_words_about_a_collection_in_memory_are_refused(server, table):
    with pytest.raises(UsageError, match="into="):
        pr.build_from_files(server.url("0.tif"), description="Squares")
    with pytest.raises(UsageError, match="into="):
        pr.build_from_table(table, bands={"b": "path"}, source="mine")
