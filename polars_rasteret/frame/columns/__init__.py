"""How do answers become columns in the form that a verb or an expression promised?"""
