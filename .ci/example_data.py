"""Make the example images of the package from the data of nrt 0.1.0. Needs h5py and rasterio.

pip download --no-deps nrt==0.1.0 && unzip nrt-0.1.0-py3-none-any.whl 'nrt/data/*'
python .ci/example_data.py nrt/data/sentinel2_cube_subset_romania_10m.nc
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import h5py
import rasterio
from rasterio.transform import Affine

FOLDER = Path(__file__).resolve().parents[1] / "polars_rasteret" / "testing" / "example_data"
BANDS = {"blue": "B2", "green": "B3", "red": "B4", "nir": "B8", "scl": "SCL"}
DAYS = [
    "2017-07-01", "2017-08-15", "2018-07-01", "2018-08-25", "2019-06-26", "2019-07-06", "2019-07-11",
    "2019-07-16", "2019-08-30", "2019-09-14", "2020-05-16", "2020-07-05", "2020-07-30",
]  # fmt: skip


def main(cube: str) -> None:
    """Write one GeoTIFF per chosen day: the values of the cube as they are, only stored otherwise."""
    FOLDER.mkdir(exist_ok=True)
    with h5py.File(cube) as file:
        days = [(dt.date(2015, 8, 1) + dt.timedelta(int(day))).isoformat() for day in file["time"][:]]
        x, y = file["x"][:], file["y"][:]
        for day in DAYS:
            path = FOLDER / f"forest_{day.replace('-', '')}.tif"
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=len(x),
                height=len(y),
                count=len(BANDS),
                dtype="uint16",
                nodata=0,
                crs="EPSG:3035",
                transform=Affine(10, 0, round(x[0] - 5, 3), 0, -10, round(y[0] + 5, 3)),
                tiled=True,
                blockxsize=64,
                blockysize=64,
                interleave="band",
                compress="deflate",
                predictor=2,
                zlevel=9,
            ) as image:
                for number, (name, theirs) in enumerate(BANDS.items(), start=1):
                    image.write(file[theirs][days.index(day)], number)
                    image.set_band_description(number, name)
                image.update_tags(TIFFTAG_DATETIME=f"{day.replace('-', ':')} 09:20:00")


if __name__ == "__main__":
    main(sys.argv[1])
