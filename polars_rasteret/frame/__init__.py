"""The Polars faces: expressions that read per row, and verbs that pair records with a table and read."""

from polars_rasteret.frame.query import interrupt as interrupt  # every wait of a face can be ended by Ctrl-C
