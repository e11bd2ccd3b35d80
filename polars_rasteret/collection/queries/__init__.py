"""Which records, where and when? Answers from the table of records alone; no pixel is read.

`extent` tells the places and CRSs of records, `describe` sums a collection up. `spatial`, `periods` and `subset` filter records
by place, time and the usual words.
"""
