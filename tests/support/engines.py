"""On which engines of Polars is a query asked?"""

ENGINES = ("streaming", "in-memory")
