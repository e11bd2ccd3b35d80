"""How does a query run in parts: cut so that no tile is fetched twice, by many workers, into one Parquet dataset?

`parts`             what one part is
`cut_query`         a query cut into parts: its plan with slots for the frames of its verb, and the frames
`provable_steps`    which steps of Polars may stand above a read that is cut
`handed_down`       what Polars hands down to the read: columns, filters
`tile_order`        the order of targets along tiles, and where that order is cut
`cut`               a query becomes a cut query

`job_files`, `manifest`, `job`   the folder of the answer, and what lies beside it
`one_part`, `tasks`              a part becomes a file; what a task carries to a worker
`parts_engine`                   what Polars asks of an engine; `this_process`, `process_engine`: its subclasses
`supervisor`, `worker_process`   processes of this machine
`run`                            the stable form of all engines
"""
