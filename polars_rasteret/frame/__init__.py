"""The Polars faces: expressions that read per row, and verbs that pair records with a table and read."""
