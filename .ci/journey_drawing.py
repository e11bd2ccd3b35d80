"""Draw the way of a real query to its byte ranges: what Polars handed over, which tiles hold the pixels, what was requested.

``python .ci/journey_drawing.py --write`` draws ``docs/images/journey.svg``; a test compares the file with the plan of today. Only
words are typed in by hand: records, tiles, bytes and requests are those of the query, run on images of the package.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from html import escape
from pathlib import Path
from unittest.mock import patch

import polars as pl

import polars_rasteret as pr
from polars_rasteret.engine import reading

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "images" / "journey.svg"
PLACE = "memory://forest-of-the-drawing/"
SHOWN = "forest_20190706"
"""The record whose tiles and bytes are drawn."""
CODE = (
    'scenes.filter(pl.col("datetime").dt.month() == 7)',
    "      .raster.sample_points(plots, crs=4326)",
    '      .select("plot", "record_id", "red", "nir")',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A tile of the shown image."""

    band: str
    box: tuple[int, int, int, int]
    """row_start, row_stop, col_start, col_stop; half-open, in pixels."""
    byte_start: int
    byte_stop: int
    is_wanted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """What happened when the query ran."""

    records: list[str]
    """All of the collection."""
    kept: list[str]
    """Those that the filter left."""
    side: int
    """Pixels of the shown image along each side."""
    file_bytes: int
    tiles: list[Tile]
    """Of the shown image, in the order of the file."""
    pixels: list[tuple[str, int, int]]
    """plot, row, col."""
    requests: dict[str, list[tuple[int, int]]]
    """Byte ranges that the store was asked for, per record."""
    answer: pl.DataFrame


def travelled() -> Journey:
    """Run the query on the images of the package, and return what it planned and asked for."""
    files = {f"{PLACE}{path.name}": path.read_bytes() for path in sorted(pr.example_data().glob("*.tif"))}
    source = pr.testing.RecordingSource(pr.testing.MemorySource(files))
    pr.configure_store(PLACE, store=source)
    try:
        scenes = pr.build_from_files(list(files))
        source.clear()
        plots = pl.DataFrame({"plot": ["gap", "trees"], "lon": [22.15147, 22.15756], "lat": [45.20292, 45.20172]})
        july = scenes.filter(pl.col("datetime").dt.month() == 7)
        query = july.raster.sample_points(plots, crs=4326).select("plot", "record_id", "red", "nir")
        with (
            pr.options(cache_bytes=0),
            patch.object(reading, "tile_reads_of", wraps=reading.tile_reads_of) as planning,
        ):
            answer = query.collect()
        requests: dict[str, list[tuple[int, int]]] = {}
        for href, byte_start, byte_stop in source.requests:
            requests.setdefault(Path(href).stem, []).append((byte_start, byte_stop))
        tile_reads = reading.tile_reads_of(*planning.call_args.args, **planning.call_args.kwargs)
        file_id = tile_reads.hrefs.index(f"{PLACE}{SHOWN}.tif")
        wanted = set(tile_reads.byte_start[tile_reads.file_id == file_id].tolist())
        shown = scenes.filter(id=SHOWN)
        (handle,) = shown.raster.iter_rasters()
        tiles = []
        for band in shown.raster.bands():
            with patch.object(reading, "tile_reads_of", wraps=reading.tile_reads_of) as whole:
                handle.read(band)
            ((plan,),) = whole.call_args.args
            (image,) = plan.images
            across = -(-image.width // image.tile_width)
            for number, (byte_start, n_bytes) in enumerate(zip(image.byte_start, image.byte_count, strict=True)):
                row, col = (number // across) * image.tile_height, (number % across) * image.tile_width
                tiles.append(
                    Tile(
                        band=band,
                        box=(
                            row,
                            min(row + image.tile_height, image.height),
                            col,
                            min(col + image.tile_width, image.width),
                        ),
                        byte_start=int(byte_start),
                        byte_stop=int(byte_start + n_bytes),
                        is_wanted=int(byte_start) in wanted,
                    )
                )
        at = shown.raster.pair(plots, crs=4326).select("plot", pl.col("red").raster.row_col("lon", "lat", crs=4326))
        pixels = [(plot, place["row"], place["col"]) for plot, place in at.collect().iter_rows()]
        return Journey(
            records=scenes.select("id").collect()["id"].sort().to_list(),
            kept=july.select("id").collect()["id"].sort().to_list(),
            side=image.width,
            file_bytes=len(files[f"{PLACE}{SHOWN}.tif"]),
            tiles=sorted(tiles, key=lambda tile: tile.byte_start),
            pixels=pixels,
            requests=requests,
            answer=answer.filter(record_id=SHOWN),
        )
    finally:
        pr.configure_store(PLACE)


WIDTH, MARGIN = 480, 20
INK, FAINT, PAPER, WANTED, ASKED = "#1f2d2b", "#6b7a77", "#ffffff", "#009485", "#ff6e40"
BANDS = {"blue": "#cfe0f5", "green": "#d5ecd0", "red": "#f6d6d3", "nir": "#e7d5ea", "scl": "#e8e4d8"}


class Canvas:
    """Shapes of a drawing, from top to bottom."""

    def __init__(self) -> None:
        self.shapes: list[str] = []
        self.y = 0.0

    def text(self, words: str, *, x: float = MARGIN, size: int = 13, colour: str = INK, more: str = "") -> None:
        """Write words on the current line."""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{self.y:.1f}" font-size="{size}" fill="{colour}" {more}>{escape(words)}</text>'
        )

    def box(self, x: float, width: float, height: float, *, fill: str, stroke: str = "none", y: float = 0) -> None:
        """Draw a rectangle, `y` below the current line."""
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{self.y + y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" stroke="{stroke}"/>'
        )

    def step(self, number: int, title: str, says: str) -> None:
        """Begin a step: an arrow from what is above, a number, a title, and a line of words."""
        if number > 1:
            x, top = WIDTH / 2, self.y + 10
            self.shapes.append(
                f'<path d="M{x} {top}v16m-5-6l5 6l5-6" fill="none" stroke="{FAINT}" stroke-width="1.5"/>'
            )
            self.y += 34
        self.y += 20
        self.shapes.append(f'<circle cx="{MARGIN + 9}" cy="{self.y - 5:.1f}" r="10" fill="{WANTED}"/>')
        self.text(str(number), x=MARGIN + 9, size=12, colour=PAPER, more='text-anchor="middle" font-weight="bold"')
        self.text(title, x=MARGIN + 28, size=15, more='font-weight="bold"')
        self.y += 21
        self.text(says, colour=FAINT)
        self.y += 12


def drawing(journey: Journey) -> str:
    """Return the journey as SVG, 480 units wide: its letters can be read on a phone."""
    canvas = Canvas()
    inner = WIDTH - 2 * MARGIN
    canvas.y = 8
    canvas.step(1, "A query", "Polars hands the filter and the columns to the read")
    canvas.box(MARGIN, inner, 62, fill="#f4f6f6")
    for line in CODE:
        canvas.y += 18
        canvas.text(line, x=MARGIN + 10, size=12, more='font-family="monospace" xml:space="preserve"')
    canvas.y += 8

    n_kept = len(journey.kept)
    canvas.step(
        2, "Records", f"the filter lands in the scan: {n_kept} of {len(journey.records)} records stay; nothing is read"
    )
    gap = 5
    width = (inner + gap) / len(journey.records) - gap
    for number, record in enumerate(journey.records):
        is_kept = record in journey.kept
        x = MARGIN + number * (width + gap)
        canvas.box(x, width, 34, fill=WANTED if is_kept else "#e4e8e7")
        day = record.removeprefix("forest_")
        canvas.y += 15
        for part in (day[2:4], day[4:6]):
            canvas.text(part, x=x + width / 2, size=11, colour=PAPER if is_kept else FAINT, more='text-anchor="middle"')
            canvas.y += 13
        canvas.y -= 15 + 2 * 13 - 15
        canvas.y -= 15
    canvas.y += 36

    wanted = [tile for tile in journey.tiles if tile.is_wanted]
    bands = list(dict.fromkeys(tile.band for tile in journey.tiles))
    n_read = len({tile.band for tile in wanted})
    canvas.step(
        3,
        "Tiles",
        f"{SHOWN}: {n_read} of {len(bands)} bands are selected, {len(wanted)} tiles hold the plots",
    )
    gap = 12
    side = (inner + gap) / len(bands) - gap
    scale = side / journey.side
    for number, band in enumerate(bands):
        x = MARGIN + number * (side + gap)
        for tile in journey.tiles:
            if tile.band == band:
                row_start, row_stop, col_start, col_stop = (scale * edge for edge in tile.box)
                fill = WANTED if tile.is_wanted else BANDS[band]
                canvas.box(
                    x + col_start, col_stop - col_start, row_stop - row_start, fill=fill, stroke=PAPER, y=row_start
                )
        for _, row, col in journey.pixels:
            at_x, at_y = x + scale * (col + 0.5), canvas.y + scale * (row + 0.5)
            canvas.shapes.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="3.5" fill="{ASKED}" stroke="{PAPER}"/>')
        canvas.y += side + 15
        canvas.text(band, x=x + side / 2, size=12, more='text-anchor="middle"')
        canvas.y -= side + 15
    canvas.y += side + 18

    asked = journey.requests[SHOWN]
    n_asked = sum(byte_stop - byte_start for byte_start, byte_stop in asked)
    n_gap = n_asked - sum(tile.byte_stop - tile.byte_start for tile in wanted)
    requests = "one request" if len(asked) == 1 else f"{len(asked)} requests"
    canvas.step(4, "Byte ranges", f"{len(wanted)} tiles of a file of {journey.file_bytes:,} bytes, in {requests}")
    scale = inner / journey.file_bytes
    canvas.box(MARGIN, inner, 26, fill="#f4f6f6")
    for tile in journey.tiles:
        canvas.box(
            MARGIN + scale * tile.byte_start,
            max(scale * (tile.byte_stop - tile.byte_start) - 0.6, 0.4),
            26,
            fill=WANTED if tile.is_wanted else BANDS[tile.band],
        )
    canvas.y += 32
    for byte_start, byte_stop in asked:
        x, width = MARGIN + scale * byte_start, scale * (byte_stop - byte_start)
        canvas.shapes.append(
            f'<path d="M{x:.1f} {canvas.y:.1f}v8h{width:.1f}v-8" fill="none" stroke="{ASKED}" stroke-width="2"/>'
        )
        canvas.y += 25
        canvas.text(f"bytes={byte_start}-{byte_stop - 1}", x=x + width / 2, size=12, more='text-anchor="middle"')
        canvas.y -= 25
    canvas.y += 45
    canvas.text(f"The {n_gap:,} bytes between them cost less than a second round trip.", colour=FAINT)
    canvas.y += 4

    n_requests = sum(map(len, journey.requests.values()))
    canvas.step(5, "Columns", f"decoded as the {n_requests} answers of {n_kept} files arrive; of this file:")
    names = journey.answer.columns
    starts = dict(zip(names, (MARGIN + 10, MARGIN + 100, MARGIN + 285, MARGIN + 365), strict=True))
    canvas.box(MARGIN, inner, 24 + 21 * journey.answer.height, fill="#f4f6f6")
    canvas.y += 18
    for name, x in starts.items():
        canvas.text(name, x=x, size=12, more='font-weight="bold"')
    for row in journey.answer.iter_rows(named=True):
        canvas.y += 21
        for name, x in starts.items():
            canvas.text(str(row[name]), x=x)
    height = canvas.y + 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'font-family="system-ui, sans-serif" role="img">\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="10" fill="{PAPER}"/>\n'
        + "\n".join(canvas.shapes)
        + "\n</svg>\n"
    )


def main() -> None:
    """Write the drawing, or print it."""
    parser = argparse.ArgumentParser(description="Draw the way of a query to its byte ranges.")
    parser.add_argument("--write", action="store_true", help=f"into {DRAWING.relative_to(ROOT)}")
    drawn = drawing(travelled())
    if parser.parse_args().write:
        DRAWING.parent.mkdir(exist_ok=True)
        DRAWING.write_text(drawn)
    else:
        print(drawn)


if __name__ == "__main__":
    main()
