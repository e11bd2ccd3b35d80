"""What do tests of several modules need: files, servers, queries and answers to compare with?

No test stands here, and no module here imports one. Nothing is imported here: child processes choose what they load.
"""
