"""The verbs that pair records with a table and read."""
