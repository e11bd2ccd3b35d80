"""Which small sound files do the mutants come from? Every codec, dtype, predictor, layout and byte order that is read."""

from __future__ import annotations

import io
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

_MAX_SHARED_BYTES = 6_000


def make_pixels(seed: int, dtype: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth with some noise: (bands, rows, columns)."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(shape[1]) * 3, np.arange(shape[2]) * 2) + rng.integers(0, 4, shape)
    return ramp.astype(dtype)


def _written(pixels: np.ndarray, *, overviews: bool = False, **options: object) -> bytes:
    bands, height, width = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", width=width, height=height, count=bands, dtype=pixels.dtype, crs="EPSG:32632",
                transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000), **options,
            ) as file:  # fmt: skip
                file.write(pixels)
            if overviews:
                with rasterio.open(memory.name, "r+") as file:
                    file.build_overviews([2], rasterio.enums.Resampling.nearest)
            return memory.read()


def _pictures() -> dict[str, bytes]:
    """Write the codecs that this GDAL lacks."""
    found = {}
    encoders = {"jpeg2000": "jpeg2000", "jpegxl": "jpegxl", "png": "png"}
    for (name, codec), (dtype, samples), tiled in itertools.product(
        encoders.items(), (("u1", 3), ("u2", 1)), (True, False)
    ):
        shape = (40, 50, samples) if samples > 1 else (40, 50)
        pixels = make_pixels(3, dtype, (samples, 40, 50)).transpose(1, 2, 0).reshape(shape)
        options = {"tile": (16, 32)} if tiled else {"rowsperstrip": 17}
        out = io.BytesIO()
        tifffile.imwrite(
            out,
            np.ascontiguousarray(pixels),
            compression=codec,
            compressionargs={"reversible": True} if codec == "jpeg2000" else {},
            photometric="rgb" if samples == 3 else "minisblack",
            metadata=None,
            **options,
        )
        found[f"{name}_{dtype}x{samples}_{'tiles' if tiled else 'strips'}"] = out.getvalue()
    return found


def make_bases(shared_data: Path | None) -> dict[str, bytes]:
    """Give file name to content."""
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 16}
    found: dict[str, bytes] = {}
    lossless = ["NONE", "LZW", "DEFLATE", "ZSTD", "LZMA", "PACKBITS"]
    for number, compress in enumerate(lossless):
        for predictor, dtype in ((1, "u1"), (1, "f4"), (2, "u2"), (2, "i4"), (3, "f4"), (3, "f8")):
            if predictor > 1 and compress in {"NONE", "PACKBITS"}:
                continue
            options = {"predictor": predictor} if predictor > 1 else {}
            if compress != "NONE":
                options["compress"] = compress
            is_odd = (number + predictor + len(dtype)) % 2
            found[f"{compress}_{predictor}_{dtype}"] = _written(
                make_pixels(number, dtype, (1 + 2 * is_odd, 40, 50)),
                interleave="band" if dtype in {"f4", "i4"} else "pixel",
                ENDIANNESS="BIG" if dtype in {"u2", "f4"} else "LITTLE",
                BIGTIFF="YES" if dtype in {"f8", "u1"} else "NO",
                nodata=7 if dtype == "u2" else None,
                overviews=dtype in {"u1", "f8"},
                **(tiles if predictor % 2 else {"blockysize": 13}),
                **options,
            )
    for bits, compress in ((1, "DEFLATE"), (4, "NONE"), (12, "LZW")):
        found[f"bits{bits}"] = _written(
            make_pixels(bits, "u1" if bits < 8 else "u2", (1, 40, 50)) % (1 << bits), nbits=bits, compress=compress
        )
    for compress, dtype in itertools.product(("LERC", "LERC_DEFLATE", "LERC_ZSTD"), ("u1", "i2", "f4", "f8")):
        pixels = make_pixels(5, dtype, (1 if dtype == "f4" else 3, 40, 50))
        if dtype == "f4":
            pixels[:, 5:20, 10:30] = np.nan
        found[f"{compress}_{dtype}"] = _written(pixels, compress=compress, interleave="pixel", **tiles)
    for name, bands, options in (
        ("ycbcr", 3, {"photometric": "YCBCR"}),
        ("rgb", 3, {"photometric": "RGB"}),
        ("gray", 1, {}),
        ("planes", 3, {"interleave": "band"}),
    ):
        found[f"JPEG_{name}"] = _written(
            make_pixels(6, "u1", (bands, 40, 50)), compress="JPEG", **({"interleave": "pixel", **tiles, **options})
        )
    for lossy in (True, False):
        found[f"WEBP_{lossy}"] = _written(
            make_pixels(7, "u1", (3, 40, 50)), compress="WEBP", WEBP_LOSSLESS=not lossy, interleave="pixel", **tiles
        )
    found |= _pictures()
    out = io.BytesIO()
    tifffile.imwrite(out, make_pixels(8, "f2", (1, 40, 50))[0], compression="deflate", predictor=True, metadata=None)
    found["half"] = out.getvalue()
    found["sparse"] = _written(np.zeros((1, 40, 50), "u2"), SPARSE_OK=True, nodata=0, compress="DEFLATE", **tiles)
    if shared_data is not None:
        reference = json.loads((shared_data / "reference.json").read_text())["files"]
        found |= {
            name.replace("/", "__"): (shared_data / name).read_bytes()
            for name, facts in sorted(reference.items())
            if facts["status"] == "ok" and facts["bytes"] < _MAX_SHARED_BYTES and not name.startswith("broken/")
        }
    return found


def write_bases(folder: Path, shared_data: Path | None) -> None:
    """Keep the files in a folder, where worker processes find them."""
    for name, data in make_bases(shared_data).items():
        (folder / name).write_bytes(data)


def read_bases(folder: Path) -> list[tuple[str, bytes]]:
    """Give (name, content), in an order that does not depend on the file system."""
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
