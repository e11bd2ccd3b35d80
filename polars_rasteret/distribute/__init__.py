"""How does a query run in parts: cut so that no tile is fetched twice, by many workers, into one Parquet dataset?

`parts`             what one part is
`cut_query`         a query cut into parts: its plan with slots for the frames of its verb, and the frames
`provable_steps`    which steps of Polars may stand above a read that is cut
`handed_down`       what Polars hands down to the read: columns, filters
`tile_order`        the order of targets along tiles, and where that order is cut
`cut`               a query becomes a cut query
"""
