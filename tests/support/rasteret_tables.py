"""Tables as rasteret writes them, made by hand."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import shapely

METADATA = pa.struct(
    [
        *((name, pa.int32()) for name in ("image_width", "image_height", "tile_width", "tile_height")),
        ("dtype", pa.string()),
        ("transform", pa.list_(pa.float64())),
        ("predictor", pa.int32()),
        ("compression", pa.int32()),
        ("tile_offsets", pa.list_(pa.int64())),
        ("tile_byte_counts", pa.list_(pa.int64())),
        ("pixel_scale", pa.list_(pa.float64())),
        ("tiepoint", pa.list_(pa.float64())),
        ("nodata", pa.float64()),
        ("samples_per_pixel", pa.int32()),
        ("planar_configuration", pa.int32()),
        ("photometric", pa.int32()),
        ("extra_samples", pa.list_(pa.int32())),
    ]
)
BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
BOX = (9.0, 45.1, 9.1, 45.2)


def known(**fields):
    """Give what is known of a band of 8 x 8 uint16 pixels in one tile."""
    return {
        "image_width": 8,
        "image_height": 8,
        "tile_width": 16,
        "tile_height": 16,
        "dtype": "uint16",
        "transform": [10.0, 500_000.0, -10.0, 5_000_000.0],
        "predictor": 1,
        "compression": 1,
        "tile_offsets": [100],
        "tile_byte_counts": [512],
        "nodata": None,
        "samples_per_pixel": 1,
        "planar_configuration": 1,
        **fields,
    }


def table(records, bands, *, when=None, index=False):
    """Give an Arrow table: each record has per band an href, or (href, band index), and what is known of it, or None."""
    n = len(records)
    asset = pa.struct([("href", pa.string()), *([("band_index", pa.int64())] if index else [])])
    box = {"xmin": BOX[0], "ymin": BOX[1], "xmax": BOX[2], "ymax": BOX[3]}

    def href(value):
        one = value if isinstance(value, tuple) else (value, 0)
        return {"href": one[0], **({"band_index": one[1]} if index else {})}

    assets = [
        {band: None if record.get(band) is None else href(record[band][0]) for band in bands} for record in records
    ]
    times = [
        record.get("datetime", dt.datetime(2020, 1, 1) + dt.timedelta(days=number))
        for number, record in enumerate(records)
    ]
    return pa.table(
        {
            "id": [record.get("id", str(number)) for number, record in enumerate(records)],
            "datetime": pa.array(times, when or pa.timestamp("us")),
            "geometry": pa.array([shapely.box(*BOX).wkb] * n, pa.binary()),
            "assets": pa.array(assets, pa.struct([(band, asset) for band in bands])),
            "proj:epsg": pa.array([record.get("epsg", 32632) for record in records], pa.int32()),
            "crs": [f"EPSG:{record.get('epsg', 32632)}" for record in records],
            "bbox": pa.array([box] * n, BBOX),
            **{
                f"{band}_metadata": pa.array(
                    [None if record.get(band) is None else record[band][1] for record in records], METADATA
                )
                for band in bands
            },
        }
    )
