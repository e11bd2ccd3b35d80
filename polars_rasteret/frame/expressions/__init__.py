"""The read expressions: a value depends on its own row alone."""
