"""Does a key that opens a file stay in this process, while the build reads with it?"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.fetch.signing import forget_keys
from polars_rasteret.testing import make_cog
from tests.support.planted_secrets import planted
from tests.support.range_server import Fault, RangeServer

SECRET = planted("k3yC4NARY")
PLACE = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
DEEP = pl.Struct({"a": pl.List(pl.Struct({"b": pl.String}))})
FORMS = {
    "signed": lambda url: f"{url}?sv=2024&sp=r&sig={SECRET}&versionId=7",
    "password": lambda url: url.replace("://", f"://me:{SECRET}@") + "?versionId=7",
}


@pytest.fixture
def server():
    """Gives files to whoever has the key, and to nobody else."""
    with RangeServer({f"{n}.tif": make_cog(np.full((32, 32), n, "uint8"), transform=PLACE) for n in (1, 2)}) as one:
        one.fault = lambda seen: (
            None if f"sig={SECRET}" in seen.target or "Authorization" in seen.headers else Fault(status=403)
        )
        yield one
        forget_keys(one.origin)


def built(server, form, into=None, how="files"):
    hrefs = [FORMS[form](server.url(f"{n}.tif")) for n in (1, 2)]
    if how == "files":
        return lambda: pr.build_from_files(hrefs, into=into, on_error="raise", datetime=["2024-05-01", "2024-05-02"])
    table = pl.DataFrame(
        {
            "id": hrefs,
            "image": hrefs,
            "assets": [{"a": {"href": one, "n": 1}, "more": [one, None]} for one in hrefs],
            "json": [f'{{"href": "{one}"}}' for one in hrefs],
            "label": ["x", None],
        }
    )
    return lambda: pr.build_from_table(table, bands={"b1": "image"}, into=into, on_error="raise")


@pytest.mark.parametrize("how", ["files", "table"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_written", [False, True])
def test_a_build_reads_with_the_key_and_leaves_it_out_with_one_warning(server, form, how, is_written, tmp_path):
    build = built(server, form, tmp_path / "c" if is_written else None, how)
    with pytest.warns(UserWarning, match=r"\d href\(s\) hold a signature") as told:
        scenes = build()
    assert len(told) == 1
    assert SECRET not in str(told[0].message)
    frame = scenes.collect()
    plain = [f"{server.url(f'{n}.tif')}?versionId=7" for n in (1, 2)]
    assert frame["b1"].struct.field("href").to_list() == plain
    assert frame["header_error"].to_list() == [None, None]
    assert SECRET not in repr(frame.rows())
    assert SECRET.encode() not in scenes.serialize(format="binary")
    for part in Path(tmp_path).rglob("*"):
        assert part.is_dir() or SECRET.encode() not in part.read_bytes()
    if how == "table":
        assert frame["assets"].to_list() == [{"a": {"href": one, "n": 1}, "more": [one, None]} for one in plain]
        assert frame["label"].to_list() == ["x", None]
    # This process reads the pixels too.
    pixels = scenes.select(pl.col("b1").raster.read_window(window=(0, 1, 0, 1))).collect()
    assert pixels["b1"].struct.field("pixels").to_list() == [[1], [2]]
    forget_keys(server.origin)
    clear_cache()
    with pytest.raises(pr.errors.FetchError, match="403"):
        scenes.select(pl.col("b1").raster.read_window(window=(2, 3, 2, 3))).collect()


def test_a_build_that_goes_on_knows_its_files_by_their_hrefs_without_keys(server, tmp_path):
    for key in (SECRET, SECRET + "&se=2"):
        hrefs = [f"{server.url(f'{n}.tif')}?sig={key}" for n in (1, 2)]
        server.clear()
        with pytest.warns(UserWarning, match="signature"):
            pr.build_from_files(hrefs, bands=["b1"], datetime=["2024-05-01", "2024-05-02"], into=tmp_path / "c")
    assert all(seen.byte_stop == 16 for seen in server.requests), "an unchanged header was read again"


@pytest.mark.parametrize("dtype", [pl.List(pl.String), pl.Array(pl.String, 2), DEEP])
def test_a_written_collection_holds_no_key(server, dtype, tmp_path):
    signed = f"https://written.example/a.tif?sig={SECRET}"
    value = {"a": [{"b": signed}, None]} if isinstance(dtype, pl.Struct) else [signed, None]
    field = pl.field("href") + f"?sig={SECRET}"
    scenes = pr.testing.example_scenes().with_columns(
        pl.col("nir").struct.with_fields(href=field), links=pl.lit(pl.Series([value, None], dtype=dtype))
    )
    with pytest.warns(UserWarning, match="signature") as told:
        scenes.raster.sink_collection(tmp_path / "c.parquet")
    assert len(told) == 1
    frame = pr.scan_collection(tmp_path / "c.parquet").collect()
    assert SECRET not in repr(frame.rows())
    assert SECRET.encode() not in (tmp_path / "c.parquet").read_bytes()
    assert frame["links"].null_count() == 1
    assert "written.example/a.tif" in repr(frame["links"].to_list())
    forget_keys("https://written.example/")
    forget_keys("memory://")


def test_an_ordinary_build_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pr.testing.example_scenes().raster.sink_collection(tmp_path / "c.parquet")
