"""The HTTP side: the order API, each context's read API, and the cache between readers and databases.

The order API opens the order context's database alone and is of that context's own process group. What spans contexts
is composed from the read APIs, one small process beside each processor.
"""
