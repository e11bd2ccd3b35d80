"""Is a table found wherever it is, and is no more of it read than the build needs?"""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support.range_server import Fault, RangeServer
from tests.support.scene_files import write_scene
from tests.support.signed_bucket import SignedBucket


@pytest.fixture
def table(tmp_path):
    write_scene(tmp_path / "images/a.tif")
    write_scene(tmp_path / "images/b.tif")
    return pl.DataFrame({"id": ["a", "b"], "href": ["images/a.tif", "./images/b.tif"], "year": [2020, 2021]})


def _ids_and_hrefs(scenes):
    found = scenes.collect()
    assert found["header_error"].null_count() == found.height
    return dict(zip(found["id"], found["red"].struct.field("href"), strict=True))


def test_a_path_is_a_file_a_folder_or_a_glob_and_relative_hrefs_begin_beside_it(table, tmp_path):
    hrefs = {name: str(tmp_path / f"images/{name}.tif") for name in "ab"}
    table.write_parquet(tmp_path / "index.parquet")
    assert _ids_and_hrefs(pr.build_from_table(tmp_path / "index.parquet", bands={"red": "href"})) == hrefs
    assert _ids_and_hrefs(pr.build_from_table(f"{tmp_path}/*.parquet", bands={"red": "href"})) == hrefs
    (tmp_path / "index.parquet").unlink()
    for year, rows in table.group_by("year"):
        folder = tmp_path / f"year={year[0]}"
        folder.mkdir()
        rows.drop("year").write_parquet(folder / "part.parquet")
    in_folder = pr.build_from_table(tmp_path, bands={"red": "href"}, filter=pl.col("year") == 2021)
    assert _ids_and_hrefs(in_folder) == {"b": hrefs["b"]}
    assert in_folder.collect()["year"].to_list() == [2021]


def test_a_table_on_the_web_is_read_by_ranges_of_the_columns_and_row_groups_that_are_needed(tmp_path):
    image = write_scene(tmp_path / "a.tif")
    rng = np.random.default_rng(0)
    n = 2_000
    table = pl.DataFrame(
        {
            "id": [f"s{number}" for number in range(n)],
            "href": "https://old.test/a.tif",
            "year": np.repeat(np.arange(2000, 2020), n // 20),
            "label": ["x"] * n,
            "embedding": [rng.bytes(1_000) for _ in range(n)],
        }
    )
    buffer = io.BytesIO()
    table.write_parquet(buffer, row_group_size=n // 20)
    with RangeServer({"tables/index.parquet": buffer.getvalue(), "a.tif": image}) as server:
        scenes = pr.build_from_table(
            server.url("tables/index.parquet"),
            bands={"red": "href"},
            filter=(pl.col("year") == 2007) & pl.col("id").is_in(["s700", "s701", "s800"]),
            columns=["label"],
            rewrite={"https://old.test/": server.url("")},
        ).collect()
        of_table = sum(
            seen.byte_stop - seen.byte_start for seen in server.requests if seen.path == "tables/index.parquet"
        )
    assert scenes["id"].to_list() == ["s700", "s701"]
    assert scenes["header_error"].null_count() == 2
    assert "label" in scenes.columns
    assert {"year", "embedding", "href"}.isdisjoint(scenes.columns)
    # The last 256 kB hold the footer; the other 1.7 MB of embeddings are never asked for.
    assert of_table < 700_000 < len(buffer.getvalue()) - 1_000_000


def test_relative_hrefs_of_a_table_on_the_web_begin_beside_it(table, tmp_path):
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    files = {"t/index.parquet": buffer.getvalue(), "t/images/a.tif": tmp_path / "images/a.tif"}
    with RangeServer({**files, "t/images/b.tif": tmp_path / "images/b.tif"}) as server:
        found = _ids_and_hrefs(pr.build_from_table(server.url("t/index.parquet"), bands={"red": "href"}))
        assert found == {name: server.url(f"t/images/{name}.tif") for name in "ab"}


def test_a_table_on_the_web_may_not_name_files_of_this_machine(tmp_path):
    image = write_scene(tmp_path / "a.tif")
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["a"], "href": [str(image)]}).write_parquet(buffer)
    with RangeServer({"index.parquet": buffer.getvalue()}) as server:
        for into in (None, tmp_path / "built"):
            found = pr.build_from_table(server.url("index.parquet"), bands={"red": "href"}, into=into).collect()
            assert found["red"].is_null().all()
            assert "this machine" in found["header_error"][0]


def test_hugging_face_tables_and_hrefs_are_found_through_the_hub(table, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    buffer = io.BytesIO()
    table.with_columns(pl.Series("href", ["hf://datasets/o/n@v2/images/a.tif", "images/b.tif"])).write_parquet(buffer)
    root = "datasets/o/n/resolve/v2"
    files = {f"{root}/index.parquet": buffer.getvalue()}
    files |= {f"{root}/images/{name}.tif": tmp_path / f"images/{name}.tif" for name in "ab"}
    with RangeServer(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        found = _ids_and_hrefs(pr.build_from_table("hf://datasets/o/n@v2/index.parquet", bands={"red": "href"}))
        assert found == {name: server.url(f"{root}/images/{name}.tif") for name in "ab"}
        listing = [{"type": "file", "path": "index.parquet", "size": 1, "oid": "x"}]
        server.fault = lambda seen: Fault(page=json.dumps(listing).encode()) if seen.path.startswith("api/") else None
        assert _ids_and_hrefs(pr.build_from_table("hf://datasets/o/n@v2", bands={"red": "href"})) == found


@pytest.mark.parametrize(
    "as_source",
    [
        pl.DataFrame.lazy,
        pl.DataFrame.to_arrow,
        lambda frame: pa.RecordBatchReader.from_batches(frame.to_arrow().schema, frame.to_arrow().to_batches()),
        lambda frame: ds.dataset(frame.to_arrow(compat_level=pl.CompatLevel.oldest())),
        lambda frame: pytest.importorskip("duckdb").from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest())),
    ],
    ids=["lazy", "arrow", "reader", "dataset", "duckdb"],
)
def test_frames_and_arrow_of_any_kind_are_taken(table, tmp_path, monkeypatch, as_source):
    monkeypatch.chdir(tmp_path)
    scenes = pr.build_from_table(as_source(table), bands={"red": "href"}, filter=pl.col("year") > 2020)
    assert _ids_and_hrefs(scenes) == {"b": str(tmp_path / "images/b.tif")}


def test_filter_and_columns_go_into_the_scan_of_a_lazy_frame(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def source(with_columns, predicate, _n_rows, _batch_size):
        asked.append((with_columns, predicate))
        yield table.filter(predicate).select(with_columns)

    lazy = pl.io.plugins.register_io_source(source, schema=table.schema)
    pr.build_from_table(lazy, bands={"red": "href"}, columns=[], filter=pl.col("id") == "a")
    ((columns, predicate),) = asked
    assert sorted(columns) == ["href", "id"]
    assert predicate.meta.eq(pl.col("id") == "a")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"frame": "nowhere.parquet"}, "nothing is at"),
        ({"frame": "table.csv"}, "scan_csv"),
        ({"frame": 7}, "is a int"),
        ({"filter": "year > 3"}, "is a str"),
        ({"filter": pl.col("nope") > 3}, "nope"),
        ({"columns": "label"}, "expected a list"),
        ({"columns": ["nope"]}, "'nope'"),
        ({"column_map": {"nope": "id"}}, "'nope'"),
        ({"column_map": {"year": "id"}}, "id would be there twice"),
        ({"column_map": {"year": 3}}, "column_map is"),
        ({"rewrite": "https://a/"}, "rewrite is"),
        ({"rewrite": {"https://a/": None}}, "rewrite is"),
    ],
)
def test_wrong_words_about_tables_are_usage_errors(table, words, message):
    words = {"frame": table, "bands": {"red": "href"}, **words}
    with pytest.raises(UsageError, match=message):
        pr.build_from_table(words.pop("frame"), **words)


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match=r"x\.parquet cannot be opened as a Parquet file"):
        pr.build_from_table(tmp_path / "x.parquet", bands={"red": "href"})


def _with_rows(path, image):
    """Return a real GeoParquet table with an id and an href in each row, its metadata kept."""
    read = pq.read_table(path)
    ids = pa.array([str(number) for number in range(len(read))])
    return read.append_column("id", ids).append_column("href", pa.array([str(image)] * len(read)))


@pytest.mark.parametrize("as_path", [True, False])
@pytest.mark.parametrize("name", ["example-crs_vermont-utm_geo", "example-crs_vermont-4326_geo"])
def test_the_crs_of_geoparquet_is_read_of_its_metadata(shared_file, tmp_path, name, as_path):
    geopandas = pytest.importorskip("geopandas")
    path = shared_file(f"geoparquet/geoarrow-data__{name}.parquet")
    image = tmp_path / "a.tif"
    image.write_bytes(pr.testing.make_cog(np.ones((10, 10), np.uint16)))
    table = _with_rows(path, image)
    if as_path:
        pq.write_table(table, tmp_path / "t.parquet")
        table = tmp_path / "t.parquet"
    found = shapely.from_wkb(pr.build_from_table(table, bands={"red": "href"}).collect()["geometry"][0])
    own = geopandas.read_parquet(path)
    expected = own.set_geometry(own.segmentize(own.total_bounds[2:].max() / 1e4)).to_crs(4326).geometry[0]
    assert found.symmetric_difference(expected).area < 1e-5 * expected.area  # edges are cut at other places


def test_native_encodings_and_other_names_of_geoparquet_are_understood(shared_file, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    path = shared_file("geoparquet/geopandas__data-polygon-encoding_native.parquet")
    image = write_scene(tmp_path / "a.tif")
    table = _with_rows(path, image)
    geo = json.loads(table.schema.metadata[b"geo"])
    table = table.rename_columns(["col", "shape", "id", "href"])
    geo = {**geo, "primary_column": "shape", "columns": {"shape": geo["columns"]["geometry"]}}
    table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    for words in ({}, {"column_map": {"shape": "geometry"}}):
        scenes = pr.build_from_table(table, bands={"red": "href"}, **words).collect()
        assert "shape" not in scenes.columns
        found = shapely.from_wkb(scenes["geometry"].to_list())
        expected = geopandas.read_parquet(path).geometry.to_numpy()
        # The second polygon of the file is empty, and one is null: there the footprint of the image stands in.
        for own, other in zip(found, expected, strict=True):
            assert own.equals(other) or other is None or other.is_empty


def test_edges_on_a_sphere_are_refused_also_of_geoparquet(tmp_path):
    wkb = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    table = pa.table({"id": ["a"], "href": ["x.tif"], "geometry": pa.array([wkb])})
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "edges": "spherical"}}}
    with pytest.raises(UsageError, match="edges='spherical'"):
        pr.build_from_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), bands={"red": "href"})


def test_keys_open_a_private_table_and_its_files(tmp_path):
    image = write_scene(tmp_path / "a.tif").read_bytes()
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["a", "b"], "href": ["s3://my-tables/a.tif", "gone.tif"]}).write_parquet(buffer)
    with SignedBucket("my-tables", {"a.tif": image, "index/t.parquet": buffer.getvalue()}) as bucket:
        options = {**bucket.place, **bucket.keys}
        words = {"bands": {"red": "href"}, "filter": pl.col("id") == "a"}
        scenes = pr.build_from_table("s3://my-tables/index", **words, storage_options=options)
        # The keys are remembered for the bucket, so that its pixels can be read.
        points = pl.DataFrame({"x": [500_005.0], "y": [5_399_995.0]})
        assert scenes.raster.sample_points(points, crs=32632).collect()["red"].to_list() == [0]
        assert {one.key_id for one in bucket.requests} == {bucket.key_id}
        assert scenes.collect()["header_error"].to_list() == [None]
        pr.configure_store("s3://my-tables/")


@pytest.mark.parametrize("is_relative", [False, True])
def test_what_a_caller_has_rewritten_is_the_callers_word_and_what_leaves_it_is_not(tmp_path, monkeypatch, is_relative):
    monkeypatch.chdir(tmp_path)
    image = write_scene(tmp_path / "images/a.tif")
    write_scene(tmp_path / "secret.tif")
    hrefs = ["https://old.test/a.tif", "https://old.test/../secret.tif", "https://old.test/%2e%2e/secret.tif"]
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["a", "b", "c"], "href": hrefs}).write_parquet(buffer)
    with RangeServer({"t.parquet": buffer.getvalue()}) as server:
        words = {
            "bands": {"red": "href"},
            "rewrite": {"https://old.test/": "images/" if is_relative else f"{image.parent}/"},
        }
        for more in ({}, {"into": tmp_path / "built"}, {"read_headers": False, "pixel_dtypes": pl.UInt16}):
            scenes = pr.build_from_table(server.url("t.parquet"), **words, **more).sort("id").collect()
            assert scenes["header_error"].is_null().to_list() == [True, False, False], more
            assert scenes["red"].is_null().to_list() == [False, True, True]
            assert "this machine" in scenes["header_error"][1]
