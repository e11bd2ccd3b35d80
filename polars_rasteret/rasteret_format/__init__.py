"""How do collections that rasteret wrote become collections of this package, and the other way round?

Facts are those of rasteret 0.4.1. A collection of it is Parquet with a row per record, often in folders ``year=YYYY/month=M``::

    id          text
    datetime    timestamp without time zone, which means UTC; or a whole number, which is a year
    geometry    WKB in longitude and latitude
    bbox        struct of xmin, ymin, xmax, ymax
    assets      struct with a field per band: struct of href and, where a file has several bands, band_index
    proj:epsg   whole number
    crs         ``EPSG:n``
    B04_metadata, ...   what is known of the band: `band_metadata.METADATA`; null where the record has no such band

`band_columns` finds the bands, `pixel_dtypes` their dtypes in the footers alone, `raster_values` makes a raster value of what is
known of a band, `records` makes our columns of theirs, `record_index` joins a narrow index with wide tables. `their_records` and
`their_bands` are the way back.

Their metadata do not say byte order, bits per sample, masks or overviews. So the ``tiles`` made of them are marked as borrowed
(`tiff.tile_flags`), and the header of a file is read before its pixels are (`engine.borrowed_tables`).
"""
