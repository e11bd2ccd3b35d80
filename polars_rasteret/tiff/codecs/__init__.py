"""How does one compressed tile become samples?"""
