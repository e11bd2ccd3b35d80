"""How do bytes of files get into this process? The only effects on pixel bytes live here.

=================  =======================================================================================================
`scheduling/`      when which request is sent, by which thread, and which calls receive the tiles
`places`           which place an href names: spellings of one bucket
`hints`            what collections told of places
`sources/`         which source reads a file: object stores, servers, local files; `configure_store`
`read_range`       one range, read once: every request goes through it
`stepwise_reads`   many files read at once, each step by step (headers)
`access`           which places a request may reach (`allowed_prefixes`, `addresses`)
`signing`          keys inside hrefs, which stay in this process
`failures`         every failure in the package's words (`redaction`: foreign words that may be repeated)
`client_logs`      what the HTTP client may log of our requests
`advice`           what a caller can do where a place refuses
`process`          forks are refused
=================  =======================================================================================================

Nothing about the TIFF format or Polars belongs here.
"""
