"""Do ``sample``, ``window`` and ``estimate`` answer as the functions do, from and into files of every kind?"""

from __future__ import annotations

import io
import json
import sys

import geopandas
import numpy as np
import polars as pl
import pytest
import rasterio
import rasterio.features
import shapely
from polars.testing import assert_frame_equal
from rasterio.warp import transform, transform_bounds

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource
from tests.support.shell_world import CALIFORNIA, POINTS

BOX = (-116.3817612529528, 32.9717231160389, -116.38170382192204, 32.97177199566637)
BOUNDS = ",".join(map(str, BOX))


@pytest.fixture
def image(world):
    with rasterio.open(world / CALIFORNIA) as file:
        yield file


@pytest.fixture
def expected(image):
    """Give the values at the points, by rasterio."""
    x, y = transform("EPSG:4326", image.crs, POINTS["lon"].head(2), POINTS["lat"].head(2))
    return [row.tolist() for row in image.sample(zip(x, y, strict=True), [1, 4])]


def write_points(kind: str, folder) -> str:
    path = str(folder / f"p{kind}")
    frame = geopandas.GeoDataFrame(
        {"name": POINTS["name"].to_list()}, geometry=geopandas.points_from_xy(POINTS["lon"], POINTS["lat"]), crs=4326
    )
    match kind:
        case ".parquet":
            POINTS.write_parquet(path)
        case ".arrow":
            POINTS.write_ipc(path)
        case ".csv":
            POINTS.write_csv(path)
        case ".geojson":
            (folder / "p.geojson").write_text(frame.to_json())
        case "_utm.parquet":
            frame.to_crs(26911).rename_geometry("place").to_parquet(path)
        case "_lonlat.parquet":
            frame.set_crs("OGC:CRS84", allow_override=True).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", [".parquet", ".arrow", ".csv", ".geojson", "_utm.parquet", "_lonlat.parquet"])
def test_points_come_from_every_kind_of_file(kind, run, tmp_path, expected):
    states_crs = kind not in (".parquet", ".arrow", ".csv")
    words = ["sample", write_points(kind, tmp_path), "-c", "naip", "--bands", "R", "NIR"]
    if not states_crs:
        refused = run(*words)
        assert (refused.code, refused.out) == (2, "")
        assert "Pass --crs, for instance --crs 4326" in refused.err
        words += ["--crs", "4326"]
    said = run(*words)
    assert (said.code, said.err) == (0, "")
    found = pl.read_csv(io.StringIO(said.out))
    assert found["name"].to_list() == ["a", "b", "c"]
    assert found["record_id"].to_list() == ["california", "california", None]
    assert found.select("R", "NIR").rows() == [*map(tuple, expected), (None, None)]


def test_points_come_from_a_pipe(run, monkeypatch, expected):
    class Pipe:
        buffer = io.BytesIO(POINTS.write_csv().encode())

    monkeypatch.setattr(sys, "stdin", Pipe)
    said = run("sample", "-", "-c", "naip", "--crs", "4326", "--bands", "R,NIR", "--unmatched", "drop", "--json")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [[row["R"], row["NIR"]] for row in rows] == expected


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson", ".arrow"])
def test_an_answer_goes_into_every_kind_of_file_as_a_whole(suffix, run, tmp_path):
    out = tmp_path / f"out{suffix}"
    words = [
        "sample",
        "points.csv",
        "-c",
        "naip",
        "--crs",
        "4326",
        "--bands",
        "R",
        "--unmatched",
        "drop",
        "-o",
        str(out),
    ]
    said = run(*words)
    assert (said.code, said.out, said.err) == (0, f"{out}: 2 rows\n", "")
    read = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".ndjson": pl.read_ndjson, ".arrow": pl.read_ipc}[suffix]
    wanted = pr.scan_collection("naip").raster.sample_points(POINTS, ["R"], crs=4326, unmatched="drop").collect()
    columns = ["name", "lon", "record_id", "R"]
    assert_frame_equal(read(out).select(columns), wanted.select(columns), check_dtypes=suffix in (".parquet", ".arrow"))
    refused = run(*words)
    assert refused.code == 2
    assert "--force" in refused.err
    assert run(*words, "--force", "--json").json == {"path": str(out), "rows": 2}
    assert [one.name for one in tmp_path.iterdir()] == [out.name]


def test_a_failed_command_leaves_what_was_there(run, tmp_path, world):
    pr.configure_store("vault://x/", store=MemorySource({"vault://x/gone.tif": (world / CALIFORNIA).read_bytes()}))
    pr.build_from_files(["vault://x/gone.tif"], bands=["R", "G", "B", "NIR"]).raster.sink_collection(tmp_path / "c")
    pr.configure_store("vault://x/", store=MemorySource({}))
    out = tmp_path / "out.parquet"
    out.write_text("before")
    words = ["sample", "points.csv", "-c", str(tmp_path / "c"), "--crs", "4326", "-o", str(out), "--force"]
    failed = run(*words)
    assert (failed.code, failed.out) == (1, "")
    assert "gone.tif" in failed.err
    assert out.read_text() == "before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c", "out.parquet"]
    assert run(*words, "--on-error", "null").code == 0
    assert pl.read_parquet(out)["read_error"].null_count() == 1  # the point in Italy has no record


def test_words_choose_records_and_pixels(run):
    def ids(*words: str) -> list:
        said = run("sample", "points.csv", "-c", "naip", "--crs", "4326", "--bands", "R", "--unmatched", "drop", *words)
        assert said.code == 0, said.err
        return pl.read_csv(io.StringIO(said.out))["name"].to_list() if said.out.strip() else []

    assert ids("--datetime", "2020-04") == ["a", "b"]
    assert ids("--datetime", "2011") == []
    assert ids("--bbox", "-117,32,-116,33") == ["a", "b"]
    assert ids("--bbox=-90,20,-80,40") == []
    assert ids("--cloud-cover-lt", "50") == ["a", "b"]
    assert ids("--where", '"eo:cloud_cover" > 50') == []
    assert ids("--match", "latest") == ["a", "b"]
    said = run(
        "sample", "points.csv", "-c", "naip", "--crs", "4326", "--bands", "R", "--valid", "R > 80", "--match", "latest"
    )
    assert pl.read_csv(io.StringIO(said.out))["R"].to_list() == [None, 96, None]


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio
@pytest.mark.parametrize("source", ["naip", CALIFORNIA, "*.tif"])
def test_a_window_is_what_rasterio_reads(source, run, tmp_path, image):
    out = tmp_path / "w.npz"
    words = [
        "window",
        "-c",
        source,
        "--bounds",
        BOUNDS,
        "--crs",
        "4326",
        "--bands",
        *(["R", "NIR"] if source == "naip" else ["b1", "b4"]),
    ]
    said = run(*words, "-o", str(out))
    assert (said.code, said.out) == (0, f"{out}: 1 rows\n"), said.err
    window = rasterio.features.geometry_window(image, [shapely.box(*transform_bounds("EPSG:4326", image.crs, *BOX))])
    with np.load(out) as found:
        assert found["valid"].all()
        assert found["column:record_id"].tolist() == [("california" if source == "naip" else CALIFORNIA[:-4])]
        np.testing.assert_array_equal(found["pixels"][0], image.read([1, 4], window=window))


def test_windows_by_number_and_of_areas(run, tmp_path, image):
    out = tmp_path / "w.parquet"
    said = run(
        "window", "-c", "naip", "--window", "2,6,3,8", "--bands", "R", "--where", "id = 'california'", "-o", str(out)
    )
    assert said.code == 0, said.err
    np.testing.assert_array_equal(pl.read_parquet(out)["R"].to_numpy()[0], image.read(1)[2:6, 3:8])
    areas = tmp_path / "areas.geojson"
    ring = [[BOX[0], BOX[1]], [BOX[2], BOX[1]], [BOX[2], BOX[3]], [BOX[0], BOX[3]], [BOX[0], BOX[1]]]
    areas.write_text(
        json.dumps(
            {"type": "Feature", "properties": {"field": 7}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    )
    said = run(
        "window", "-c", "naip", "--areas", str(areas), "--shape", "4,4", "--bands", "R", "-o", str(out), "--force"
    )
    assert said.code == 0, said.err
    row = pl.read_parquet(out).row(0, named=True)
    assert (row["field"], row["record_id"], np.shape(row["R"])) == (7, "california", (4, 4))


def test_an_estimate_is_that_of_the_function(run):
    words = ["points.csv", "-c", "naip", "--crs", "4326", "--bands", "R"]
    cost = pr.estimate(pr.scan_collection("naip").raster.sample_points(POINTS, ["R"], crs=4326))
    found = run("estimate", "sample", *words, "--json").json
    assert [found[name] for name in ("records", "tiles", "requests", "bytes", "bound")] == [
        cost.records,
        cost.tiles,
        cost.requests,
        cost.bytes,
        "exact",
    ]
    said = run("estimate", "window", "-c", "naip", "--bounds", BOUNDS, "--crs", "4326")
    assert said.out.startswith("records        1\n")
    assert run("estimate", *words, "--json").json["bytes"] == cost.bytes, "the kind need not be named"
    assert (
        run("estimate", "-c", "naip", "--bounds", BOUNDS, "--crs", "4326").out.splitlines()[:5]
        == said.out.splitlines()[:5]
    )
    assert run("estimate").code == 2
    assert run("sample", *words, "--budget-bytes", "10").code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample"], "POINTS"),
        (["sample", "gone.csv", "-c", "naip"], "gone.csv is not there"),
        (["sample", "points.csv", "-c", "gone"], "nothing is at"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "--bands", "X"], "X"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "--where", "R > ("], "SQL"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "--bbox", "1,2,3"], "minx,miny,maxx,maxy"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "-o", "out.xls"], ".parquet"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "-o", "no/out.csv"], "no such folder"),
        (["sample", "points.csv", "-c", "naip", "--crs", "4326", "--method", "best"], "bilinear"),
        (["sample", CALIFORNIA, "-c", "naip"], ".geojson"),
        (["window", "-c", "naip", "-o", "w.npz"], "--bounds"),
        (["window", "-c", "naip", "--window", "0,1", "-o", "w.npz"], "row_start"),
        (["wind"], "wind"),
        ([], "COMMAND"),
    ],
)
def test_wrong_words_end_with_2_and_say_which(words, told, run):
    said = run(*words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_what_csv_cannot_hold_is_refused_with_the_way_out(run, tmp_path):
    words = ["sample", "points.csv", "-c", "naip", "--crs", "4326", "--bands", "R", "--max-distance-pixels", "1"]
    assert "R_distance" in run(*words).out
    words += ["--record-columns", "bbox"]
    said = run(*words)
    assert said.code == 2
    assert "-o file.parquet" in said.err
    assert run(*words, "-o", str(tmp_path / "x.parquet")).code == 0
