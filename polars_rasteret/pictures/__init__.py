"""How does a collection become a picture: outlines on a map, quicklooks, colours?

matplotlib is an optional library: `pictures.axes` imports it, when a picture is drawn and never before.
"""
