"""Which real images come with the package, for first tries without a network?

Where they come from is in ``example_data/README.md``. Collections of made pixels are in ``scenes``.
"""

from __future__ import annotations

from pathlib import Path


def example_data() -> Path:
    """Return the folder of the real images that come with the package.

    Returns
    -------
    pathlib.Path
        A folder of GeoTIFFs: one square kilometre of forest in Romania on thirteen days of 2017 to 2020, some of them cloudy, cut
        from Sentinel-2. Bands ``blue``, ``green``, ``red`` and ``nir`` (reflectance times 10,000) and ``scl`` (the scene
        classification: 4 is vegetation, 5 bare ground); uint16, nodata 0, 10 m, EPSG:3035.
        ``compartments.geojson`` beside them has six areas of the forest.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> scenes = pr.build_from_files(pr.example_data())
    >>> scenes.raster.bands()
    ['blue', 'green', 'red', 'nir', 'scl']
    >>> gap = pl.DataFrame({"lon": [22.15147], "lat": [45.20292]})  # trees until the winter of 2018/19
    >>> clear = pl.col("scl").is_in([4, 5])
    >>> query = scenes.raster.sample_points(gap, ["red", "nir"], crs=4326, valid=clear)
    >>> query = query.with_columns(ndvi=pr.normalized_difference("nir", "red"))
    >>> query.group_by(pl.col("datetime").dt.year(), maintain_order=True).agg(pl.col("ndvi").max()).collect()
    shape: (4, 2)
    ┌──────────┬──────────┐
    │ datetime ┆ ndvi     │
    │ ---      ┆ ---      │
    │ i32      ┆ f32      │
    ╞══════════╪══════════╡
    │ 2017     ┆ 0.898581 │
    │ 2018     ┆ 0.913632 │
    │ 2019     ┆ 0.378373 │
    │ 2020     ┆ 0.715989 │
    └──────────┴──────────┘
    """
    return Path(__file__).resolve().parent / "example_data"
