"""How is a collection opened?

`scan` opens it as a LazyFrame, `schemas` unites the columns of parts that differ, and `provenance` marks rasters that come from
elsewhere. `part_rows` reads one part as it is stored, and `list_collections` finds the collections of a folder.
"""
