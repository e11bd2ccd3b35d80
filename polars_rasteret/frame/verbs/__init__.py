"""Which verbs pair the records of a collection with the rows of a table, and read pixels?"""
