"""How do STAC items become collections: of an API, a static catalog, files or objects?

=====================  ===================================================================================================
`items`                which dicts are items; `instants`: what their times mean
`geoparquet_items`     the items of a table of STAC-GeoParquet
`item_columns`         the columns of their ids, times, places and properties
`asset_bands`          which asset, and which band in its file, a band name means
`stated_metadata`      the CRS, nodata, scale and offset that items state
=====================  ===================================================================================================

How headers become records, and how a build grows on disk, belongs in `ingest`.
"""
