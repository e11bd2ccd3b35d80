"""On which pixel grid is an answer, and which windows of each band does it need?

Pixel grids, windows on them, the choice of a grid, and reprojection. Nothing is read here.
"""
