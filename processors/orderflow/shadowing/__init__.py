"""The shadow step: what a new revision shows before it may join anything.

It decides recorded decisions again (:mod:`.deciding`), and says what it reads and writes (:mod:`.declaring`). It reads
one database and writes nothing, so it can be run beside anything at any time.
"""
