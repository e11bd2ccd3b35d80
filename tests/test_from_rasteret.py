"""Does each line of the guide from rasteret run, and does it give what rasteret gives where rasteret is right?

Expected pixels are those that rasteret 0.4.1 recorded, where these lie beside the repository, and those of rasterio.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rasterio.features
import rasterio.warp
import shapely
from rasterio.enums import Resampling
from rasterio.features import geometry_mask
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_xy

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "examples" / "from_rasteret.md"
ORACLE = ROOT.parent / "shared" / "data" / "rasteret" / "naip_multiband" / "oracle.json"
CALIFORNIA = "m_3211605_ne_11_060_20200415.tif"
BANDS = ["R", "G", "B", "NIR"]
TEXT = GUIDE.read_text()
LINES = {
    there.strip().strip("`"): here.strip().strip("`")
    for there, here in re.findall(r"^\| (`[^|]*) \| (`[^|]*`) \|", TEXT, re.MULTILINE)
}
SETUP = re.search(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]


WRITTEN = "export(path, partition_by=...)"
REGISTERED = "rasteret datasets register-local ID PATH"
IMPORTED = "rasteret collections import NAME"
BUILT = "rasteret build ID NAME"
AFTER = {
    WRITTEN: (),
    "list_collections(workspace)": (WRITTEN,),
    "collection.name`, `.description`, `.data_source`, `.start_date": (WRITTEN,),
    REGISTERED: (WRITTEN,),
    "rasteret datasets export-local ID OUT": (WRITTEN, REGISTERED),
    BUILT: (WRITTEN, REGISTERED),
    "rasteret datasets unregister-local ID": (WRITTEN, REGISTERED),
    IMPORTED: (),
    "rasteret collections list --json": (WRITTEN, REGISTERED, BUILT, IMPORTED),
    "rasteret collections info NAME": (IMPORTED,),
    "rasteret collections delete NAME --yes": (IMPORTED,),
}
"""Lines that write into folders of the guide or read there, and what the guide has written before. They share no folder with
others: the lines may run in any order, and in several processes."""


@contextlib.contextmanager
def guide_in(folder):
    """Give the names that the guide begins with, in a folder of its own."""
    shutil.copytree(ROOT / "examples" / "data", folder / "examples" / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("POLARS_RASTERET_DATASETS", str(folder / "datasets.toml"))
        given: dict = {}
        exec(compile(SETUP, str(GUIDE), "exec"), given)
        yield given


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with guide_in(tmp_path_factory.mktemp("guide")) as given:
        yield given


@pytest.fixture(scope="module")
def recorded():
    return json.loads(ORACLE.read_text()) if ORACLE.is_file() else None


@pytest.fixture(scope="module")
def image():
    with rasterio.open(ROOT / "examples" / "data" / CALIFORNIA) as file:
        yield file


def ids(frame):
    return frame.lazy().select("id").collect()["id"].to_list()


def run(call, names):
    line = LINES[call]
    for library in ("torch", "torchgeo"):
        if f"to_{library}(" in line and find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    if "to_torchgeo(" in line:
        from tests.support.torchvision_ops import make_importable

        make_importable()
    if line.startswith("polars-rasteret "):
        return run_command(line)
    return eval(compile(line, str(GUIDE), "eval"), names)


def run_command(line):
    """Run a line of a shell, and give what it printed."""
    from polars_rasteret.command_line.main import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(shlex.split(line)[1:]) == 0
    return out.getvalue()


def masked_window(image, field, *, all_touched=False):
    """Give the pixels of each band in the window of the field, 0 beside it, as rasterio cuts them."""
    ring = np.array(field.exterior.coords)
    x, y = transform_xy("EPSG:4326", image.crs, *ring.T)
    polygon = shapely.Polygon(zip(x, y, strict=True))
    window = rasterio.features.geometry_window(image, [polygon])
    pixels = image.read(window=window)
    outside = geometry_mask([polygon], pixels.shape[1:], image.window_transform(window), all_touched=all_touched)
    return np.where(outside, 0, pixels), image.window_transform(window)


def long_samples(call, names, image, recorded):
    frame = run(call, names).collect()
    keys = ["point_index", "band"]
    frame = frame.sort(keys)
    wanted = [
        (point, band, image.read(image_band)[image.index(*at)])
        for point, at in enumerate(zip(*transform_xy("EPSG:4326", image.crs, *names["points"]), strict=True))
        for image_band, band in enumerate(BANDS, 1)
    ]
    expected = pl.DataFrame(wanted, schema=[*keys, "value"], orient="row").sort(keys)
    assert frame["value"].to_list() == expected["value"].to_list()
    if recorded is None:
        return
    theirs = pl.DataFrame(recorded["sample_points"]).filter(pl.col("point_index") < 2).sort(keys)
    assert set(theirs.columns) - {"lon", "lat"} <= set(frame.columns)
    for column in ("point_index", "point_x", "point_y", "point_crs", "band", "value", "raster_crs"):
        assert frame[column].to_list() == theirs[column].to_list(), column


def latest(call, names, image, recorded):
    frame = run(call, names).collect()
    assert frame["record_id"].to_list() == ["california"] * 2
    assert frame["R"].to_list() == [74, 96]  # as in the recorded rows of rasteret
    if recorded is not None:
        assert [row["value"] for row in recorded["sample_points"][:2]] == [74, 96]


def near(call, names, image, recorded):
    frame = run(call, names).collect()
    assert frame["R_distance"].drop_nulls().to_list() == [0, 0]


def neighbourhood(call, names, image, recorded):
    frame = run(call, names).collect().filter(pl.col("record_id") == "california")
    x, y = transform_xy("EPSG:4326", image.crs, *names["points"])
    for at, found in zip(zip(x, y, strict=True), frame["R_neighbourhood"].to_list(), strict=True):
        row, col = image.index(*at)
        np.testing.assert_array_equal(found, image.read(1)[row - 2 : row + 3, col - 2 : col + 3])


def cube(call, names, image, recorded):
    dataset = run(call, names)
    expected, transform = masked_window(image, names["field"])
    assert dataset["record_id"].values.tolist() == ["california"]
    for number, band in enumerate(BANDS):
        assert dataset[band].dtype == np.uint8
        np.testing.assert_array_equal(dataset[band][0], expected[number])
    np.testing.assert_allclose(dataset["x"][0], transform.c + transform.a / 2, rtol=0, atol=1e-6)
    if recorded is not None:
        for theirs in recorded["get_gdf"]:
            np.testing.assert_array_equal(dataset[theirs["band"]][0], theirs["data"])


def cube_of_areas(call, names, image, recorded):
    dataset = run(call, names)
    assert dataset["R"].dims == ("geometry", "time", "y", "x")
    np.testing.assert_array_equal(dataset["R"][0, 0], masked_window(image, names["field"])[0][0])


def cube_elsewhere(call, names, image, recorded):
    dataset = run(call, names)
    assert dataset["spatial_ref"].attrs["crs_wkt"].startswith('PROJCRS["WGS 84 / UTM zone 11N"')
    assert dataset["R"].dtype == np.uint8
    # NAD83 and WGS 84 lie on each other here, so the pixels are those of the image around the box.
    assert set(np.unique(dataset["R"])) <= set(np.unique(image.read(1)[80:100, 115:140]))


def cube_of_box(call, names, image, recorded):
    dataset = run(call, names)
    window = rasterio.features.geometry_window(
        image, [shapely.box(*rasterio.warp.transform_bounds("EPSG:4326", image.crs, *names["box"], densify_pts=21))]
    )
    assert dataset["R"].shape[0] == 1
    np.testing.assert_array_equal(dataset["R"][0], image.read(1, window=window))


def gdf(call, names, image, recorded):
    table = run(call, names)
    assert list(table["record_id"]) == ["california"]
    assert table.crs.to_epsg() == 4326
    assert list(table["raster_crs"]) == ["EPSG:26911"]
    expected, transform = masked_window(image, names["field"])
    for number, band in enumerate(BANDS):
        np.testing.assert_array_equal(table[band][0], expected[number])
        np.testing.assert_allclose(table[f"{band}_transform"][0], transform[:6], rtol=0, atol=1e-6)
    if recorded is None:
        return
    assert recorded["aoi_bbox_lonlat"] == list(names["box"])
    for theirs in recorded["get_gdf"]:
        np.testing.assert_array_equal(table[theirs["band"]][0], theirs["data"])
        np.testing.assert_allclose(table[f"{theirs['band']}_transform"][0], theirs["transform"], rtol=0, atol=1e-6)


def gdf_touched(call, names, image, recorded):
    table = run(call, names)
    np.testing.assert_array_equal(table["R"][0], masked_window(image, names["field"], all_touched=True)[0][0])


def warped(call, names, image, recorded):
    table = run(call, names)
    assert list(table["raster_crs"]) == ["EPSG:32611"]
    found, transform = table["R"][0], table["transform"][0]
    with WarpedVRT(image, crs="EPSG:32611", resampling=Resampling.nearest) as vrt:
        wanted, expected = masked_window(vrt, names["field"])
        np.testing.assert_allclose(transform[:6], expected[:6], rtol=0, atol=1e-4)
        np.testing.assert_array_equal(found, wanted[0])


def arrays(call, names, image, recorded):
    array, rows = run(call, names)
    assert array.shape[:2] == (1, 2)
    assert rows["record_id"].to_list() == ["california"]
    np.testing.assert_array_equal(array[0], masked_window(image, names["field"])[0][[0, 3]])


def shaped_arrays(call, names, image, recorded):
    array, rows = run(call, names)
    assert array.shape == (1, 2, 16, 16)
    assert rows["field"].to_list() == [1]


def fixed_grid(call, names, image, recorded):
    array = run(call, names)
    assert array.dtype == np.uint8
    assert array.shape[0] == 2
    x, y = transform_xy("EPSG:4326", "EPSG:32611", *np.array(names["field"].exterior.coords).T)
    extent = (max(y) - min(y)) / 0.6, (max(x) - min(x)) / 0.6
    more = np.array(array.shape[1:]) - extent
    assert ((more >= 0) & (more < 2)).all()  # the smallest window of that lattice which contains the box


def metadata(call, names, image, recorded):
    found = run(call, names)
    assert (found.height, found.width) == image.shape
    assert found.nodata == image.nodata
    assert tuple(found.transform) == pytest.approx(image.transform[:6], abs=1e-6)


def loaded(call, names, image, recorded):
    (array,) = run(call, names)
    np.testing.assert_array_equal(array[0], masked_window(image, names["field"])[0][0])


def single_file(want):
    """Check the array of one file; `want` is given its pixels in the window of the field, and whether each is covered."""

    def check(call, names, image, recorded):
        values, _ = masked_window(image, names["field"])
        found = run(call, names)
        expected = want(image, values[0], values[0] > 0)  # no pixel of these is 0
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint8
        assert np.ma.isMaskedArray(found) == np.ma.isMaskedArray(expected)
        if np.ma.isMaskedArray(expected):
            np.testing.assert_array_equal(found.mask, expected.mask)

    return check


def decimated(call, names, image, recorded):
    np.testing.assert_array_equal(run(call, names), image.read(1, out_shape=(50, 40)))


def window_of_box(image, values, is_covered):
    row, col = masked_place(image)
    return image.read(1)[row : row + values.shape[0], col : col + values.shape[1]]


def masked_place(image):
    field = shapely.box(-116.3817612529528, 32.9717231160389, -116.38170382192204, 32.97177199566637)
    x, y = transform_xy("EPSG:4326", image.crs, *np.array(field.exterior.coords).T)
    window = rasterio.features.geometry_window(image, [shapely.Polygon(zip(x, y, strict=True))])
    return window.row_off, window.col_off


def own_source(call, names, image, recorded):
    run(call, names)
    try:
        opened = names["pr"].open("vault://naip/image.tif")
        np.testing.assert_array_equal(opened.read(), image.read())
    finally:
        names["pr"].configure_store("vault://naip/")


def handle_points(call, names, image, recorded):
    assert run(call, names)["R"].to_list() == [74, 96]


def written(call, names, image, recorded):
    run(call, names)
    assert sorted(path.name for path in Path("archives/naip").glob("split=*")) == ["split=test", "split=train"]


def theirs(call, names, image, recorded):
    scenes = run(call, names)
    assert ids(scenes) == ["m_3211605"]
    oracle = json.loads(Path("examples/data/rasteret/oracle.json").read_text())
    points = pl.DataFrame(oracle["points_lonlat"], schema=["lon", "lat"], orient="row")
    found = scenes.raster.sample_points(points, ["R"], crs=4326).collect()["R"].to_list()
    assert found == [row["value"] for row in oracle["sample_points"] if row["band"] == "R"]


def written_for_rasteret(call, names, image, recorded):
    run(call, names)
    (part,) = Path("exported/theirs").glob("year=2020/month=4/*.parquet")
    (before,) = Path("examples/data/rasteret/collection").rglob("*.parquet")
    here, there = (pl.read_parquet(one, hive_partitioning=False)["R_metadata"][0] for one in (part, before))
    assert here["tile_offsets"] == there["tile_offsets"]


def listed(call, names, image, recorded):
    assert run(call, names)["name"].to_list() == ["naip"]


def outlines(call, names, image, recorded):
    table = run(call, names)
    assert table["id"].tolist() == ["california", "florida"]
    assert table.crs.to_string() == "OGC:CRS84"


def resolution(call, names, image, recorded):
    assert run(call, names) == pytest.approx(image.res)


def bounds(call, names, image, recorded):
    west, south, east, north = run(call, names)
    assert west == pytest.approx(
        rasterio.warp.transform_bounds(image.crs, 4326, *image.bounds, densify_pts=99)[0], abs=1e-6
    )
    assert (east, north) > (-86, 32)
    assert south < 31


def described(call, names, image, recorded):
    assert "2" in str(run(call, names))


def described_values(call, names, image, recorded):
    data, bands = run(call, names)
    assert (data["n_records"], data["crs"]) == (2, ["EPSG:26911", "EPSG:26916"])
    assert data["bands"] == bands == dict.fromkeys(BANDS, "UInt8")


def said_of_it(call, names, image, recorded):
    row = run(call, names)
    assert (row["name"], row["records"]) == ("naip", 2)
    assert (row["start"], row["end"]) == (
        dt.datetime(2011, 8, 15, 10, tzinfo=dt.UTC),
        dt.datetime(2020, 4, 15, 10, tzinfo=dt.UTC),
    )


def batches(call, names, image, recorded):
    assert [name for frame in run(call, names) for name in frame["id"]] == ["california", "florida"]


def options_in_force(call, names, image, recorded):
    assert run(call, names).progress is False


def requester_pays(call, names, image, recorded):
    import polars_rasteret as pr
    from polars_rasteret.errors import UsageError
    from polars_rasteret.ingest.dataset_access import check_credentials

    landsat = pr.dataset("earthsearch/landsat-c2-l2")
    with pytest.raises(UsageError, match="pay"):
        check_credentials(landsat, storage_options=None, credential_provider=None)
    try:
        run(call, names)
        check_credentials(landsat, storage_options=None, credential_provider=None)
    finally:
        pr.configure_store("s3://usgs-landsat/")


def options_set(call, names, image, recorded):
    import polars_rasteret as pr

    with run(call, names):
        assert pr.options.progress is False


def shell(*wanted, n_records=None):
    def check(call, names, image, recorded):
        printed = run(call, names)
        for one in wanted:
            assert one in printed
        if n_records is not None:
            assert re.search(rf"^records +{n_records}$", printed, re.MULTILINE)

    return check


def epsg(call, names, image, recorded):
    assert run(call, names) == ["EPSG:26911", "EPSG:26916"]


def equals(expected):
    def check(call, names, image, recorded):
        assert run(call, names) == expected

    return check


def records(*expected):
    def check(call, names, image, recorded):
        assert ids(run(call, names)) == list(expected)

    return check


def arrow(call, names, image, recorded):
    found = run(call, names)
    found = found.read_all() if hasattr(found, "read_all") else found
    assert found["id"].to_pylist() == ["california", "florida"]
    assert found.schema.field("geometry").metadata[b"ARROW:extension:name"] == b"geoarrow.wkb" or "geoarrow" in str(
        found.schema.field("geometry").type
    )


def facts(call, names, image, recorded):
    crs, when, name = run(call, names)
    assert (crs, name) == ("EPSG:26911", "california")
    assert when == dt.datetime(2020, 4, 15, 10, tzinfo=dt.UTC)


def first(call, names, image, recorded):
    assert run(call, names).id == "california"


def sample(**wanted):
    def check(call, names, image, recorded):
        dataset = run(call, names)
        assert len(dataset) == wanted.get("n", len(dataset))
        found = dataset[0]
        key = wanted.get("key", "image")
        assert tuple(found[key].shape) == wanted["shape"]
        if "label" in wanted:
            assert int(found["label"]) == wanted["label"]
        if "pixel" in wanted:
            assert int(found[key][0, 8, 8]) == wanted["pixel"]

    return check


def tiled(call, names, image, recorded):
    dataset = run(call, names)
    # California has 4 x 5 windows of 64, Florida 4 x 4.
    assert len(dataset) == -(-image.height // 64) * -(-image.width // 64) + 16
    np.testing.assert_array_equal(dataset[0]["image"].numpy(), image.read([1, 4])[:, :64, :64])


def geo_dataset(call, names, image, recorded):
    dataset = run(call, names)
    bounds = image.bounds
    query = slice(bounds.left, bounds.right), slice(bounds.bottom, bounds.top), slice(None, None)
    np.testing.assert_array_equal(dataset[query]["image"].numpy(), image.read([1, 4]))


def geo_dataset_elsewhere(call, names, image, recorded):
    dataset = run(call, names)
    assert dataset.crs.to_epsg() == 3857
    assert dataset.res == (0.7, 0.7)
    assert len(dataset) == 2
    west, _, _, north = rasterio.warp.transform_bounds(image.crs, 3857, *image.bounds)
    x, y = west + 70.0, north - 100.0
    sample = dataset[x : x + 14.0, y : y + 14.0]
    col = (np.arange(20) + 0.5) * 0.7
    inside = transform_xy("EPSG:3857", image.crs, np.tile(x + col, 20), np.repeat(y + 14.0 - col, 20))
    rows, cols = (np.floor(one).astype(int) for one in (~image.transform @ np.array(inside))[::-1])
    expected = image.read([1, 4])[:, rows, cols].reshape(2, 20, 20)
    assert (sample["image"].numpy() == expected).mean() > 0.99  # GDAL's places are off by a fraction of a pixel


def is_in(found, name):
    assert name in found


def is_equal(found, expected):
    assert found == expected


def shelved(check):
    """Return a check that runs where a collection is on the shelf, and registered."""

    def checked(call, names, image, recorded):
        pr, shelf = names["pr"], Path("shelf/naip")
        if not shelf.exists():
            shelf.parent.mkdir(exist_ok=True)
            names["scenes"].raster.sink_collection(shelf)
        pr.register_local("mine/naip", shelf, persist=False)
        try:
            check(run(call, names), names["pr"])
        finally:
            for name in pr.datasets("mine/").filter(pl.col("origin") != "built in")["id"].to_list():
                pr.unregister(name)

    return checked


def is_known(name, origin):
    def check(answer, pr):
        assert dict(pr.datasets().select("id", "origin").iter_rows()).get(name) == origin

    return check


def exported(answer, pr):
    pr.register("naip.toml")
    assert pr.datasets().filter(pl.col("id") == "earthsearch/naip")["origin"].item() == "registered"
    pr.unregister("earthsearch/naip")


def of_table(bands, names=("california", "florida"), *, columns=None):
    """Return a check of a collection: its bands and ids, and a pixel of each band as rasterio reads it."""

    def check(call, given, image, recorded):
        scenes = run(call, given)
        assert scenes.raster.bands() == bands
        found = scenes.sort("id").collect()
        assert found["id"].to_list() == list(names)
        if columns is not None:
            assert {"crop", "image", "fid"}.isdisjoint(found.columns)
            assert set(columns) <= set(found.columns)
        window = given["pr"].read_window(bands, window=(0, 1, 0, 1))
        with rasterio.open(found[bands[0]].struct.field("href")[0]) as file:
            for band in bands:
                pixel = file.read(BANDS.index(band) + 1)[0, 0]
                pixels = found.select(w=window)["w"].struct.field(band)
                assert pixels[0].to_list() == [[pixel]], band

    return check


def compared(answer, pr):
    found = answer.table.filter(pl.col("what").str.starts_with("band "))
    assert found["what"].to_list() == [f"band {band}" for band in BANDS]
    assert found["agrees"].all()


CHECKS = {
    "subset(cloud_cover_lt=20)": records("california"),
    "subset(date_range=(a, b))": records("california"),
    "subset(bbox=box)": records("california"),
    "subset(geometries=[field])": records("california"),
    'select_split("train")': records("california"),
    "where(expression)": records("florida"),
    "head(1)": records("california"),
    "to_table()": arrow,
    "to_reader()`, `to_batches()": arrow,
    "len(collection)": equals(2),
    "export(path, partition_by=...)": written,
    "list_collections(workspace)": listed,
    "collection.name`, `.description`, `.data_source`, `.start_date": said_of_it,
    "for batch in collection": batches,
    'to_table(columns=["id"])': records("california", "florida"),
    "bands": equals(BANDS),
    "bounds": bounds,
    "crs`, `epsg": epsg,
    "describe()": described,
    'describe().data`, `describe()["bands"]': described_values,
    "get_options()": options_in_force,
    "set_options(progress=False)`, `options(progress=False)": options_set,
    "footprints()": outlines,
    'native_res("R")': resolution,
    'build_from_table(path, href_column="image", band_index_map={"R": 0, "NIR": 3})': of_table(["R", "NIR"]),
    "build_from_table(table)` with a column `assets": of_table(BANDS),
    'build_from_table(path, column_map={"fid": "id"})': of_table(["R"]),
    'build_from_table(path, columns=["fid", "split"], filter_expr=...)': of_table(
        BANDS, ["florida"], columns=["split"]
    ),
    "build_from_table(path, url_rewrite_patterns={a: b})": of_table(BANDS),
    'build_from_table(path, name="naip", workspace_dir=...)': of_table(BANDS),
    "build_from_table(path, enrich_cog=False)": of_table(BANDS),
    "Collection.from_parquet(path)`, `load(path)": of_table(BANDS),
    "Collection.from_parquet(path, defer_dataset_open=True)": records("california", "florida"),
    "Collection.from_arrow(table)`, `as_collection(table)": of_table(BANDS),
    'build_from_stac(name=..., stac_api=url, collection="naip", bbox=box, date_range=(a, b))': records("california"),
    'build_from_stac(..., band_map={"R": "image", "NIR": "image"}, band_index_map={"R": 0, "NIR": 3})': of_table(
        ["R", "NIR"]
    ),
    'build_from_stac(..., query={"max_items": 1})': of_table(["R"], ("california",)),
    "build_from_stac(..., static_catalog=True)": of_table(["R"], ("florida",)),
    "build_from_stac(..., workspace_dir=path, force=True)": of_table(["R"]),
    "DatasetRegistry.list()": lambda call, names, *_: is_in(run(call, names)["id"], "pc/nasadem"),
    'DatasetRegistry.search("landsat")': lambda call, names, *_: is_in(run(call, names)["id"], "pc/landsat-c2-l2"),
    'DatasetRegistry.get("pc/nasadem")': lambda call, names, *_: is_in(run(call, names).bands, "DEM"),
    'BandRegistry.get("sentinel-2-l2a")': lambda call, names, *_: is_in(run(call, names), "B8A"),
    "DatasetDescriptor(...)": lambda call, names, *_: is_in(run(call, names).bands, "red"),
    "register(descriptor)": shelved(is_known("mine/plots", "registered")),
    'register_local("mine/naip", path)': shelved(is_known("mine/naip", "local")),
    'load("mine/naip")': shelved(lambda answer, pr: is_equal(sorted(ids(answer)), ["california", "florida"])),
    'build("mine/naip", name=..., bbox=box, date_range=(a, b))': shelved(
        lambda answer, pr: is_equal(ids(answer), ["california"])
    ),
    'export_local_descriptor("earthsearch/naip", path)': shelved(exported),
    'unregister_local_descriptor("mine/naip")': shelved(is_known("mine/naip", None)),
    'create_name("bern", (a, b), source)': equals("bern__20240101-20240110__earthsearch--naip"),
    "parse_name(name)": equals(("bern", "2024-01-01/2024-01-10", "earthsearch/naip")),
    "compare_to_catalog()": shelved(compared),
    "rasteret datasets list --search dem": shell("earthsearch/cop-dem-glo-30"),
    "rasteret datasets info ID": shell("cop-dem-glo-30", "band DEM"),
    "rasteret datasets register-local ID PATH": shell("registered mine/naip"),
    "rasteret datasets export-local ID OUT": shell("exported mine/naip"),
    "rasteret build ID NAME": shell("california", n_records=1),
    "rasteret datasets unregister-local ID": shell("unregistered mine/naip"),
    "rasteret collections import NAME": shell("R,G,B,NIR", n_records=2),
    "rasteret collections list --json": shell('"naip"', '"california"', '"files"'),
    "rasteret collections info NAME": shell("EPSG:26911", n_records=2),
    "rasteret collections delete NAME --yes": shell("deleted files"),
    'Collection.from_parquet("naip_records")': theirs,
    "Collection.from_parquet(data, record_index_path=...)": theirs,
    "surface_fields`, `filter_capabilities": theirs,
    'export("theirs")': written_for_rasteret,
    "to_reader(requested_schema=schema)": arrow,
    "sample_points(points, bands)": long_samples,
    'sample_points(match="latest")': latest,
    "sample_points(max_distance_pixels=2)": near,
    'sample_points(return_neighbourhood="always")': neighbourhood,
    "get_xarray(field, bands)": cube,
    "get_xarray(several areas)": cube_of_areas,
    "get_xarray(target_crs=32611)": cube_elsewhere,
    'xr_combine="combine_first"': cube_of_box,
    'xr_combine="merge_override"': cube_of_box,
    'xr_combine="merge"': cube_of_box,
    "get_gdf(box, bands)": gdf,
    "get_gdf(all_touched=True)": gdf_touched,
    "get_gdf(target_crs=32611)": warped,
    "get_numpy(box, bands)": arrays,
    "get_numpy(several areas)": shaped_arrays,
    "read_window(bounds=, res=, target_crs=)": fixed_grid,
    "iterate_rasters()": equals(["california", "florida"]),
    "get_first_raster()": first,
    "accessor.available_bands": equals(BANDS),
    "accessor.crs`, `.datetime`, `.id": facts,
    'accessor.try_get_band_cog_metadata("R")': metadata,
    "accessor.intersects(field)": equals(True),
    'accessor.load_bands([field], ["R"])': loaded,
    "accessor.sample_points(...)": handle_points,
    "parse_cog_header(url)": metadata,
    "read_cog(url, metadata, geom_array=...)": single_file(lambda image, values, is_covered: values),
    'read_cog(mode="window", bounds=...)': single_file(window_of_box),
    'read_cog(mode="full")': single_file(lambda image, values, is_covered: image.read(1)),
    "read_cog(out_shape=(50, 40))": decimated,
    "read_cog(fill_value=7)": single_file(lambda image, values, is_covered: np.where(is_covered, values, np.uint8(7))),
    "read_cog(filled=False)": single_file(lambda image, values, is_covered: np.ma.MaskedArray(values, ~is_covered)),
    'create_backend(...)`, `CloudConfig("aws", requester_pays=True)': requester_pays,
    "COGReader(backend=own)": own_source,
    "to_torchgeo_dataset(chip_size=64)": tiled,
    "to_torchgeo_dataset(bands)": geo_dataset,
    "target_crs=3857": geo_dataset_elsewhere,
    "geometries=": sample(n=1, shape=(2, 16, 16)),
    "is_image=False": sample(n=1, shape=(16, 16), key="mask"),
    "allow_resample=True": sample(n=1, shape=(2, 8, 8)),
    'label_field="crop"': sample(n=2, shape=(1, 16, 16), label=4, pixel=74),
    'split="train"': sample(n=2, shape=(1, 16, 16), pixel=74),
    "time_series=True": sample(n=2, shape=(1, 1, 16, 16)),
    "transforms=f": sample(n=2, shape=(1, 16, 16), pixel=74),
}


def test_every_line_of_the_guide_has_a_check():
    assert list(LINES) == list(CHECKS)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio
@pytest.mark.parametrize("call", CHECKS)
def test_the_line_for(call, names, image, recorded, tmp_path):
    if call not in AFTER:
        CHECKS[call](call, names, image, recorded)
        return
    with guide_in(tmp_path) as given:
        for line in AFTER[call]:
            run(line, given)
        CHECKS[call](call, given, image, recorded)
