"""Where on the Earth, and in which pixels of an image, do points, boxes and areas lie?

CRSs, affine transforms, footprints of images, the antimeridian, WKB and the pixels that a polygon covers. Pure functions on
NumPy arrays: no I/O and no Polars.
"""
