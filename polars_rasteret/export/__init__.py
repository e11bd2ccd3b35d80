"""How do answers leave Polars: as NumPy arrays, GeoDataFrames, Arrow?

====================  ====================================================================================================
`window_values`       in which forms windows are in columns, and their pixels as arrays
`numpy_arrays`        `pr.to_numpy`
`geodataframe`        `pr.to_geopandas`, and footprints
`geoarrow_table`      a collection as Arrow that other programs know the geometry of
====================  ====================================================================================================
"""
