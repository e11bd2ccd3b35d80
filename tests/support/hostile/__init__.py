"""Damaged TIFFs: how are they made, and how is each read where it can do no harm?

Nothing is imported here: a worker process has either the package or GDAL in it, never both.
"""
