"""What does a verb ask, and how is the answer handed to Polars: predicates, batches, sources?"""
