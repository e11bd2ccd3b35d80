"""What can be done from a shell? The command ``polars-rasteret``: a thin face of the public functions, one module per group.

Results go to stdout, progress, warnings and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong words, 130 interrupted. How
pixels are read and collections are kept is not decided here.
"""
