"""Which tiles and requests does a read need, in which batches, and what will they cost?

Pure functions on NumPy columns: nothing is fetched or decoded here.
"""
