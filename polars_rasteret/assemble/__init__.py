"""How do decoded pixels become the values of an answer?

Scattering tiles into flat arrays, interpolation around points, resampling kernels, nodata and casts. Pure NumPy: nothing is
planned, fetched or decoded here.
"""
