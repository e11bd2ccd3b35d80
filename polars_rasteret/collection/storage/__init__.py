"""How does a collection lie on a disk or in a bucket?

====================  ====================================================================================================
`parts`               the Parquet files that make up a collection, and the columns of each
`geoparquet`          the metadata of a part: GeoParquet, the Arrow schema, and our own key
`object_store`        listing, reading and writing objects of a bucket
`journal`             the files in a folder that are not parts, while a writer changes it
`writer_lock`         one writer at a time; `staging`: where its files lie until they take their place
`durable_writes`      bytes and names that reach the disk itself
`untrusted_files`     what is believed of small files in a folder that may be a stranger's
====================  ====================================================================================================

The protocol that these modules follow is in the docstring of `polars_rasteret.collection`.
"""
