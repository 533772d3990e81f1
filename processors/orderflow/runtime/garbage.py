"""How often Python looks for garbage that refers to itself, in a process that makes little of it."""

import gc

LOOK_AFTER = (50_000, 10, 50)
"""New containers until a look at the young ones, such looks until one at the older, and those until one at all. By
default the first is 700: less than a batch of a dozen messages, and a look at all took 30 ms of a transaction."""


def look_rarely() -> None:
    """Leave what has been loaded out of every look from now on, and look seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*LOOK_AFTER)
