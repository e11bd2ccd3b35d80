"""Who reads the parts of a query: this process, processes of this machine, or the workers of a cluster?

`parts_engine`                                  what Polars asks of an engine, for all of them
`this_process`, `process_engine`                one part after another here; worker processes of this machine
`cluster_engine`, `ray_engine`, `dask_engine`   workers of a cluster, of whatever kind, and of two kinds
`supervisor`, `worker_process`                  how processes are started, given tasks and replaced
`stores_by_reference`, `progress_of_parts`      what may travel to workers; what is shown meanwhile
"""
