"""Which datasets are known by name: where they are catalogued, which bands they have, what their pixels mean?

Facts only. Nothing is searched, built or read here.
"""
