"""How many chips per second reach a training loop, from us and from rasterio in DataLoader workers?

Chips of 256 x 256 pixels and two bands lie anywhere in six scenes of the corpus; a batch has 32. Each way is a fresh process, and
reads the same chips in the same order. *Steady* counts from the batch by which every worker has given two, so starting workers is
left out; *first batch* has it, imports included. Every way must give the same pixels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from corpus import RESOLUTION, SCENES, SIZE, default_data_dir, ensure_corpus
from engines.rasterio_engine import GDAL_SETTINGS
from fresh_process import once, summary
from servers import latency_proxy, static_server

BANDS = ("B04", "B08")
PLACES = SCENES[:6]
PIXELS = 256
BATCH = 32
LATENCY_MS = 30.0
WAYS = (
    "ours, no workers",
    "ours, 2 workers",
    "ours, 4 workers",
    "ours, one by one",
    "ours as TorchGeo, no workers",
    "rasterio, no workers",
    "rasterio, 4 workers",
)


def chips(n: int) -> dict[str, Any]:
    """Give scene and first pixel of each chip, and the middle of the pixel (128, 128)."""
    rng = np.random.default_rng(17)
    scene, row, col = rng.integers(0, len(PLACES), n), *rng.integers(0, SIZE - PIXELS, (2, n))
    left, top = (np.array([getattr(one, side) for one in PLACES])[scene] for side in ("left", "top"))
    half = PIXELS // 2 + 0.5
    return {
        "scene": scene,
        "row": row,
        "col": col,
        "x": left + (col + half) * RESOLUTION,
        "y": top - (row + half) * RESOLUTION,
    }


class RasterioChips:
    """What a careful user of rasterio writes: one open dataset per file and worker."""

    def __init__(self, url: str, asked: dict[str, Any]) -> None:
        self.url, self.asked, self.opened = url, asked, {}
        self.env = None

    def __len__(self) -> int:
        return len(self.asked["row"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        import rasterio
        import torch

        if self.env is None:
            self.env = rasterio.Env(**GDAL_SETTINGS)
            self.env.__enter__()
        row, col = int(self.asked["row"][index]), int(self.asked["col"][index])
        image = np.empty((len(BANDS), PIXELS, PIXELS), np.uint16)
        for at, band in enumerate(BANDS):
            href = f"{self.url}/{PLACES[self.asked['scene'][index]].path(band)}"
            if href not in self.opened:
                self.opened[href] = rasterio.open(f"/vsicurl/{href}")
            window = ((row, row + PIXELS), (col, col + PIXELS))
            self.opened[href].read(1, window=window, out=image[at])
        return {"image": torch.from_numpy(image.astype(np.int32))}


class OneByOne:
    """Our dataset without `__getitems__`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def images_of_torchgeo(samples: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    return {"image": torch.stack([one["image"] for one in samples])}


def ours(url: str, asked: dict[str, Any], *, as_torchgeo: bool) -> tuple[Any, Any]:
    """Give the dataset and, for TorchGeo, the queries of its chips; the headers are read before the clock, as an index is."""
    import polars as pl

    import polars_rasteret as pr

    table = pl.DataFrame(
        {"id": [one.name for one in PLACES], **{band: [f"{url}/{one.path(band)}" for one in PLACES] for band in BANDS}}
    )
    collection = pr.build_from_table(table, bands={band: band for band in BANDS}, on_error="raise").collect().lazy()
    if not as_torchgeo:
        places = pl.DataFrame({"x": asked["x"], "y": asked["y"]})
        return collection.raster.to_torch(places, BANDS, shape=(PIXELS, PIXELS), crs=PLACES[0].epsg), None
    dataset = collection.raster.to_torchgeo(BANDS)
    half, above, below = PIXELS // 2 + 0.5, PIXELS // 2 + 0.5, PIXELS - PIXELS // 2 - 0.5
    t = dataset.bounds[2]
    queries = [
        (slice(x - half * RESOLUTION, x + below * RESOLUTION), slice(y - below * RESOLUTION, y + above * RESOLUTION), t)
        for x, y in zip(asked["x"].tolist(), asked["y"].tolist(), strict=True)
    ]
    return dataset, queries


def measure(way: str, url: str, n: int) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)  # sums of batches are no training: threads that wait for each other would be measured
    name, _, how = way.partition(", ")
    workers = int(how.split()[0]) if how.endswith("workers") and not how.startswith("no") else 0
    asked = chips(n)
    more: dict[str, Any] = {"multiprocessing_context": "spawn"} if workers else {}
    if name == "rasterio":
        dataset: Any = RasterioChips(url, asked)
    else:
        if name.endswith("TorchGeo"):
            from tests.support.torchvision_ops import make_importable

            make_importable()
        dataset, queries = ours(url, asked, as_torchgeo=name.endswith("TorchGeo"))
        if queries is not None:
            more |= {"sampler": queries, "collate_fn": images_of_torchgeo}
        if how == "one by one":
            dataset = OneByOne(dataset)
    moments, total = [time.perf_counter()], 0
    for batch in DataLoader(dataset, batch_size=BATCH, num_workers=workers, **more):
        moments.append(time.perf_counter())
        total += int(batch["image"].double().sum())
    begun = 2 * max(workers, 1)  # by then every worker has given two batches
    return {
        "chips": n,
        "sum": total,
        "first batch s": moments[1] - moments[0],
        "ms per chip": 1e3 * (moments[-1] - moments[begun]) / ((len(moments) - 1 - begun) * BATCH),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Chips for a training loop, beside rasterio in workers.")
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument(
        "--chips", type=int, default=1024, help="512 or more: each of 4 workers gives two batches first"
    )
    parser.add_argument("--links", default="direct,30 ms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="; ".join(WAYS), help="some ways, with semicolons between them")
    parser.add_argument("--once", nargs=2, metavar=("WAY", "URL"))
    arguments = parser.parse_args()
    if arguments.once:
        way, url = arguments.once
        print(json.dumps(measure(way, url, arguments.chips)))
        return
    ensure_corpus(arguments.data)
    ways = [way for way in WAYS if way in arguments.only.split("; ")]
    with static_server(arguments.data) as server, latency_proxy(server, min_ms=LATENCY_MS, max_ms=LATENCY_MS) as slow:
        print("| link | way | steady, ms per chip | ours / it | first batch s |\n|---|---|---:|---:|---:|")
        for link, url in (("direct", server.url), ("30 ms", slow)):
            if link in arguments.links.split(","):
                report(link, url, ways, arguments.rounds, arguments.chips)


def report(link: str, url: str, ways: list[str], n_rounds: int, n_chips: int) -> None:
    """Measure every way once per round, so that what else the machine does meets all of them, and print a row for each."""
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(n_rounds):
        for way in ways:
            # A way that waits for each chip needs no more of them than it takes to see its pace.
            n = min(n_chips, 128) if how_slow(way) else n_chips
            rows[way].append(once(__file__, way, url, "--chips", str(n)))
    sums = {(row["chips"], row["sum"]) for its in rows.values() for row in its}
    if len(dict(sums)) < len(sums):
        raise SystemExit(f"the ways do not give the same pixels: {sorted(sums)}")
    for way, its in rows.items():
        pairs = zip(rows[ways[0]], its, strict=True)
        ratio = statistics.median(ours["ms per chip"] / one["ms per chip"] for ours, one in pairs)
        print(
            f"| {link} | {way} | {summary(its, 'ms per chip')} | {ratio:.2f} | {summary(its, 'first batch s')} |",
            flush=True,
        )


def how_slow(way: str) -> bool:
    return way in {"ours, one by one", "rasterio, no workers"}


if __name__ == "__main__":
    main()
