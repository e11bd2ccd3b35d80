"""Pure geometry on arrays: affine grids, coordinate reference systems, geometries in and out. No I/O and no Polars."""
