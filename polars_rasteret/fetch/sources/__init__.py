"""Which source reads a file, and how is it configured?

``byte_source`` holds the shapes of sources and answers, and checks an answer against the indexed file. ``obstore_source``,
``httpx_source`` and ``local_source`` each read one kind of place; ``cloud`` makes their clients for buckets, ``http_origin`` for
servers. ``settings`` keeps what `configure_store` was told and finds what counts for an href; ``stores`` makes and keeps sources.
``credentials`` asks providers; ``aws_profiles`` and ``planetary_computer`` are such. ``place_hints`` tells what other processes
may know. How often and when a source is asked belongs in `fetch.scheduling`.
"""
