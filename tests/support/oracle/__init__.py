"""What must a verb answer? Worked out in plain Python, one row, one record and one pixel at a time.

`points` has the pairs of a question (`looks`) and the answer of `sample_points`, `windows` what `read_windows` reads for a pair,
`planes` what rasterio says of a file. Nothing here calls the package. Resampling and covered pixels have no oracle here:
tests ask rasterio for them.
"""
