"""How fast must it be? Upper bounds on our wall time over a peer's, by link, workload and peer.

*Required* is 1.15 times what a prototype of the design reached against the same peers; *aim* is what the design
should reach. The one exception is dense points against rasteret: the prototype's 0.10 came from how the points had
to be cut into calls, so the aim is what is required.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Two upper bounds on a ratio."""

    required: float
    aim: float | None = None

    def verdict(self, ratio: float) -> str:
        """Say which bound a ratio keeps."""
        if self.aim is not None and ratio <= self.aim:
            return "aim" if ratio <= self.required else "aim, above required"
        return "required" if ratio <= self.required else "**missed**"


def _measured(ratio: float, aim: float | None = None) -> Target:
    return Target(round(ratio * 1.15, 2), aim)


TARGETS: dict[tuple[str, str, str], Target] = {
    ("direct", "points", "rasterio"): _measured(0.53, 0.50),
    ("direct", "points", "async-geotiff"): _measured(0.43, 0.42),
    ("direct", "points", "rasteret"): Target(0.25, 0.25),
    ("direct", "sparse", "rasterio"): _measured(0.52, 0.45),
    ("direct", "sparse", "async-geotiff"): _measured(0.47, 0.42),
    ("direct", "sparse", "rasteret"): _measured(0.47, 0.42),
    ("direct", "windows", "rasterio"): _measured(0.44, 0.42),
    ("direct", "windows", "async-geotiff"): _measured(0.27, 0.27),
    ("direct", "windows", "rasteret"): _measured(0.16, 0.17),
    ("direct", "big", "rasterio"): _measured(0.64, 0.55),
    ("direct", "big", "async-geotiff"): _measured(0.58, 0.55),
    ("direct", "big", "rasteret"): _measured(0.47, 0.45),
    ("latency", "big", "rasterio"): _measured(0.41),
    ("direct", "series", "rasterio"): _measured(0.52, 0.55),
    ("direct", "series", "async-geotiff"): _measured(0.96, 1.0),
    ("direct", "series", "rasteret"): _measured(0.53, 0.55),
    ("latency", "series", "rasterio"): _measured(0.29, 0.35),
    ("latency", "series", "async-geotiff"): _measured(0.62, 0.60),
    ("latency", "series", "rasteret"): _measured(0.39, 0.40),
}
