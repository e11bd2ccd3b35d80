"""How does a query run in parts: cut so that no tile is fetched twice, by many workers, into one Parquet dataset?

`cutting`      a query becomes parts: its steps are proved, its targets ordered along tiles, and each part costed
`jobs`         the folder of the answer, and how one part becomes one file in it
`engines`      who reads the parts: this process, processes of this machine, the workers of a cluster
`plan_parts`   the parts that a query would have
`run`          the stable form of all engines
"""
