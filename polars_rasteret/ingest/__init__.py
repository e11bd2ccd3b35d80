"""How do files become a collection with one record per file, and stay up to date?

====================  ====================================================================================================
`build_from_files`    one record per file; `build_from_table`: one record per row of a table
`table_sources`       which table the caller meant; `table_columns`: its record columns; `table_bands`: its columns of hrefs
`source_files`        which files the caller meant; `times`: when a record was taken
`headers`             what the headers of many files say, read at once
`later_headers`       raster columns whose headers are read when a query asks for them
`records`             the record columns that headers become
`resumable_build`     a build that writes part by part, and goes on after a kill; `lease`: which build holds a folder
`streamed_build`      such a build of records that come as a stream
`indexed_files`       the files that records were made from, and whether they changed; `refresh`: records of changed files
====================  ====================================================================================================

How a collection lies on a disk belongs in `collection`; how a header is parsed, in `tiff`.
"""
