"""Is a collection the same, written and read, whatever libraries have registered types of GeoArrow in the process?"""

import json
import subprocess
import sys

import geopandas as gpd
import shapely

from tests.support.child_process import environment

REGISTERED = {
    "by nobody": "",
    "in PyArrow": "import geoarrow.pyarrow",
    "in Polars": """
class Wkb(pl.BaseExtension):
    def __init__(self, metadata=None):
        super().__init__("geoarrow.wkb", pl.Binary, metadata)

    @classmethod
    def ext_from_params(cls, name, storage, metadata):
        return cls(metadata)

pl.register_extension_type("geoarrow.wkb", Wkb)
""",
}
CHILD = """
import json, sys, warnings
import polars as pl
warnings.simplefilter("ignore")
{registered}
import polars_rasteret as pr

folder, name, *before = sys.argv[1:]
scenes = pr.testing.example_scenes()
scenes.raster.sink_collection(f"{{folder}}/{{name}}")
told = []
for one in [*before, name]:
    if one != name:
        scenes.select(pl.all().exclude("id"), id=pl.col("id") + f" of {{name}}").raster.sink_collection(
            f"{{folder}}/{{one}}", mode="append"
        )
    stored = pr.scan_collection(f"{{folder}}/{{one}}")
    for zones in (pl.scan_parquet(f"{{folder}}/wkb.parquet"), pl.scan_parquet(f"{{folder}}/geoarrow.parquet")):
        rows = stored.raster.zonal_stats(zones, ["red"], ["mean"]).sort("record_id").collect()
        told.append([str(stored.collect_schema()), *map(list, rows.select("record_id", "red_mean").rows())])
print(json.dumps(told))
"""


def test_a_collection_is_the_same_whatever_types_are_registered(tmp_path):
    zone = gpd.GeoDataFrame(
        geometry=[shapely.box(500_000, 4_999_980, 500_020, 5_000_000)], crs=32632
    )  # the first 2 x 2 pixels
    zone.to_parquet(tmp_path / "wkb.parquet")
    zone.to_parquet(tmp_path / "geoarrow.parquet", geometry_encoding="geoarrow")
    mean = (0 + 1 + 64 + 65) / 4
    schemas, done = set(), []
    for name, registered in REGISTERED.items():
        child = subprocess.run(
            [sys.executable, "-c", CHILD.format(registered=registered), str(tmp_path), name, *done],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        done.append(name)
        told = json.loads(child.stdout)
        assert len(told) == 2 * len(done)
        for at, (schema, *rows) in enumerate(told):
            schemas.add(schema)
            writers = ["", *(f" of {one}" for one in done[at // 2 + 1 :])]
            expected = [
                [f"{one}{by}", base + mean] for one, base in (("first", 1000), ("second", 2000)) for by in writers
            ]
            assert sorted(rows) == sorted(expected)
    assert len(schemas) == 1
