"""Does a second process read tiles from disk, never a wrong one, and none that took credentials?"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.disk_cache import DiskCache
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.child_process import environment
from tests.support.range_server import RangeServer
from tests.support.recorded import TILE, noise, tiff

SIDE = 256
PIXELS = noise(3, height=SIDE, width=SIDE)
WINDOW = (0, SIDE, 0, SIDE)


@pytest.fixture(autouse=True)
def empty_memory():
    clear_cache()
    yield
    clear_cache()


@pytest.fixture
def server():
    with RangeServer({"a.tif": tiff(PIXELS), "b.tif": tiff(PIXELS + 1)}) as server:
        yield server


@pytest.fixture
def scenes(server):
    built = pr.build_from_files([server.url("a.tif"), server.url("b.tif")], bands=["red"]).collect()
    server.clear()
    return built


def read(scenes, window=WINDOW) -> np.ndarray:
    """Read as a new process would: nothing is in memory."""
    clear_cache()
    return scenes.sort("id").select(pr.read_window(["red"], window=window, stack=True)).to_series().to_numpy()[:, 0]


def kept(folder) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and len(path.name) > 30)


def test_a_second_run_makes_no_request(server, scenes, tmp_path):
    with pr.options(cache_dir=tmp_path):
        first = read(scenes)
        n_requests = len(server.requests)
        with pr.profile() as p:
            second = read(scenes)
    assert n_requests > 0
    assert len(server.requests) == n_requests
    np.testing.assert_array_equal(first, [PIXELS[0], PIXELS[0] + 1])
    np.testing.assert_array_equal(second, first)
    told = p.summary().row(0, named=True)
    assert (told["requests"], told["bytes"], told["cache_hits"], told["disk_hits"]) == (0, 0, 0, told["tiles"])
    assert len(kept(tmp_path)) == told["tiles"]


def test_another_process_makes_no_request(server, scenes, tmp_path):
    scenes.lazy().raster.sink_collection(tmp_path / "scenes.parquet")
    with pr.options(cache_dir=tmp_path / "cache"):
        read(scenes)
    server.clear()
    code = f"""
import polars as pl
import polars_rasteret as pr
pr.options(cache_dir={str(tmp_path / "cache")!r})
scenes = pr.scan_collection({str(tmp_path / "scenes.parquet")!r}).sort("id")
pixels = scenes.select(pr.read_window(["red"], window={WINDOW!r}, stack=True)).collect().to_series().to_numpy()
print(int(pixels.astype("int64").sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert int(done.stdout) == int(PIXELS[0].astype(np.int64).sum() + (PIXELS[0].astype(np.int64) + 1).sum())
    assert server.requests == []


def test_nothing_is_kept_unless_asked_for(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read(scenes)
    assert pr.options.cache_dir is None
    with pr.options(cache_dir=tmp_path / "cache", disk_cache_bytes=0):
        read(scenes)
    assert list(tmp_path.iterdir()) == []


def test_tiles_that_are_not_there_are_fetched_and_the_others_are_not(server, scenes, tmp_path):
    with pr.options(cache_dir=tmp_path):
        read(scenes, (0, TILE, 0, SIDE))
        n_first = len(kept(tmp_path))
        with pr.profile() as p:
            np.testing.assert_array_equal(read(scenes), [PIXELS[0], PIXELS[0] + 1])
    told = p.summary().row(0, named=True)
    assert told["disk_hits"] == n_first > 0
    assert len(kept(tmp_path)) == told["tiles"] > n_first
    assert told["bytes"] == (told["tiles"] - n_first) * TILE * TILE * 2


@pytest.mark.parametrize(
    "damage", ["first byte", "checksum", "last byte", "shorter", "longer", "empty", "of another tile"]
)
def test_a_damaged_tile_is_fetched_again_and_mended(server, scenes, tmp_path, damage):
    with pr.options(cache_dir=tmp_path):
        read(scenes)
        victim, other = kept(tmp_path)[:2]
        good = victim.read_bytes()
        at = {"first byte": 4, "checksum": 3, "last byte": len(good) - 1}.get(damage)
        if at is not None:
            bad = bytearray(good)
            bad[at] ^= 1
        else:
            bad = {"shorter": good[:-1], "longer": good + b"x", "empty": b"", "of another tile": other.read_bytes()}[
                damage
            ]
        victim.write_bytes(bad)
        server.clear()
        np.testing.assert_array_equal(read(scenes), [PIXELS[0], PIXELS[0] + 1])
        assert len(server.requests) > 0
        assert victim.read_bytes() == good
        server.clear()
        read(scenes)
        assert server.requests == []


def test_any_flipped_byte_is_noticed(tmp_path):
    cache, data = DiskCache(str(tmp_path)), memoryview(bytes(range(40)))
    cache.write("ab" * 20, data, limit=10**9)
    (path,) = kept(tmp_path)
    good = path.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bad)
        assert cache.read("ab" * 20, 40) is None
        path.write_bytes(good)
    assert cache.read("ab" * 20, 40) == data
    assert cache.read("ab" * 20, 39) is None


def test_a_file_that_changed_is_another_file(server, scenes, tmp_path):
    with pr.options(cache_dir=tmp_path):
        read(scenes)
        server.files["a.tif"] = tiff(PIXELS + 7)
        again = pr.build_from_files([server.url("a.tif")], bands=["red"]).collect()
        np.testing.assert_array_equal(read(again), [PIXELS[0] + 7])
        # The old index means the old file, which the disk still has.
        np.testing.assert_array_equal(read(scenes), [PIXELS[0], PIXELS[0] + 1])


def test_without_a_version_nothing_is_kept(tmp_path):
    with RangeServer({"a.tif": tiff(PIXELS)}, etag=False, last_modified=None) as server:
        scenes = pr.build_from_files([server.url("a.tif")], bands=["red"]).collect()
        with pr.options(cache_dir=tmp_path):
            np.testing.assert_array_equal(read(scenes), [PIXELS[0]])
    assert kept(tmp_path) == []


def test_files_of_this_machine_are_not_kept(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(PIXELS))
    with pr.options(cache_dir=tmp_path / "cache"):
        read(pr.build_from_files(tmp_path / "a.tif", bands=["red"]).collect())
    assert kept(tmp_path / "cache") == []


@pytest.mark.parametrize("how", ["headers", "client", "signed"])
def test_what_credentials_protect_is_kept_only_when_asked_for(server, tmp_path, how):
    url = server.url("a.tif")
    prefix = url.removesuffix("a.tif")
    with httpx.Client() as client:
        if how == "headers":
            pr.configure_store(prefix, storage_options={"headers": {"Authorization": "Bearer abc"}})
        elif how == "client":
            pr.configure_store(prefix, client=client)
        try:
            with pytest.warns(UserWarning, match="left out of") if how == "signed" else contextlib.nullcontext():
                scenes = pr.build_from_files([url + "?sig=abc" * (how == "signed")], bands=["red"]).collect()
            with pr.options(cache_dir=tmp_path):
                read(scenes)
            assert kept(tmp_path) == []
            with pr.options(cache_dir=tmp_path, cache_protected=True):
                read(scenes)
                server.clear()
                np.testing.assert_array_equal(read(scenes), [PIXELS[0]])
            assert server.requests == []
            assert kept(tmp_path) != []
            # Who does not ask for it does not read what others kept.
            with pr.options(cache_dir=tmp_path):
                read(scenes)
            assert len(server.requests) > 0
        finally:
            pr.configure_store(prefix)


def test_the_folder_is_for_its_owner_only(tmp_path):
    DiskCache(str(tmp_path / "new" / "cache"))
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o077 == 0


def test_the_least_recently_used_tiles_leave_first(tmp_path):
    cache = DiskCache(str(tmp_path))
    names = [f"{n:02x}" * 20 for n in range(64)]
    for n, name in enumerate(names):
        cache.write(name, memoryview(bytes(996)), limit=10**9)
        os.utime(cache._path(name), (n * 1000, n * 1000))
    for name in names[:8]:
        assert cache.read(name, 996) is not None  # used now
    cache.shrink(32_000)
    left = [name for name in names if cache.holds(name)]
    assert left == [*names[:8], *names[-20:]]  # 7/8 of 32 files of 1,000 bytes


def test_the_limit_holds(scenes, tmp_path):
    limit = 400_000
    with pr.options(cache_dir=tmp_path, disk_cache_bytes=limit):
        for _ in range(3):
            read(scenes)
            assert sum(path.stat().st_size for path in kept(tmp_path)) <= limit


def test_what_killed_writers_left_is_removed(tmp_path):
    cache = DiskCache(str(tmp_path))
    name = "cd" * 20
    cache.write(name, memoryview(b"x" * 10), limit=10**6)
    dead, alive = (cache._path(name).with_name(f"{name[2:]}.{pid}-1") for pid in (1, 2))
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (1, 1))
    cache.shrink(10**6)
    assert not dead.exists()
    assert alive.exists()
    assert cache.holds(name)


def test_many_threads_and_a_small_limit_give_right_tiles_or_none(tmp_path):
    caches = [DiskCache(str(tmp_path)) for _ in range(3)]  # as three processes have them
    wrong = []

    def work(cache, seed):
        rng = np.random.default_rng(seed)
        for _ in range(150):
            n = int(rng.integers(20))
            name, data = f"{n:02x}" * 20, bytes([n]) * 500
            if rng.random() < 0.5:
                cache.write(name, memoryview(data), limit=8_000)
            elif (found := cache.read(name, 500)) is not None and found != data:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(caches[n % 3], n)) for n in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    caches[0].shrink(8_000)
    assert sum(path.stat().st_size for path in kept(tmp_path)) <= 8_000


def test_a_full_disk_is_no_error(scenes, tmp_path, monkeypatch):
    def full(*_args, **_words):
        raise OSError(28, "No space left on device")

    with pr.options(cache_dir=tmp_path):
        monkeypatch.setattr(Path, "replace", full)
        np.testing.assert_array_equal(read(scenes), [PIXELS[0], PIXELS[0] + 1])
        monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "shrink.lock"] == []


def test_a_folder_that_cannot_be_made_is_named(scenes, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pr.options(cache_dir=tmp_path / "file" / "cache"),
        pytest.raises(UsageError, match=r"file/cache cannot be used"),
    ):
        scenes.select(pl.col("red").raster.read_window(window=WINDOW))


@pytest.mark.parametrize(
    "wrong", [{"cache_dir": 3}, {"cache_dir": ""}, {"disk_cache_bytes": -1}, {"cache_protected": 1}]
)
def test_wrong_words_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        pr.options(**wrong)


def test_tiles_on_disk_cost_nothing_of_a_budget(scenes, tmp_path):
    with pr.options(cache_dir=tmp_path):
        read(scenes)
        with pr.options(budget_requests=0, budget_bytes=0):
            np.testing.assert_array_equal(read(scenes), [PIXELS[0], PIXELS[0] + 1])
