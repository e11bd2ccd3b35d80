"""Pixel grids: windows on them, the grid of an answer, and how bands come onto it. Nothing is read here."""
