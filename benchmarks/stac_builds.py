"""How fast, and in how much memory, does a search of a STAC API become a collection? Beside rasteret.

An API and its files are served on loopback with 30 ms of latency: Sentinel-2 items of 17 kB, one band each, 100 per page. Each
build runs in a process of its own.

    python benchmarks/stac_builds.py --items 100000                         # into a folder: seconds, files/s, peak memory
    python benchmarks/stac_builds.py --items 2000 --rasteret-python PYTHON  # in memory and into a folder, beside rasteret's build
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

import numpy as np

LATENCY_S = 0.03
ITEM_BYTES = 17_000
PER_PAGE = 100

OURS = """
    import json, resource, sys, time, warnings
    import polars as pl
    import polars_rasteret as pr
    url, into, n = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
    start = time.perf_counter()
    scenes = pr.build_from_stac(url, bands=["red"], into=into)
    rows = scenes.select(pl.len(), pl.col("header_error").is_not_null().sum().alias("bad")).collect().row(0)
    print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, *rows,
        time.process_time()]))
"""

RASTERET = """
    import json, resource, sys, time, warnings
    warnings.simplefilter("ignore")
    import rasteret
    from rasteret.fetch import cog
    cog._OBSTORE_CLIENT_OPTIONS.setdefault("allow_http", "true")  # it refuses plain http, which is all that is spoken here
    url, into, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    made = rasteret.build_from_stac(name="bench", stac_api=url, collection="sentinel-2-l2a", bbox=(-180, -90, 180, 90),
        date_range=("2020-01-01", "2030-01-01"), workspace_dir=into, force=True, band_map={"red": "red"})
    rows = made.dataset.count_rows()
    print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rows, 0,
        time.process_time()]))
"""


SECOND = """
    import json, resource, sys, time
    import polars as pl
    import polars_rasteret as pr
    url, into, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    point = pl.DataFrame({"x": [540_005.0], "y": [5_039_995.0]})
    values = pr.scan_collection(into).filter(pl.col("id") == "S2A_7_L2A").raster.sample_points(point, crs=32632).collect()
    assert values["red"].to_list() == [7] and values.height == 1
    print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1, 0,
        time.process_time()]))
"""

ODC_STAC = """
    import json, os, resource, sys, time
    os.environ |= {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES"}
    import odc.stac, pystac_client
    from odc.geo.geobox import GeoBox
    url, into, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    items = list(pystac_client.Client.open(url).search(collections=["sentinel-2-l2a"], limit=100).items())
    box = GeoBox.from_bbox((540_000, 5_039_990, 540_010, 5_040_000), "EPSG:32632", resolution=10)
    cube = odc.stac.load(items, bands=["red"], geobox=box, chunks={}, groupby="id")
    values = cube.red.isel(time=7).values
    assert values.shape == (1, 1) and values[0, 0] == 7, values
    print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1, 0,
        time.process_time()]))
"""


class Server(asyncio.Protocol):
    """One connection: pages of items, and files that are all the same."""

    def __init__(self, port: int, n_items: int, file: bytes) -> None:
        self._port, self._n_items, self._file, self._data = port, n_items, file, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].decode()
            found = re.search(r"(?i)content-length: (\d+)", head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self._data) < stop:
                return
            body, self._data = self._data[end + 4 : stop], self._data[stop:]
            answer = self._answer(head, body)
            asyncio.get_running_loop().call_later(LATENCY_S, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _answer(self, head: str, body: bytes) -> bytes:
        path = head.split(" ", 2)[1]
        if path.endswith(".tif"):
            size = len(self._file)
            asked = re.search(r"(?i)range: bytes=(\d+)-(\d+)", head)
            if asked is None:
                answer = _response(200, self._file, "Accept-Ranges: bytes\r\n")
                return answer if head.startswith("GET") else answer[: answer.index(b"\r\n\r\n") + 4]
            start, stop = int(asked[1]), min(int(asked[2]) + 1, size)
            return _response(
                206, self._file[start:stop], f'Content-Range: bytes {start}-{stop - 1}/{size}\r\nETag: "{path}"\r\n'
            )
        if path.partition("?")[0] == "/search":
            words = json.loads(body) if body else {}
            found = re.search(r"token=(\d+)", path)
            start = int(words.get("token", found[1] if found else 0))
            return _response(200, self._page(start, head.startswith("POST")))
        if path.startswith("/collections"):
            return _response(
                200,
                json.dumps(
                    {
                        "type": "Collection",
                        "id": "sentinel-2-l2a",
                        "stac_version": "1.0.0",
                        "description": "d",
                        "license": "other",
                        "links": [],
                        "extent": {
                            "spatial": {"bbox": [[-180, -90, 180, 90]]},
                            "temporal": {"interval": [[None, None]]},
                        },
                    }
                ).encode(),
            )
        url = f"http://127.0.0.1:{self._port}"
        links = [
            {"rel": "search", "href": f"{url}/search", "type": "application/geo+json", "method": method}
            for method in ("POST", "GET")
        ]
        links += [
            {"rel": "data", "href": f"{url}/collections", "type": "application/json"},
            {"rel": "root", "href": url},
        ]
        return _response(
            200,
            json.dumps(
                {
                    "type": "Catalog",
                    "id": "api",
                    "description": "of benchmarks",
                    "stac_version": "1.0.0",
                    "links": links,
                    "conformsTo": [
                        f"https://api.stacspec.org/v1.0.0/{one}" for one in ("core", "item-search", "collections")
                    ],
                }
            ).encode(),
        )

    def _page(self, start: int, is_post: bool) -> bytes:
        stop = min(start + PER_PAGE, self._n_items)
        features = b",".join(_item(n, self._port) for n in range(start, stop))
        link: list[dict[str, object]] = []
        if stop < self._n_items:
            href = f"http://127.0.0.1:{self._port}/search"
            link = [
                {"rel": "next", "href": href, "method": "POST", "body": {"token": stop}, "merge": True}
                if is_post
                else {"rel": "next", "href": f"{href}?token={stop}", "method": "GET"}
            ]
        return b'{"type":"FeatureCollection","links":' + json.dumps(link).encode() + b',"features":[' + features + b"]}"


def _response(status: int, body: bytes, more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def _template() -> bytes:
    """Give an item as Earth Search has them, with marks for number and port."""
    keys = [
        "blue",
        "green",
        "nir",
        "nir08",
        "nir09",
        "red",
        "rededge1",
        "rededge2",
        "rededge3",
        "scl",
        "swir16",
        "swir22",
    ]
    assets = {
        f"{key}{suffix}": {
            "href": f"http://127.0.0.1:PORT/{key}/NUMBER{ending}",
            "type": kind,
            "title": key,
            "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": key, "center_wavelength": 0.665, "full_width_half_max": 0.038}],
            "gsd": 10,
            "proj:shape": [10980, 10980],
            "proj:transform": [10, 0, 540000, 0, -10, 5040000],
            "raster:bands": [
                {"nodata": 0, "data_type": "uint16", "spatial_resolution": 10, "scale": 0.0001, "offset": -0.1}
            ],
        }
        for key in keys
        for suffix, ending, kind in [("", ".tif", "image/tiff; application=geotiff"), ("-jp2", ".jp2", "image/jp2")]
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_NUMBER_L2A",
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [[[9, 45], [10, 45], [10, 46], [9, 46], [9, 45]]]},
        "bbox": [9, 45, 10, 46],
        "assets": assets,
        "links": [{"rel": "self", "href": "http://127.0.0.1:PORT/i/NUMBER"}],
        "properties": {
            "datetime": "2024-05-01T10:20:30.123456Z",
            "eo:cloud_cover": 12.5,
            "proj:epsg": 32632,
            **{f"s2:statistic_{n}": n / 7 for n in range(20)},
            "platform": "sentinel-2a",
            "instruments": ["msi"],
        },
    }
    text = json.dumps(item)
    item["properties"]["filling"] = "x" * max(0, ITEM_BYTES - len(text))
    return json.dumps(item).encode()


TEMPLATE = _template()


def _item(number: int, port: int) -> bytes:
    return TEMPLATE.replace(b"NUMBER", b"%d" % number).replace(b"PORT", b"%d" % port)


def serve(n_items: int, port_back: object) -> None:
    from polars_rasteret.testing import make_cog

    file = make_cog(np.full((1, 64, 64), 7, dtype="uint16"), transform=(10.0, 0.0, 540_000.0, 0.0, -10.0, 5_040_000.0))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        port = 0
        server = await loop.create_server(lambda: Server(port, n_items, file), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        port_back.put(port)
        await server.serve_forever()

    asyncio.run(run())


def run(python: str, code: str, *words: str) -> list[float]:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", textwrap.dedent(code), *words], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--rasteret-python", help="an interpreter that has rasteret")
    parser.add_argument("--in-memory", action="store_true", help="our build without into=, too")
    parser.add_argument(
        "--first-pixel", action="store_true", help="seconds to one pixel: odc-stac, and our second query"
    )
    given = parser.parse_args()
    back = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(given.items, back), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{back.get()}"
    print(f"{given.items} items of {len(_item(0, 10000)) / 1000:.1f} kB, {PER_PAGE} a page, {LATENCY_S * 1000:.0f} ms")
    print("| build | s | CPU s | files/s | peak MB | records | unreadable |\n|---|---:|---:|---:|---:|---:|---:|")
    builds = [("ours, into a folder", sys.executable, OURS, True)]
    if given.in_memory:
        builds.append(("ours, in memory", sys.executable, OURS, False))
    if given.rasteret_python:
        builds.append(("rasteret", given.rasteret_python, RASTERET, True))
    if given.first_pixel:
        builds += [
            ("ours, one pixel of the built folder", sys.executable, SECOND, True),
            ("odc-stac, one pixel", sys.executable, ODC_STAC, True),
        ]
    kept = tempfile.mkdtemp()
    for number, (name, python, code, to_disk) in enumerate(builds):
        place = "ours" if code is SECOND or number == 0 else str(number)
        try:
            seconds, peak_mb, n, n_bad, cpu_s = run(
                python, code, url, f"{kept}/{place}" if to_disk else "", str(given.items)
            )
        except subprocess.CalledProcessError as error:
            print(f"| {name} | failed: {error.stderr.strip().splitlines()[-1]} |")
            continue
        rate = f"{n / seconds:.0f}" if n > 1 else ""
        print(f"| {name} | {seconds:.2f} | {cpu_s:.2f} | {rate} | {peak_mb:.0f} | {n:.0f} | {n_bad:.0f} |", flush=True)
    shutil.rmtree(kept)
    server.terminate()
    server.join()


if __name__ == "__main__":
    main()
