"""Do selected columns decide which files and which columns of the collection are read?"""

from __future__ import annotations

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.range_server import RangeServer
from tests.support.recorded import Store, alias, build, noise, place_origin, points, tiff

N_PLACES, N_PER_PLACE = 8, 25
BANDS = [f"B{number:02d}" for number in range(1, 13)]
FOOTER_BYTES = 2**18
"""What Polars reads to learn of a Parquet file over HTTP, whatever is asked."""


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Serve 200 records of 12 bands over HTTP, in row groups whose columns weigh enough to be skipped one by one."""
    store = Store()
    record = {
        "id": ["one"],
        **{band: [store.put(f"{band}.tif", tiff(noise(n, height=256, width=256)))] for n, band in enumerate(BANDS)},
    }
    scene = build(store, record, {band: band for band in BANDS})
    frame = alias(store, scene, BANDS, n_places=N_PLACES, n_per_place=N_PER_PLACE, name_bytes=1_500)
    path = tmp_path_factory.mktemp("collection") / "scenes.parquet"
    frame.lazy().raster.sink_collection(path, row_group_size=frame.height)
    store.memory = frame.lazy()
    with RangeServer({"scenes.parquet": path.read_bytes()}) as server:
        store.server = server
        store.scenes = pr.scan_collection(server.url("scenes.parquet"))
        yield store
    store.close()


@pytest.fixture
def read(twelve, engine):
    """Run a query cold, and give its answer with the bands whose files were asked and the Parquet bytes."""

    def run(query):
        clear_cache()
        twelve.clear()
        twelve.server.clear()
        frame = query.collect(engine=engine)
        return frame, twelve.names, twelve.server.n_bytes

    return run


def plots():
    """Give one plot, in the second place, and one that no image holds."""
    inside = points([(200, 100)], x=place_origin(1)[0], y=place_origin(1)[1], plot=["inside"])
    outside = points([(4_000, 9_000)], x=place_origin(50)[0], y=place_origin(50)[1], plot=["outside"])
    return pl.concat([inside, outside])


def files(*bands):
    return {f"{band}.tif" for band in bands}


@pytest.mark.parametrize("verb", ["sample_points", "read_windows"])
def test_selecting_one_of_twelve_bands_asks_for_its_files_alone(twelve, read, verb):
    words = {"crs": 32632, **({"shape": (3, 3)} if verb == "read_windows" else {})}
    query = getattr(twelve.memory.raster, verb)(plots(), **words)
    frame, names, _ = read(query.select("plot", "record_id", "B07"))
    assert names == files("B07")
    assert frame["B07"].drop_nulls().len() == len(twelve.requests) == N_PER_PLACE


def test_a_pixel_filter_on_one_band_asks_for_that_band_and_the_selected_ones(twelve, read):
    query = twelve.memory.raster.sample_points(plots(), crs=32632).filter(pl.col("B02") > 0)
    frame, names, _ = read(query.select("record_id", "B07"))
    assert names == files("B02", "B07")
    assert frame.height == N_PER_PLACE


def test_dropping_bands_by_a_selector_is_selecting_the_others(twelve, read):
    query = twelve.memory.raster.sample_points(plots(), crs=32632).drop([band for band in BANDS if band > "B02"])
    frame, names, _ = read(query)
    assert names == files("B01", "B02")
    assert frame.columns == ["plot", "x", "y", "record_id", "datetime", "B01", "B02"]


def test_an_expression_that_is_not_selected_asks_for_nothing(twelve, read):
    pairs = twelve.memory.raster.pair(plots(), crs=32632)
    query = pairs.with_columns(
        red=pl.col("B04").raster.sample_points("x", "y", crs=32632),
        nir=pl.col("B08").raster.sample_points("x", "y", crs=32632),
    )
    frame, names, _ = read(query.select("plot", "nir"))
    assert names == files("B08")
    assert frame["nir"].null_count() == 0


def test_selecting_only_bands_gives_the_rows_that_selecting_everything_gives(twelve, read):
    query = twelve.memory.raster.sample_points(plots(), crs=32632)
    whole = query.collect()
    for columns in (["B07"], ["plot", "B07"], ["B01", "x"]):
        frame, _, _ = read(query.select(columns))
        assert frame.equals(whole.select(columns))


@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_selecting_no_band_asks_for_nothing(twelve, read, unmatched):
    query = twelve.memory.raster.sample_points(plots(), crs=32632, unmatched=unmatched)
    n_rows = N_PER_PLACE + (unmatched == "null")
    frame, names, _ = read(query.select("record_id"))
    assert (frame.height, frame["record_id"].null_count(), names) == (n_rows, n_rows - N_PER_PLACE, set())
    frame, names, _ = read(query.select("plot"))
    assert (frame.height, names) == (n_rows, set())


@pytest.mark.parametrize("unmatched", ["null", "drop"])
@pytest.mark.parametrize("verb", ["sample_points", "read_windows", "pair"])
def test_counting_rows_counts_them_and_asks_for_nothing(twelve, read, verb, unmatched):
    words = {"crs": 32632, "unmatched": unmatched, **({"shape": (3, 3)} if verb == "read_windows" else {})}
    query = getattr(twelve.memory.raster, verb)(plots(), **words)
    n_rows = N_PER_PLACE + (unmatched == "null")
    frame, names, _ = read(query.select(pl.len()))
    assert (frame.item(), names) == (n_rows, set())
    frame, names, _ = read(query.filter(pl.col("plot") == "inside").select(pl.len()))
    assert (frame.item(), names) == (N_PER_PLACE, set())
    frame, names, _ = read(query.filter(pl.col("record_id").is_not_null()).select(pl.len()))
    assert (frame.item(), names) == (N_PER_PLACE, set())


def test_counting_rows_of_bounded_columns_counts_them_and_asks_for_nothing(twelve, read):
    chips = twelve.memory.raster.with_columns(chip=pr.read_window(["B01"], window=(0, 8, 0, 8), stack=True))
    frame, names, _ = read(chips.select(pl.len()))
    assert (frame.item(), names) == (N_PLACES * N_PER_PLACE, set())
    frame, names, _ = read(chips.select("id"))
    assert (frame.height, names) == (N_PLACES * N_PER_PLACE, set())


def test_schema_and_plan_ask_for_nothing(twelve):
    twelve.clear()
    pairs = twelve.scenes.raster.pair(plots(), crs=32632)
    for query in (
        twelve.scenes.raster.sample_points(plots(), crs=32632).filter(pl.col("B01") > 0).head(3),
        twelve.scenes.raster.read_windows(plots(), crs=32632, shape=(4, 4), stack=True),
        twelve.scenes.raster.with_columns(chip=pl.col("B01").raster.read_window(window=(0, 8, 0, 8))),
        pairs.with_columns(red=pl.col("B04").raster.sample_points("x", "y", crs=32632)),
    ):
        assert query.collect_schema()
        assert query.explain()
        assert query.explain(engine="streaming")
    assert twelve.requests == []


def test_naming_bands_scans_no_raster_column_of_the_others(twelve, read):
    verb = twelve.scenes.raster.sample_points
    _, names, all_bytes = read(verb(plots(), crs=32632))
    assert names == files(*BANDS)
    _, names, one_bytes = read(verb(plots(), ["B07"], crs=32632))
    assert names == files("B07")
    assert one_bytes - FOOTER_BYTES < (all_bytes - FOOTER_BYTES) / 6


def interleaved(store, layout):
    """Give a collection of one record whose four bands are in one file."""
    pixels = noise(3, n_bands=4)
    href = store.put(f"{layout}.tif", tiff(pixels, interleave=layout))
    scenes = build(store, {"id": ["one"], "href": [href]}, {f"b{n}": ("href", n) for n in range(4)})
    return pixels, scenes


SPOTS = [(5, 5), (100, 90), (5, 400), (500, 500)]
"""In three tiles."""


def test_a_pixel_interleaved_tile_is_fetched_and_decoded_once_for_all_its_bands(store, engine):
    pixels, scenes = interleaved(store, "pixel")
    query = scenes.raster.sample_points(points(SPOTS), crs=32632)
    with pr.profile() as profile:
        frame = query.collect(engine=engine)
    assert profile.summary()["decoded_tiles"].item() == 3
    assert (len(store.requests), store.most_often_asked()) == (3, 1)
    for band in range(4):
        assert frame[f"b{band}"].to_list() == [pixels[band, row, col] for row, col in SPOTS]


def test_a_pixel_interleaved_tile_is_decoded_once_for_windows_and_for_the_expression_of_all_bands(store, engine):
    _, scenes = interleaved(store, "pixel")
    windows = scenes.raster.read_windows(points(SPOTS[:1]), crs=32632, shape=(4, 4), stack=True)
    together = scenes.select(pr.sample_points([f"b{band}" for band in range(4)], *points(SPOTS[:1]).row(0), crs=32632))
    for query in (windows, together):
        clear_cache()
        store.clear()
        with pr.profile() as profile:
            query.collect(engine=engine)
        assert profile.summary()["decoded_tiles"].item() == 1
        assert len(store.requests) == 1


def test_a_file_of_separate_planes_gives_only_the_tiles_of_the_bands_wanted(store, engine):
    pixels, scenes = interleaved(store, "band")
    query = scenes.raster.sample_points(points(SPOTS), crs=32632)
    with pr.profile() as profile:
        frame = query.select("b2").collect(engine=engine)
    assert profile.summary()["decoded_tiles"].item() == 3
    assert store.most_often_asked() == 1
    assert store.bytes == 3 * 128 * 128 * 2
    assert frame["b2"].to_list() == [pixels[2, row, col] for row, col in SPOTS]
    store.clear()
    clear_cache()
    query.select("b1", "b3").collect(engine=engine)
    assert store.bytes == 6 * 128 * 128 * 2
