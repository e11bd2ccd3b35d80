"""What can stand in for files and networks in tests, of this package and of its users?

``sources`` has byte sources without a network, ``cog_writer`` makes small GeoTIFFs without GDAL, ``scenes`` a small
collection in memory, ``example_images`` real images. The rest of the package must not import what is here.
"""

from __future__ import annotations

from polars_rasteret.testing.cog_writer import make_cog
from polars_rasteret.testing.example_images import example_data
from polars_rasteret.testing.scenes import example_scenes
from polars_rasteret.testing.sources import FaultySource, MemorySource, RecordingSource

__all__ = ["FaultySource", "MemorySource", "RecordingSource", "example_data", "example_scenes", "make_cog"]
