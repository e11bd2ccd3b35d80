"""Which source reads a file, and how is it configured?

``byte_source`` holds the shapes of sources and answers, and checks an answer against the indexed file. ``obstore_source``,
``httpx_source`` and ``local_source`` each read one kind of place; ``cloud`` makes their clients for buckets. ``stores`` finds the
source of an href and keeps what `configure_store` was told. How often and when a source is asked belongs in `fetch.scheduling`.
"""
