"""How is one record at hand read, without a query: into NumPy, xarray or GeoPandas?

====================  ====================================================================================================
`handle`              the object that a caller holds: `RasterHandle`
`described_record`    what a handle says without reading
`opening`             hrefs and rows of collections become handles
`facts`               facts of one band, from its reference alone
`places`              where the caller asks for pixels: a window, bounds, geometries, the whole image
`record_pixels`       pixels of one record at these places, as arrays
`loading`             pixels of many geometries, as arrays, datasets or a GeoDataFrame
`datasets`            one answer as an xarray Dataset
`background`          reads that do not block an event loop
====================  ====================================================================================================
"""
