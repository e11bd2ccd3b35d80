"""Make dates of one real Sentinel-2 image: a season of fields, and clouds of real shape. Needs rasterio.

The one real date is a cut of an image that Sentinel-2A took over Fishbourne, Isle of Wight. All other dates are made from it
and are no measurements: where the real image is vegetation, its reflectance is moved towards that of its own bare soil, by a
share that rises and falls over the season, early or late. Cloud shapes are cut from the quality band of a real Landsat image.

    python make_dates.py s2a_l2a_fishbourne.tif LC08_..._QA_PIXEL.TIF
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

WINDOW = Window(130, 80, 171, 121)
BLUE, GREEN, RED, NIR = range(4)
VEGETATION, BARE, WATER, CLOUD = 4, 5, 6, 9
"""Classes, numbered as in the scene classification of Sentinel-2."""
DATES = [
    "20210306", "20210326", "20210405", "20210425", "20210505", "20210525",
    "20210604", "20210624", "20210704", "20210724", "20210803", "20210823",
]  # fmt: skip
REAL = "20210604"
"""The date under which the real pixels are kept; the file they come from does not tell its own."""
CLOUD_CORNERS = [
    (130, 180), None, (150, 230), (190, 60), (110, 210), None,
    None, (100, 210), (130, 290), None, (120, 140), (80, 220),
]  # fmt: skip
"""Row and column of the Landsat image where the clouds of each date are cut; None: a clear date."""
LATE_NIR = 4000
REAL_DAY = 154
_QA_CLOUD = 0b1000
_QA_DILATED = 0b10


def season(day: float, peak: float) -> float:
    """Return the vegetation on a day of the year, as a share of that on the day of the real image."""

    def grown(on: float) -> float:
        return 0.25 + 0.75 * float(np.exp(-(((on - peak) / 50) ** 2)))

    return grown(day) / grown(REAL_DAY)


def main(image: str, quality: str, folder: Path) -> None:
    with rasterio.open(image) as file:
        real = file.read(window=WINDOW).astype(np.float64)
        transform, crs = file.window_transform(WINDOW), file.crs
    with rasterio.open(quality) as file:
        flags = file.read(1)
    is_cloudy = (flags & (_QA_CLOUD | _QA_DILATED) > 0) & (flags != 1)
    red, nir = real[RED], real[NIR]
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = np.where(red + nir > 0, (nir - red) / (nir + red), -1)
    classes = np.full(ndvi.shape, BARE, np.uint16)
    classes[ndvi > 0.4] = VEGETATION
    classes[ndvi < 0.05] = WATER
    soil = [np.median(band[(ndvi > 0.15) & (ndvi < 0.3)]) for band in (red, nir)]
    # Vegetation that is brightest in the real image peaks in June, the rest in May.
    is_late = nir > LATE_NIR
    first = np.datetime64("2021-01-01")
    for date, corner in zip(DATES, CLOUD_CORNERS, strict=True):
        day = float((np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}") - first) / np.timedelta64(1, "D"))
        share = np.ones_like(ndvi) if date == REAL else np.where(is_late, season(day, 170), season(day, 140))
        is_plant = classes == VEGETATION
        bands = [
            np.where(is_plant, bare + (band - bare) * share, band) for band, bare in zip((red, nir), soil, strict=True)
        ]
        shown = classes.copy()
        if corner is not None and date != REAL:
            height, width = ndvi.shape
            cloud = is_cloudy[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
            bands = [np.where(cloud, 6000 + 300 * number, band) for number, band in enumerate(bands)]
            shown[cloud] = CLOUD
        pixels = np.stack([*(np.rint(band) for band in bands), shown]).clip(1, 60_000).astype(np.uint16)
        profile = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "interleave": "band"}
        with rasterio.open(
            folder / f"isle_of_wight_{date}.tif",
            "w",
            **profile,
            compress="deflate",
            predictor=2,
            zlevel=9,
            height=pixels.shape[1],
            width=pixels.shape[2],
            count=3,
            dtype="uint16",
            crs=crs,
            transform=transform,
            nodata=0,
        ) as file:
            file.write(pixels)
            file.build_overviews([2], Resampling.nearest)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(__file__).resolve().parent)
