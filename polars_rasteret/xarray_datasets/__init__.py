"""How does a collection become an xarray Dataset that is read when it is used?

xarray is imported by callers of this package only.
"""
