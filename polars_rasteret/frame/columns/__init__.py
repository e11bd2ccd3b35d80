"""How do answers become the columns that a face promised?"""
