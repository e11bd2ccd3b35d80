"""Which records of a collection answer which rows of the caller's table?"""
