"""How do STAC items become collections: of an API, a static catalog, files or objects?

=====================  ===================================================================================================
`build_from_stac`      the public function
`search_words`         what a caller searches for; `item_sources`: where the items come from
`api_search`           the pages of an API; `static_catalogs`: the documents of a catalog; `item_filters`: words applied here
`geoparquet_items`     the items of a table of STAC-GeoParquet
`items`                which dicts are items; `instants`: what their times mean
`item_columns`         the columns of their ids, times, places and properties
`asset_bands`          which asset, and which band in its file, a band name means
`stated_metadata`      the CRS, nodata, scale and offset that items state
`page_tables`          a page of items as a table; `read_pages`: its headers, read while further pages come
`item_records`         the records that tables and headers make; `item_stream`: the parts of a collection that grows on disk
=====================  ===================================================================================================

How headers become records, and how a build grows on disk, belongs in `ingest`.
"""
