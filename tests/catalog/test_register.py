"""Are datasets that a user registers found, by this process and others, and is the file whole at every moment?"""

from __future__ import annotations

import os
import subprocess
import sys

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.catalog import known
from polars_rasteret.errors import FetchError, UsageError


@pytest.fixture(autouse=True)
def local(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "registered", {})
    path = tmp_path / "conf" / "datasets.toml"
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(path))
    return path


def made(dataset_id="mine/fields", **changed):
    facts = {"title": "Fields", "api": "https://stac.example.org/v1", "collection": "fields", "bands": {"red": "B04"}}
    return pr.DatasetDescriptor(id=dataset_id, **{**facts, **changed})


def test_a_dataset_of_this_process_leaves_no_file_and_can_be_taken_out(local):
    pr.register(made())
    assert pr.dataset("mine/fields") == made()
    assert pr.datasets("mine/fields")["origin"].to_list() == ["registered"]
    assert not local.parent.exists()
    pr.unregister("mine/fields")
    with pytest.raises(UsageError, match="no dataset is called 'mine/fields'"):
        pr.dataset("mine/fields")


def test_a_kept_dataset_is_found_by_another_process_and_wins_over_a_built_in_one(local):
    mine = made("earthsearch/sentinel-2-l2a", title="My mirror")
    pr.register(mine, persist=True)
    words = "import polars_rasteret as pr; print(pr.dataset('earthsearch/sentinel-2-l2a').title)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "My mirror"
    assert pr.datasets("mirror")["origin"].to_list() == ["local"]
    pr.unregister("earthsearch/sentinel-2-l2a")
    assert pr.dataset("earthsearch/sentinel-2-l2a").title.startswith("Sentinel-2")
    assert "My mirror" not in local.read_text()


def test_processes_that_register_at_once_lose_nothing(local):
    words = (
        "import sys, polars_rasteret as pr\n"
        "for number in range(4):\n"
        "    pr.register(pr.DatasetDescriptor(id=f'mine/{sys.argv[1]}-{number}', title='x', path='/x'), persist=True)"
    )
    running = [subprocess.Popen([sys.executable, "-c", words, name], env=os.environ) for name in ("a", "b", "c")]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert set(known.local_datasets()) == {f"mine/{name}-{number}" for name in "abc" for number in range(4)}
    assert [one.name for one in local.parent.iterdir()] == ["datasets.toml"]


def test_a_write_that_fails_leaves_the_file_as_it_was(local, monkeypatch):
    pr.register(made(), persist=True)
    before = local.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FetchError, match="could not be written"):
        pr.register(made("mine/other"), persist=True)
    assert local.read_text() == before
    assert [one.name for one in local.parent.iterdir()] == ["datasets.toml"]


def test_a_file_that_is_not_in_order_is_named_and_never_written_over(local):
    local.parent.mkdir()
    local.write_text('[dataset."mine/fields"]\ntitel = "Fields"\n')
    for call in (pr.datasets, lambda: pr.dataset("mine/fields"), lambda: pr.register(made(), persist=True)):
        with pytest.raises(
            UsageError, match=r"datasets\.toml, line 2: dataset 'mine/fields': there is no field 'titel'"
        ):
            call()
    assert local.read_text() == '[dataset."mine/fields"]\ntitel = "Fields"\n'


def test_a_collection_that_is_registered_says_its_bands_days_and_place(tmp_path, monkeypatch):
    pr.testing.example_scenes().raster.sink_collection(tmp_path / "scenes")
    monkeypatch.chdir(tmp_path)
    one = pr.register_local("mine/scenes", "scenes", title="Two scenes")
    assert one == pr.dataset("mine/scenes")
    assert one.path == str(tmp_path / "scenes")
    assert list(one.bands) == ["red", "nir"]
    assert [day.isoformat() for day in one.temporal_extent] == ["2024-05-01", "2024-06-01"]
    assert one.spatial_extent == pr.testing.example_scenes().raster.bounds()
    pl.DataFrame({"id": ["a"]}).write_parquet(tmp_path / "table.parquet")
    with pytest.raises(UsageError, match="is not a collection"):
        pr.register_local("mine/table", tmp_path / "table.parquet")
    with pytest.raises(UsageError):
        pr.register_local("mine/none", tmp_path / "none")


def test_what_opens_a_collection_is_not_kept(tmp_path, local):
    pr.testing.example_scenes().raster.sink_collection(tmp_path / "scenes")
    key = "planted-key-of-the-catalog"
    one = pr.register_local("mine/scenes", tmp_path / "scenes", storage_options={"aws_secret_access_key": key})
    assert key not in local.read_text() + repr(one)
    for place in (f"https://me:{key}@host/scenes", f"https://host/scenes?sig={key}"):
        with pytest.raises(UsageError, match="may hold a key") as caught:
            made(api=None, collection=None, path=place)
        assert key not in str(caught.value)


def test_an_exported_dataset_is_registered_elsewhere_unchanged(tmp_path):
    for name in ("pc/sentinel-2-l2a", "aef/v1-annual"):
        pr.export_dataset(name, tmp_path / "one.toml")
        pr.register(tmp_path / "one.toml", persist=True)
        assert known.local_datasets()[name] == known.built_in()[name]
    with pytest.raises(UsageError, match="no dataset is called"):
        pr.export_dataset("mine/none", tmp_path / "none.toml")
    with pytest.raises(FetchError, match="could not be read"):
        pr.register(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"expected a pr\.DatasetDescriptor"):
        pr.register({"id": "x"})


def test_the_file_lies_in_the_users_folder_of_settings_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("POLARS_RASTERET_DATASETS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    pr.register(made(), persist=True)
    assert (tmp_path / "settings" / "polars_rasteret" / "datasets.toml").is_file()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert pr.datasets("mine/").height == 0
    # A link to a file that machines share stays a link.
    (tmp_path / "link.toml").symlink_to(tmp_path / "settings" / "polars_rasteret" / "datasets.toml")
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "link.toml"))
    pr.register(made("mine/other"), persist=True)
    assert (tmp_path / "link.toml").is_symlink()
    assert pr.datasets("mine/").height == 2


def test_a_near_miss_of_an_id_is_helped():
    with pytest.raises(UsageError, match="did you mean 'pc/sentinel-2-l2a'"):
        pr.dataset("pc/sentinel2-l2a")
    with pytest.raises(UsageError, match="is built in"):
        pr.unregister("pc/sentinel-2-l2a")
