"""What does Polars ask of an engine, and what does it read of a folder?

`pl.Engine` is public, and marked unstable: what the engines of this package lean on is kept here.
"""

from __future__ import annotations

import inspect

import polars as pl
import pytest
from polars.lazyframe.query_result import SingleNodeQueryResult

SINK_KEYWORDS = {
    "arrow_schema": None,
    "compression": "zstd",
    "compression_level": None,
    "credential_provider": "auto",
    "data_page_size": None,
    "encryption": None,
    "maintain_order": True,
    "metadata": None,
    "mkdir": False,
    "row_group_size": None,
    "sinked_paths_callback": None,
    "statistics": True,
    "storage_options": None,
    "sync_on_close": None,
}
"""Keywords of `sink_parquet` that an engine gets beside the query, the path and the optimizations, as they are by default."""


class Noting(pl.Engine):
    def __init__(self):
        self.asked = []

    @property
    def name(self):
        return "noting"

    def collect(self, lf, **keywords):
        self.asked.append(("collect", lf, keywords))
        return pl.DataFrame({"a": [7]})

    def execute(self, lf, **keywords):
        return SingleNodeQueryResult(self.collect(lf, **keywords))

    def sink_parquet(self, lf, path, **keywords):
        self.asked.append((path, lf, keywords))


def test_an_engine_has_these_abstract_methods():
    assert pl.Engine.__abstractmethods__ == {"name", "collect", "execute"}
    assert isinstance(inspect.getattr_static(pl.Engine, "plan_engine"), property)


def test_an_engine_is_handed_the_query_and_all_keywords():
    engine, query = Noting(), pl.LazyFrame({"a": [1]})
    assert query.collect(engine=engine)["a"].to_list() == [7]
    query.sink_parquet("somewhere", engine=engine)
    (verb, _, collected), (path, _, sunk) = engine.asked
    assert (verb, path) == ("collect", "somewhere")
    optimizations = [keywords.pop("optimizations") for keywords in (collected, sunk)]
    assert all(isinstance(one, pl.QueryOptFlags) for one in optimizations)
    assert collected == {"background": False, "post_opt_callback": None}
    assert sunk == SINK_KEYWORDS


def test_an_engine_may_be_the_default_until_another_is():
    engine, query = Noting(), pl.LazyFrame({"a": [1]})
    with pl.Config(engine_affinity=engine):
        assert query.collect()["a"].to_list() == [7]
        with pl.Config(engine_affinity="auto"):
            assert query.collect()["a"].to_list() == [1]
        assert query.collect()["a"].to_list() == [7]
    assert query.collect()["a"].to_list() == [1]


@pytest.mark.parametrize("name", ["_manifest.json", ".manifest.json", "_job/manifest.json", ".job/manifest.json"])
def test_a_scan_of_a_folder_takes_every_file_in_it_whatever_its_name(tmp_path, name):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "part-000000.parquet")
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    other.touch()
    assert pl.scan_parquet(tmp_path).collect().height == 1  # an empty file is passed over
    other.write_text("{}")
    with pytest.raises(pl.exceptions.InvalidOperationError, match="different file extensions"):
        pl.scan_parquet(tmp_path).collect()


def test_a_scan_of_a_folder_does_not_take_files_beside_it(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "out" / "part-000000.parquet", mkdir=True)
    pl.DataFrame({"b": [1]}).write_parquet(tmp_path / "out.job" / "targets.parquet", mkdir=True)
    assert pl.scan_parquet(f"{tmp_path}/out").collect().columns == ["a"]
