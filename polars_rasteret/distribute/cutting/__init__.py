"""How does a query become parts that fetch no tile twice, and whose rows are the rows of the whole?

`parts`, `cut_query`                      what one part is, and what travels to workers
`provable_steps`, `handed_down`, `whole`  what stands above the read, what Polars hands down to it, what it reads as a whole
`paired_tiles`, `tile_order`              which tiles targets need, and the order in which targets share them
`compact_runs`, `spans`                   where that order, or a grid of tiles and times, is cut
`part_costs`, `digest`                    what each part fetches, and whether a query is the one of before
`plan_keys`                               keys in a plan, which must not travel
`cut`                                     all of these, in turn
"""
