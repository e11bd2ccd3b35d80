"""How far above the least possible time are we: that of moving the bytes and decoding the touched tiles on all cores?

The floor is measured in the same run, by a loop that does nothing else. The plan of our own engine says which ranges of which
files hold the touched tiles, and which rows of each are wanted. Plain sockets, opened before, ask for the ranges and receive them
into buffers that exist; the tiles are decoded, down to the last wanted row, by the decoder that we use. Not in it: opening the
collection, pairing, planning, placing pixels, the answer's array and its columns.

*move* is that loop without decoding, *decode* the decoding of the same bytes from memory, *floor* both at once: threads that
move, and a thread per core that decodes. *client* is the floor with the client of our engine in place of the sockets: obstore,
which does TLS, signs for stores, and gives each answer memory of its own; what we take above it is ours alone.

Each measurement is a new process, warmed as in `run.py`; rounds are interleaved. A ratio is the median of the ratios within
rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from corpus import default_data_dir, ensure_corpus
from fresh_process import once
from servers import latency_proxy, static_server
from workloads import TITLES, WORKLOADS, workload

AIM = 1.25
CONNECTIONS = {"direct": 4, "latency": 32}
MEASURED = ("move_s", "decode_s", "floor_s", "client_s")


class Moving:
    """Connections to one server, each of which answers one range at a time into a buffer of its own."""

    def __init__(self, base_url: str, n_connections: int, n_bytes: int) -> None:
        self.address = urlsplit(base_url)
        self.free: SimpleQueue[socket.socket] = SimpleQueue()
        self.sockets = [self._connected() for _ in range(n_connections)]
        for one in self.sockets:
            self.free.put(one)
        self.head_bytes = 4096
        self.n_bytes = n_bytes + self.head_bytes

    def _connected(self) -> socket.socket:
        one = socket.create_connection((self.address.hostname, self.address.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one

    def buffer(self) -> bytearray:
        return bytearray(self.n_bytes)

    def fetch(self, connection: socket.socket, href: str, start: int, stop: int, buffer: bytearray) -> memoryview:
        """Receive one range; the bytes are a part of `buffer`."""
        path = urlsplit(href).path
        head = f"GET {path} HTTP/1.1\r\nHost: {self.address.netloc}\r\nRange: bytes={start}-{stop - 1}\r\n\r\n"
        connection.sendall(head.encode())
        view, got, body = memoryview(buffer), 0, -1
        while body < 0 or got < body + stop - start:
            n = connection.recv_into(view[got:])
            if not n:
                raise SystemExit(f"{href}: the server hung up")
            got += n
            if body < 0 and (end := buffer.find(b"\r\n\r\n", 0, got)) >= 0:
                body = end + 4
                if not buffer.startswith(b"HTTP/1.1 206"):
                    raise SystemExit(f"{href}: {bytes(buffer[:end])!r}")
        return view[body : body + stop - start]

    def close(self) -> None:
        for one in self.sockets:
            one.close()


class Client:
    """obstore, as our engine asks it: each range comes in memory of its own."""

    def __init__(self, base_url: str) -> None:
        from obstore.store import HTTPStore

        self.base_url = base_url
        self.store = HTTPStore.from_url(base_url, client_options={"allow_http": True})

    def fetch(self, href: str, start: int, stop: int) -> memoryview:
        import obstore

        key = href.removeprefix(self.base_url).lstrip("/")
        return memoryview(obstore.get(self.store, key, options={"range": (start, stop)}).bytes())


def planned(name: str, quick: bool, index: Path) -> tuple[Any, list[tuple[str, int, int, list[int]]]]:
    """Give the plan of our engine for a workload, and the requests: href, range, and the tiles in it."""
    from engines.interface import Context
    from engines.ours_engine import window_reads

    from polars_rasteret.engine.reading import grouping
    from polars_rasteret.options import current_options
    from polars_rasteret.plan.tile_reads import plan_reads, tile_reads_of

    options = current_options()
    reads = window_reads(workload(name, quick=quick), Context(index_dir=index))
    tiles = tile_reads_of(plan_reads(reads), max_tile_bytes=options.max_tile_bytes)
    request = grouping(options)(tiles.file_id, tiles.byte_start, tiles.byte_stop)
    requests = []
    for members in np.split(np.arange(len(request)), np.flatnonzero(np.diff(request)) + 1):
        first, last = members[0], members[-1]
        href = tiles.hrefs[tiles.file_id[first]]
        requests.append((href, int(tiles.byte_start[first]), int(tiles.byte_stop[members].max()), members.tolist()))
        assert tiles.file_id[first] == tiles.file_id[last]
    return tiles, requests


def wants(tiles: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Give for each tile its decoder, and the words that say how much of it is wanted."""
    from polars_rasteret.engine.decoding import Target

    targets = [Target(plan, np.zeros(0), None, ()) for plan in tiles.plans]
    found = []
    for tile in range(len(tiles.file_id)):
        uses = range(tiles.first_use[tile], tiles.first_use[tile + 1])
        used = [(targets[tiles.use_read[use]], int(tiles.use_tile[use])) for use in uses]
        target, at = used[0]
        if target.rows is not None:
            rows = target.wanted_rows(at)
        else:
            rows = slice(min(one.row_start[n] for one, n in used), max(one.row_stop[n] for one, n in used))
        codec = tiles.codecs[tiles.use_codec[uses.start]]
        words = {"rows": rows, "col_stop": max(one.col_stop[n] for one, n in used)}
        words["tile_rows"] = int(max(tiles.use_tile_rows[use] for use in uses))
        found.append((codec, words))
    return found


def measure(name: str, quick: bool, base_url: str, index: Path, n_connections: int) -> dict[str, float]:
    from polars_rasteret.tiff.codecs.tile_codec import Scratch

    tiles, requests = planned(name, quick, index)
    decoders = wants(tiles)
    n_cores = len(os.sched_getaffinity(0))
    moving = Moving(base_url, n_connections, max(stop - start for _, start, stop, _ in requests))
    kept: list[tuple[list[int], int, bytes]] = []

    def parts(members: list[int], start: int, data: Any) -> list[tuple[int, Any]]:
        return [(one, data[tiles.byte_start[one] - start : tiles.byte_stop[one] - start]) for one in members]

    def decode(one: int, data: Any, scratch: Scratch) -> None:
        codec, words = decoders[one]
        codec.decode(data, scratch, **words)

    client = Client(base_url)

    def move(consume: Any, *, by_client: bool = False) -> float:
        """Move every range once; ``consume(members, start, data, give_back)`` gets each."""
        buffers: SimpleQueue[bytearray] = SimpleQueue()
        for _ in range(2 * n_connections):
            buffers.put(moving.buffer())
        todo = iter(requests)
        lock = threading.Lock()

        def work(_: int) -> None:
            connection = moving.free.get()
            while True:
                with lock:
                    request = next(todo, None)
                if request is None:
                    break
                href, start, stop, members = request
                if by_client:
                    consume(members, start, client.fetch(href, start, stop), lambda: None)
                    continue
                buffer = buffers.get()
                data = moving.fetch(connection, href, start, stop, buffer)
                consume(members, start, data, lambda given=buffer: buffers.put(given))
            moving.free.put(connection)

        with ThreadPoolExecutor(n_connections) as pool:
            started = time.perf_counter()
            list(pool.map(work, range(n_connections)))
            return time.perf_counter() - started

    def keep(members: list[int], start: int, data: Any, give_back: Any) -> None:
        kept.append((members, start, bytes(data)))
        give_back()

    def drop(members: list[int], start: int, data: Any, give_back: Any) -> None:
        give_back()

    move(keep)  # connections, page cache, and the bytes for `decode`
    move_s = move(drop)
    scratches = [Scratch() for _ in range(n_cores)]
    inbox: SimpleQueue[Any] = SimpleQueue()

    def decode_all(scratch: Scratch) -> None:
        while (item := inbox.get()) is not None:
            members, start, data, give_back = item
            for one, view in parts(members, start, data):
                decode(one, view, scratch)
            give_back()

    def with_decoders(feed: Any) -> float:
        threads = [threading.Thread(target=decode_all, args=(scratch,)) for scratch in scratches]
        for one in threads:
            one.start()
        started = time.perf_counter()
        feed()
        for _ in threads:
            inbox.put(None)
        for one in threads:
            one.join()
        return time.perf_counter() - started

    def feed_kept() -> None:
        for members, start, data in kept:
            inbox.put((members, start, memoryview(data), lambda: None))

    def feed_moved(*, by_client: bool = False) -> None:
        move(lambda *item: inbox.put(item), by_client=by_client)

    with_decoders(lambda: [inbox.put((m, s, memoryview(d), lambda: None)) for m, s, d in kept[:8]])
    decode_s = with_decoders(feed_kept)
    cpu = time.process_time()
    floor_s = with_decoders(feed_moved)
    floor_cpu_s = time.process_time() - cpu
    client.fetch(requests[0][0], *requests[0][1:3])
    cpu = time.process_time()
    client_s = with_decoders(partial(feed_moved, by_client=True))
    client_cpu_s = time.process_time() - cpu
    moving.close()
    n_bytes = sum(stop - start for _, start, stop, _ in requests)
    return {
        "move_s": move_s,
        "decode_s": decode_s,
        "floor_s": floor_s,
        "client_s": client_s,
        "floor_cpu_s": floor_cpu_s,
        "client_cpu_s": client_cpu_s,
        "tiles": len(decoders),
        "mb": n_bytes / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[*WORKLOADS], choices=WORKLOADS, metavar="WORKLOAD")
    parser.add_argument("--links", nargs="+", default=["direct"], choices=CONNECTIONS)
    parser.add_argument("--once", nargs=4, metavar=("WORKLOAD", "URL", "INDEX", "CONNECTIONS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        name, url, index, connections = given.once
        print(json.dumps(measure(name, given.quick, url, Path(index), int(connections))))
        return
    ensure_corpus(given.data)
    measure_py = str(Path(__file__).with_name("measure.py"))
    quick = ["--quick"] if given.quick else []
    rows: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    with (
        static_server(given.data) as server,
        latency_proxy(server) as slow,
        tempfile.TemporaryDirectory(prefix="bench-floor-") as folder,
    ):
        urls = {link: {"direct": server.url, "latency": slow}[link] for link in given.links}
        for link, url in urls.items():
            run_measure(measure_py, "prepare", "ours", url, f"{folder}/{link}")
        for number in range(given.rounds):
            for link, url in urls.items():
                for name in given.only:
                    index = f"{folder}/{link}"

                    def floor() -> dict[str, Any]:
                        return once(__file__, name, url, index, str(CONNECTIONS[link]), *quick)

                    def ours() -> dict[str, Any]:
                        return run_measure(measure_py, "run", "ours", url, index, name, *quick)

                    pair = (floor(), ours()) if number % 2 else (ours(), floor())[::-1]
                    rows.setdefault((name, link), []).append(pair)
    print(
        "| workload | link | tiles | MB | move s | decode s | floor s | client s | ours s | ours / floor | ours / client "
        "| CPU s: floor | client | ours |"
    )
    print("|---|---|" + "---:|" * 12)
    for (name, link), pairs in rows.items():
        least = pairs[0][0]
        told = [statistics.median(one[word] for one, _ in pairs) for word in MEASURED]
        told.append(statistics.median(our["wall_s"] for _, our in pairs))
        ratio, above = (statistics.median(our["wall_s"] / one[word] for one, our in pairs) for word in MEASURED[-2:])
        cpu = [statistics.median(one[f"{word}_cpu_s"] for one, _ in pairs) for word in ("floor", "client")]
        cpu.append(statistics.median(our["notes"]["cpu_s"] for _, our in pairs))
        print(
            f"| {TITLES[name]} | {link} | {least['tiles']:,} | {least['mb']:,.0f} | {' | '.join(f'{s:.3f}' for s in told)} "
            f"| {ratio:.2f}{'' if ratio <= AIM else f' (aim {AIM})'} | {above:.2f} | {' | '.join(f'{s:.3f}' for s in cpu)} |"
        )


def run_measure(script: str, *words: str) -> dict[str, Any]:
    import subprocess

    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
