"""Does a folder that a stranger made change or delete anything outside itself?"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import polars_rasteret as pr
import polars_rasteret.collection.storage.untrusted_files as stated_module
from polars_rasteret.collection.storage.untrusted_files import why_not_plain
from polars_rasteret.errors import FileFormatError, RasteretError, UsageError
from polars_rasteret.testing import make_cog
from tests.support.collection_frames import grid_of_scenes
from tests.support.object_server import ObjectServer

SCENES = grid_of_scenes(3, 2)


def tiff(path: Path, value: int = 1) -> str:
    path.write_bytes(make_cog(np.full((1, 8, 8), value, dtype="uint8")))
    return str(path)


PIECES = [
    "..",
    ".",
    "",
    "victim.parquet",
    "c",
    "a=1",
    "~",
    "C:",
    "con",
    "victim",
    "part.parquet",
    "part\0",
    "\\",
    "//host",
]
OUTSIDE = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("/".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("\\".join),
    st.text(max_size=30),
    st.sampled_from(
        [
            "../victim.parquet",
            "a=1/../../victim.parquet",
            "/etc/passwd",
            "{root}/victim.parquet",
            "file://{root}/victim.parquet",
            "..\\victim.parquet",
            "C:\\victim.parquet",
            "C:victim.parquet",
            "c:/victim.parquet",
            "../victim.parquet\0.parquet",
            "link/victim.parquet",
            "_build.json",
            ".hidden.parquet",
            "notes.txt",
        ]
    ),
)
STRANGE = st.one_of(
    OUTSIDE,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def world(root: Path) -> Path:
    """Give a collection, with a link to the folder around it, beside a file that must stay."""
    pr.raster(SCENES.lazy()).sink_collection(root / "c")
    pr.raster(SCENES.lazy()).sink_collection(root / "victim.parquet")
    (root / "victim").write_text("precious")
    (root / "c/link").symlink_to(root, target_is_directory=True)
    (root / "c/notes.txt").write_text("mine")
    return root / "c"


def content(root: Path) -> dict[str, bytes]:
    """Give all files but those that a writer may replace."""
    return {
        str(one.relative_to(root)): one.read_bytes()
        for one in root.rglob("*")
        if one.is_file() and not one.is_symlink() and not ("c" in one.parts and one.suffix != ".txt")
    }


def changes(folder: Path):
    # First, because every other change ends an interrupted build.
    yield lambda: pr.build_from_files([tiff(folder.parent / "one.tif")], bands=["red"], into=folder)
    yield lambda: pr.compact(folder)
    yield lambda: pr.raster(SCENES.lazy()).sink_collection(folder, mode="append")
    yield lambda: pr.remove(folder, pl.lit(value=False))
    yield lambda: pr.refresh(folder)
    yield lambda: pr.raster(SCENES.lazy()).sink_collection(folder, mode="overwrite")


def attempt_all(folder: Path, root: Path) -> list[RasteretError]:
    """Change a folder in every way; errors are ours, and nothing around it changes."""
    tiff(root / "one.tif")
    before = content(root)
    errors: list[RasteretError] = []
    for act in (lambda: pr.scan_collection(folder).select("id").collect(), *changes(folder)):
        try:
            act()
        except RasteretError as error:
            errors.append(error)
        assert content(root) == before
    return errors


def statements(names: list) -> list[tuple[str, dict]]:
    return [
        ("_overwrite.json", {"left_out": names}),
        ("_overwrite.json", {"remove": names, "add": []}),
        ("_overwrite.json", {"remove": [], "add": [[name, "a.parquet"] for name in names]}),
        ("_build.json", {"before": names, "of": None, "by": None}),
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(STRANGE, min_size=1, max_size=3), st.integers(0, 3))
@example(["../victim.parquet"], 0)
@example(["../victim.parquet"], 1)
@example(["link/victim.parquet"], 0)
@example(["{root}/victim.parquet"], 0)
@example(["part.parquet", "part.parquet"], 0)
@example(["c.parquet", 3], 3)
def test_no_name_that_a_folder_states_leads_out_of_it(tmp_path_factory, names, form):
    root = tmp_path_factory.mktemp("strange")
    folder = world(root)
    given_names = [name.replace("{root}", str(root)) if isinstance(name, str) else name for name in names]
    file, said = statements(given_names)[form]
    (folder / file).write_text(json.dumps(said))
    errors = attempt_all(folder, root)
    is_plain = all(why_not_plain(name) is None for name in given_names) and len(set(map(str, names))) == len(names)
    if not is_plain or form in (1, 2):
        said_so = [error for error in errors if isinstance(error, FileFormatError) and str(folder / file) in str(error)]
        # A marker concerns builds alone; the journal concerns everybody.
        assert len(said_so) >= (1 if file == "_build.json" else 6)
        assert all("written by polars_rasteret" in str(error) for error in said_so)


@pytest.mark.parametrize("file", ["_overwrite.json", "_build.json"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"part.parquet"',
        b"{}",
        b'{"left_out": {}, "before": {}, "of": null, "by": null}',
        b'{"before": {}, "of": null, "by": null}',
        b'{"before": [], "of": {"a": 1}, "by": null}',
        b'{"before": [], "of": null, "by": {"pid": -1, "host": "a", "process": "b"}}',
        b'{"before": [], "of": null, "by": {"pid": 1e300, "host": "a", "process": "b"}}',
        b'{"left_out": null}',
        b'{"left_out": "a.parquet"}',
        b'{"left_out": [["a.parquet"]]}',
        b'{"left_out": ["a.parquet", "a.parquet"]}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"left_out": ["' + b"a/" * 10_000 + b'b.parquet"]}',
    ],
    ids=lambda data: repr(data[:30]),
)
def test_a_file_that_is_not_ours_is_named(tmp_path, file, data):
    folder = world(tmp_path)
    (folder / file).write_bytes(data)
    errors = attempt_all(folder, tmp_path)
    assert [error for error in errors if str(folder / file) in str(error)]
    (folder / file).unlink(missing_ok=True)
    assert pr.scan_collection(folder).collect().height >= SCENES.height


@pytest.mark.parametrize("file", ["_overwrite.json", "_build.json"])
def test_what_is_no_plain_file_is_not_opened(tmp_path, file, monkeypatch):
    folder = world(tmp_path)
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"left_out": []}))
    for make in (
        lambda: (folder / file).symlink_to(secret),
        lambda: os.mkfifo(folder / file),
        lambda: (folder / file).mkdir(),
    ):
        make()
        assert [error for error in attempt_all(folder, tmp_path) if isinstance(error, FileFormatError)]
        (folder / file).rmdir() if (folder / file).is_dir() else (folder / file).unlink(missing_ok=True)
    monkeypatch.setattr(stated_module, "MAX_BYTES", 1_000)
    (folder / file).write_text(json.dumps({"left_out": [f"{n}.parquet" for n in range(1_000)]}))
    assert [error for error in attempt_all(folder, tmp_path) if "expected at most 1000" in str(error)]


def test_a_journal_of_plain_names_is_believed(tmp_path):
    folder = world(tmp_path)
    pr.raster(SCENES.with_columns(id="x" + pl.col("id")).lazy()).sink_collection(folder, mode="append")
    first, second = sorted(folder.glob("part-*"))
    (folder / "_overwrite.json").write_text(json.dumps({"left_out": [first.name, "gone.parquet"]}))
    assert pr.scan_collection(folder).collect()["id"].str.starts_with("x").all()
    assert first.exists(), "readers change nothing"
    assert pr.remove(folder, pl.lit(value=False)).collect()["id"].str.starts_with("x").all()
    assert [one.name for one in folder.glob("*.parquet")] == [second.name]
    assert not (folder / "_overwrite.json").exists()


def test_a_journal_that_names_a_folder_is_refused(tmp_path):
    folder = world(tmp_path)
    (folder / "d.parquet").mkdir()
    (folder / "_overwrite.json").write_text(json.dumps({"left_out": ["d.parquet"]}))
    with pytest.raises(FileFormatError, match="which is a folder"):
        pr.compact(folder)


def test_links_in_a_folder_lead_no_writer_out(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    pr.raster(SCENES.lazy()).sink_collection(outside / "victim.parquet")
    before = content(tmp_path)
    folder = tmp_path / "c"
    split = SCENES.with_columns(split=pl.lit("a"))
    pr.raster(split.lazy()).sink_collection(folder, partition_by="split")
    (folder / "split=b").symlink_to(outside, target_is_directory=True)
    with pytest.raises(FileFormatError, match=r"split=b is a link"):
        pr.raster(split.with_columns(split=pl.lit("b")).lazy()).sink_collection(
            folder, mode="append", partition_by="split"
        )
    assert pr.scan_collection(folder).collect().height == SCENES.height
    # A part that is a link is read; a change puts a file in its place, and leaves where it led.
    (folder / "split=a/linked.parquet").symlink_to(outside / "victim.parquet")
    assert pr.scan_collection(folder).collect().height == 2 * SCENES.height
    pr.compact(folder)
    assert pr.scan_collection(folder).collect().height == 2 * SCENES.height
    assert not (folder / "split=a/linked.parquet").exists()
    assert content(tmp_path) == before
    # One file that is a link is not replaced.
    (tmp_path / "link.parquet").symlink_to(outside / "victim.parquet")
    for change in changes(tmp_path / "link.parquet"):
        with pytest.raises(UsageError, match="is a link to"):
            change()
    assert pr.scan_collection(tmp_path / "link.parquet").collect().height == SCENES.height


def test_a_build_empties_no_folder_that_a_link_leads_to(tmp_path):
    pr.raster(SCENES.lazy()).sink_collection(tmp_path / "victim")
    (tmp_path / ".c.parquet.building").symlink_to(tmp_path / "victim", target_is_directory=True)
    with pytest.raises(UsageError, match="is a link to"):
        pr.build_from_files([tiff(tmp_path / "1.tif")], bands=["red"], into=tmp_path / "c.parquet")
    assert pr.scan_collection(tmp_path / "victim").collect().height == SCENES.height


def test_a_marker_in_a_bucket_is_checked_too(tmp_path, monkeypatch):
    href = tiff(tmp_path / "1.tif")
    with ObjectServer() as server:
        options = {"storage_options": server.options}
        pr.raster(SCENES.lazy()).sink_collection("s3://bucket/c", **options)
        for data in (
            b"{",
            b'{"before": ["../x.parquet"], "of": null, "by": null}',
            b'{"before": [], "of": 3, "by": {}}',
        ):
            server.files["bucket/c/_build.json"] = data
            with pytest.raises(FileFormatError, match=r"s3://bucket/c/_build\.json was not written by"):
                pr.build_from_files([href], bands=["red"], into="s3://bucket/c", **options)
        monkeypatch.setattr("polars_rasteret.collection.storage.object_store.MAX_BYTES", 10)
        with pytest.raises(FileFormatError, match="bytes; expected at most"):
            pr.build_from_files([href], bands=["red"], into="s3://bucket/c", **options)


def test_a_build_that_was_killed_after_its_end_keeps_records_it_did_not_make(tmp_path, monkeypatch):
    """The parts of a build into one file are all of the file: what is left of them must not be taken for it."""
    hrefs = [tiff(tmp_path / f"{n}.tif", n) for n in range(4)]
    target = tmp_path / "c.parquet"
    pr.build_from_files(hrefs[:3], bands=["red"], into=target)
    unlink = os.unlink

    for n_good in range(6):
        left = [n_good]

        def dying(*args, left=left, **words):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            unlink(*args, **words)

        # A build that has nothing to do, killed while it tidies up.
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", dying)
            with contextlib.suppress(KeyboardInterrupt):
                pr.build_from_files(hrefs[:1], bands=["red"], into=target)
        found = pr.build_from_files(hrefs[3:], bands=["red"], into=target).collect()["id"].sort().to_list()
        assert found == ["0", "1", "2", "3"]


NOT_OURS = [
    "",
    "x",
    "5",
    "null",
    '{"unread": 5}',
    '{"unread": [5]}',
    '{"unread": [[99, "red", "h", 0, 1, null, null]]}',
    '{"unread": [[-1, "red", "h", 0, 1, null, null]]}',
    '{"unread": [[0, "red", "h", 0, 1, null, 1e300]]}',
    '{"unread": [[0, "red", "h", 0, "x", null, null]]}',
    '{"unread": [[0, "red"]]}',
    '{"unread": [["a", 1, 2, 3, 4, 5, 6]]}',
    "[" * 100_000,
]


@pytest.mark.parametrize("said", NOT_OURS, ids=range(len(NOT_OURS)))
def test_metadata_of_a_part_that_is_not_ours_is_named_where_it_is_needed(tmp_path, said):
    folder, part = tmp_path / "c", tmp_path / "c" / "part.parquet"
    pr.testing.example_scenes().raster.sink_collection(part)
    pl.read_parquet(part).write_parquet(part, metadata={"polars_rasteret": said})
    pr.testing.example_scenes().raster.sink_collection(folder, mode="append")
    for change in (pr.compact, pr.refresh, lambda path: pr.remove(path, pl.col("id") == "first")):
        with pytest.raises(FileFormatError, match=r"part.parquet: the metadata key 'polars_rasteret'"):
            change(folder)
    assert pr.scan_collection(folder).collect().height == 4
