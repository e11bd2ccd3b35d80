"""Which pixels does a raster value refer to, and what is wrong with it?"""
