"""Which pixels are read for points, windows and neighbourhoods, and which of them are valid?

Verbs, expressions and exports read through this package; none of them is known here.
"""
