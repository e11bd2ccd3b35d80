"""What must `read_windows` with a shape read for a pair, pixel by pixel?"""

from __future__ import annotations

from typing import Any

from tests.support.oracle.points import Look


def window(look: Look, band: str, shape: tuple[int, int], *, masked: bool = False) -> list[list[Any]] | None:
    """Return the rows of the window around the point of a look, None where the band's image does not hold the point.

    Outside of the image stands the nodata of the file; with `masked`, None stands there and on each null pixel.
    """
    if not look.is_on_image(band):
        return None
    plane = look.record.planes[band]
    first_row, first_col = first_pixel(look, band, shape)
    height, width = plane.values.shape
    nodata = None if plane.nodata is None else plane.values.dtype.type(plane.nodata).item()

    def pixel(row: int, col: int) -> Any:
        if masked:
            return plane.pixel(row, col)
        return plane.values[row, col].item() if 0 <= row < height and 0 <= col < width else nodata

    return [[pixel(first_row + row, first_col + col) for col in range(shape[1])] for row in range(shape[0])]


def first_pixel(look: Look, band: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the row and column where a window around the point of a look begins; they may lie outside of the image."""
    row, col = look.own_pixel(band)
    return row - shape[0] // 2, col - shape[1] // 2


def window_grid(look: Look, bands: tuple[str, ...], shape: tuple[int, int]) -> tuple[list[float], str] | None:
    """Return transform and CRS of the window on the first band whose image holds the point."""
    met = [band for band in bands if look.is_on_image(band)]
    if not met:
        return None
    plane = look.record.planes[met[0]]
    a, b, c, d, e, f = plane.transform
    row, col = first_pixel(look, met[0], shape)
    return [a, b, c + a * col, d, e, f + e * row], plane.crs
