"""Imports the package before pytest collects its modules: one collected alone would hide ``pr.options`` behind its own name."""

import polars_rasteret  # noqa: F401 - imported for its effect
