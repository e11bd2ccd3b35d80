"""How do records on many pixel grids become a cube of time, rows and columns on one grid?"""
