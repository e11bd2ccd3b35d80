"""How is a collection written and changed?

`sink` writes a frame of records, `upkeep` removes records and joins parts. `layout` cuts records by hive keys and sorts them
along the curve of `hilbert`; `signed_hrefs` cuts keys out of hrefs. `publishing` puts parts in their place, whole or not at all.
"""
