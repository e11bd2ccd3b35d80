"""How does a Polars query read pixels: by expressions, row by row, or by verbs, which pair records with a table?"""

from polars_rasteret.frame.query import interrupt as interrupt  # every wait of a face can be ended by Ctrl-C
