"""How do bytes of files get into this process? The only effects on pixel bytes live here.

=================  =======================================================================================================
`scheduler`        when which request is sent, by which thread, and who gets the tiles (`jobs`: its records)
`pool`             which request may start now, and in which thread (`throttle`: how many one store gets at once)
`wanted`           which tiles a call wants, and who answers for their files
`clock`            whose deadline has passed, and whose next attempt is due
`tile_table`       where a tile is: in the `cache`, on its way, or nowhere yet
`door`             one range, asked once: every request goes through it
`dialogues`        many files asked at once, each step by step (headers)
`stores`           which source answers for an href; `configure_store`
`sources`          the shapes of sources and answers; an answer is checked against the index
`obstore_source`   HTTP and object stores, fast (`cloud`: buckets and credentials); `httpx_source`, `local_source`: the others
`failures`         every failure in the package's words; `retries`: how long to wait; `process`: forks are refused
=================  =======================================================================================================
"""
