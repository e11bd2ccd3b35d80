"""Does a collection answer TorchGeo's samplers as TorchGeo's own datasets of the same files do?"""

from __future__ import annotations

import datetime as dt
import pickle
import warnings

import numpy as np
import polars as pl
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import Resampling, calculate_default_transform, reproject

import polars_rasteret as pr
from tests.support.recorded import noise, tiff

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; `.ci/run torch` installs it where a CPU build can be had"
)
pytest.importorskip("torchgeo", reason="TorchGeo is not installed; `.ci/run torch` installs it")
import pandas as pd  # noqa: E402
import shapely  # noqa: E402
from pyproj import CRS  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchgeo.datasets import GeoDataset, RasterDataset, stack_samples  # noqa: E402
from torchgeo.samplers import GridGeoSampler, RandomBatchGeoSampler, RandomGeoSampler  # noqa: E402

from tests.support.torchvision_ops import ForWorkers  # noqa: E402

# rasterio 1.4 multiplies transforms in a way that affine 3 is going to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
SIZE = 200
BANDS = ["red", "nir"]


class Theirs(RasterDataset):
    """TorchGeo's own dataset of the files."""

    filename_glob = "*.tif"
    filename_regex = r"(?P<date>\d{8})_.*"
    all_bands = ("red", "nir")
    rgb_bands = ("red",)


class TheirMask(Theirs):
    is_image = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two scenes of one day side by side, overlapping by 50 columns and holed; and one of a later day."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, x, seed in (("20240501_a", 0, 1), ("20240501_b", 150, 2), ("20240601_c", 0, 3)):
        pixels = noise(seed, height=SIZE, width=SIZE, n_bands=2)
        pixels[:, 40:90, 100:190] = 0
        (folder / f"{name}.tif").write_bytes(tiff(pixels, x=500_000 + 10 * x, nodata=0))
    return folder


def collection(folder):
    def time(href):
        return dt.datetime.strptime(href.rpartition("/")[2][:8], "%Y%m%d").replace(hour=10, tzinfo=dt.UTC)

    return pr.build_from_files(str(folder / "*.tif"), bands=BANDS, datetime=time)


def queries(dataset):
    torch.manual_seed(7)
    x, y, _ = dataset.bounds
    roi = shapely.box(x.start, y.start, x.start + 1_600, y.stop)
    return [
        *GridGeoSampler(dataset, size=64, stride=60),
        *GridGeoSampler(dataset, size=(48, 80), roi=roi),
        *RandomGeoSampler(dataset, size=33, length=40),
    ]


def test_every_query_of_the_samplers_has_the_pixels_of_torchgeo(folder):
    ours, theirs = collection(folder).raster.to_torchgeo(), Theirs(folder)
    assert isinstance(ours, GeoDataset)
    assert (len(ours), ours.crs, ours.res) == (3, theirs.crs, theirs.res)
    assert ours.bounds[:2] == theirs.bounds[:2]
    assert ours.index.index.name == "datetime"
    assert ours.index.index.closed == "both"
    of_theirs = queries(theirs)
    assert len(of_theirs) > 90
    for query, got in zip(of_theirs, ours.__getitems__(of_theirs), strict=True):
        wanted = theirs[query]
        assert got["image"].dtype == wanted["image"].dtype == torch.float32
        assert torch.equal(got["image"], wanted["image"])
        assert (got["crs"], got["bounds"]) == (wanted["crs"], query)
    assert {len(got["record_id"]) for got in ours.__getitems__(of_theirs)} == {1, 2}  # alone, and in a mosaic


def test_queries_of_our_own_index_find_records_of_an_instant(folder):
    ours = collection(folder).raster.to_torchgeo("red")
    loader = DataLoader(
        ours, batch_size=4, sampler=RandomGeoSampler(ours, size=16, length=12), collate_fn=stack_samples
    )
    assert [tuple(batch["image"].shape) for batch in loader] == [(4, 1, 16, 16)] * 3
    batches = RandomBatchGeoSampler(ours, size=16, batch_size=6, length=12)
    loader = DataLoader(ours, batch_sampler=batches, collate_fn=stack_samples)
    assert [tuple(batch["image"].shape) for batch in loader] == [(6, 1, 16, 16)] * 2


def test_pixels_beyond_every_record_are_filled_and_a_query_of_nothing_is_an_index_error(folder):
    ours, theirs = collection(folder).raster.to_torchgeo(masked=True, fill_value=77), Theirs(folder)
    x, y, t = theirs.bounds
    beyond = slice(x.start - 300, x.start + 200), slice(y.stop - 200, y.stop + 300), slice(t.start, t.stop)
    wanted = theirs[beyond]["image"]
    got = ours[beyond]
    assert torch.equal(got["valid"], wanted != 0)
    assert torch.equal(got["image"], torch.where(wanted != 0, wanted, 77))
    nothing = slice(0, 100), slice(0, 100), slice(t.start, t.stop)
    for dataset in (ours, theirs):
        with pytest.raises(
            IndexError, match=r"query: \(slice\(0, 100, None\).* not found in index with bounds: \(slice"
        ):
            dataset[nothing]


def test_images_and_masks_intersect_on_the_grid_of_the_first(folder, tmp_path):
    classes = np.random.default_rng(1).integers(1, 9, (1, 100, 200)).astype(np.uint8)
    (tmp_path / "20240501_classes.tif").write_bytes(_coarse(classes))
    masks = collection_of_classes(tmp_path).raster.to_torchgeo(is_image=False)
    ours = collection(folder).raster.to_torchgeo()
    both = quietly(lambda: ours & masks)
    assert masks.res == (10, 10)  # obeyed from now on
    for query in RandomGeoSampler(both, size=32, length=10):
        sample = both[query]
        x, y = query[:2]
        row, col = round((5_000_000 - y.stop) / 10), round((x.start - 500_000) / 10)
        fine = np.repeat(np.repeat(classes[0], 2, axis=0), 2, axis=1)
        np.testing.assert_array_equal(sample["mask"].numpy(), fine[row : row + 32, col : col + 32])
        assert sample["mask"].dtype == torch.int64
        assert torch.equal(sample["image"], ours[query]["image"])


def _coarse(classes):
    """Return a file whose pixels are twice as large as those of the scenes."""
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore")
        how = {
            "count": 1,
            "dtype": "uint8",
            "crs": "EPSG:32632",
            "transform": Affine(20, 0, 500_000, 0, -20, 5_000_000),
        }
        with memory.open(driver="GTiff", height=classes.shape[1], width=classes.shape[2], **how) as file:
            file.write(classes)
        return bytes(memory.getbuffer())


def collection_of_classes(folder):
    days = [dt.datetime(2024, 5, 1, tzinfo=dt.UTC)], [dt.datetime(2024, 5, 2, tzinfo=dt.UTC)]
    built = pr.build_from_files(str(folder / "*.tif"), bands=["class"])
    return built.with_columns(pl.Series("start_datetime", days[0]), pl.Series("end_datetime", days[1]))


def quietly(function):
    """Call a function of TorchGeo that prints what it converts."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        return function()


def test_unions_with_a_dataset_of_torchgeo_find_what_either_has(folder, tmp_path):
    pixels = noise(9, height=SIZE, width=SIZE, n_bands=2)
    (tmp_path / "20240501_far.tif").write_bytes(tiff(pixels, x=520_000))
    theirs, ours = Theirs(tmp_path), collection(folder).raster.to_torchgeo()
    both = quietly(lambda: theirs | ours)
    assert len(both) == 4
    for query in RandomGeoSampler(both, size=20, length=12):
        dataset = theirs if query[0].start >= 520_000 else ours
        assert torch.equal(both[query]["image"], dataset[query]["image"])


@pytest.mark.parametrize("by", ["target_crs", "&"])
def test_another_crs_is_warped_as_rasterio_warps(folder, by):
    scenes = collection(folder).filter(pl.col("id") == "20240501_a")
    utm33 = CRS.from_epsg(32633)
    if by == "target_crs":
        ours = scenes.raster.to_torchgeo("red", target_crs=32633, resolution=10)
    else:
        ours = scenes.raster.to_torchgeo("red")
        quietly(lambda: setattr(ours, "crs", utm33))
    assert ours.crs == utm33
    x, y, t = ours.bounds
    left, top = round(x.start, -1) + 300, round(y.stop, -1) - 300
    sample = ours[left : left + 1_000, top - 900 : top, t]
    wanted = np.zeros((90, 100), np.uint16)
    with rasterio.open(folder / "20240501_a.tif") as file:
        reproject(
            rasterio.band(file, 1),
            wanted,
            dst_transform=Affine(10, 0, left, 0, -10, top),
            dst_crs="EPSG:32633",
            resampling=Resampling.nearest,
        )
    np.testing.assert_array_equal(sample["image"][0].numpy(), wanted.astype(np.float32))
    assert (wanted > 0).mean() > 0.5


def test_several_crs_without_a_target_are_refused_with_their_counts(folder, tmp_path):
    (tmp_path / "z.tif").write_bytes(tiff(noise(1, n_bands=2), epsg=32633))
    mixed = pr.build_from_files([*sorted(map(str, folder.glob("*.tif"))), str(tmp_path / "z.tif")], bands=BANDS)
    with pytest.raises(
        pr.errors.UsageError, match=r"EPSG:32632 \(3 records\), EPSG:32633 \(1 records\); pass target_crs="
    ):
        mixed.raster.to_torchgeo()
    assert len(mixed.raster.to_torchgeo(target_crs=32632, resolution=10)) == 4


def test_pixels_in_another_crs_are_as_large_as_gdal_suggests_unless_resolution_says_otherwise(folder):
    sizes = []
    for path in folder.glob("*.tif"):
        with rasterio.open(path) as file:
            suggested, _, _ = calculate_default_transform(file.crs, "EPSG:3857", file.width, file.height, *file.bounds)
        sizes.append((suggested.a, -suggested.e))
    for grid, chosen in (("finest", min(sizes)), ("coarsest", max(sizes))):
        assert collection(folder).raster.to_torchgeo("red", target_crs=3857, grid=grid).res == pytest.approx(
            chosen, rel=1e-9
        )


def test_a_series_has_a_layer_for_each_time(folder):
    scenes = collection(folder)
    series = scenes.raster.to_torchgeo(time_series=True)
    x, y, t = series.bounds
    query = slice(x.start, x.start + 1_900), slice(y.stop - 700, y.stop), slice(t.start, t.stop)
    sample = series[query]
    assert tuple(sample["image"].shape) == (2, 2, 70, 190)
    single = scenes.raster.to_torchgeo()
    for layer, day in enumerate(("2024-05-01", "2024-06-01")):
        alone = single[query[0], query[1], slice(pd.Timestamp(day), pd.Timestamp(f"{day} 23:00"))]
        assert torch.equal(sample["image"][layer], alone["image"])
    assert sample["datetime"] == [dt.datetime(2024, m, 1, 10, tzinfo=dt.UTC).timestamp() * 1e6 for m in (5, 6)]


def test_labels_splits_and_transforms_follow_the_records(folder):
    scenes = collection(folder).with_columns(
        split=pl.when(pl.col("id").str.contains("c")).then(pl.lit("val")), crop=pl.lit("rye")
    )
    dataset = scenes.raster.to_torchgeo("nir", split="val", label="crop", transforms=tenth)
    assert len(dataset) == 1
    sample = dataset[dataset.bounds]
    with rasterio.open(folder / "20240601_c.tif") as file:
        np.testing.assert_array_equal(sample["image"][0].numpy(), file.read(2).astype(np.float32) / 10)
    assert sample["label"] == "rye"


def tenth(sample):
    return {**sample, "image": sample["image"] / 10}


def test_a_failed_record_is_told_and_others_fill_its_pixels(folder, tmp_path):
    for file in folder.glob("20240501*.tif"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    scenes = collection(tmp_path)
    ours = scenes.raster.to_torchgeo(on_error="null", masked=True)
    (tmp_path / "20240501_a.tif").write_bytes((folder / "20240501_a.tif").read_bytes()[:2_000])
    x, y, t = ours.bounds
    sample = ours[slice(x.start + 1_000, x.start + 2_000), slice(y.stop - 300, y.stop), t]
    assert "20240501_a.tif" in sample["read_error"]
    assert not sample["valid"][..., :50].any()
    assert sample["valid"][..., 50:].all()
    with pytest.raises(pr.errors.RasteretError, match="20240501_a"):
        scenes.raster.to_torchgeo()[slice(x.start + 1_000, x.start + 2_000), slice(y.stop - 300, y.stop), t]


def test_a_pickled_dataset_and_spawned_workers_read_the_same(folder):
    ours = collection(folder).raster.to_torchgeo()
    asked = list(RandomGeoSampler(ours, size=16, length=8))
    again = pickle.loads(pickle.dumps(ours))
    assert len(pickle.dumps(ours)) < 50_000
    loader = DataLoader(
        ForWorkers(again),
        batch_size=2,
        sampler=asked,
        collate_fn=stack_samples,
        num_workers=2,
        multiprocessing_context="spawn",
    )
    theirs = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(theirs, torch.stack([ours[query]["image"] for query in asked]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bands": "blue"}, "blue: no such band"),
        ({"label": "kind"}, "label='kind' is no column"),
        ({"split": "train"}, "split_column='split'"),
        ({"mosaic": "best"}, "mosaic"),
        ({"resampling": "sharp"}, "resampling"),
        ({"fill_value": -1}, "fill_value=-1"),
        ({"resolution": 0}, "resolution=0"),
        ({"grid": "blue"}, "grid='blue'"),
        ({"valid": pl.col("blue") > 1}, "valid names 'blue'"),
    ],
)
def test_words_that_are_wrong_are_refused(folder, words, message):
    with pytest.raises(pr.errors.UsageError, match=message):
        collection(folder).raster.to_torchgeo(**words)
    with pytest.raises(pr.errors.UsageError, match="no record has an image"):
        collection(folder).filter(pl.lit(value=False)).raster.to_torchgeo()
