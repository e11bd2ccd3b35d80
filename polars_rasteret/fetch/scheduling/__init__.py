"""When is which request sent, and which calls receive the tiles?

=================  =======================================================================================================
`scheduler`        one per process: takes the tiles of a call, and delivers each once
`wanted_tiles`     the tiles of one call, and the source of each file
`tile_lookup`      whether a tile is in the cache, pending, or yet to be requested
`pending`          the records of calls, pending tiles and requests
`fetch_pool`       which request starts next, and in which thread (`pace`: how many one store gets at once)
`deadlines`        whose deadline has passed, and whose next attempt is due (`retries`: how long to wait)
`pace`             at which pace one store serves requests: how many at once, and how fast
=================  =======================================================================================================

How one range is read, and by whom, belongs in `fetch.read_range` and `fetch.sources`.
"""
