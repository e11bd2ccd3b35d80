"""What is read, below how it is asked: raster columns, points, windows, surroundings, valid masks."""
