"""How a context becomes a running stream processor.

The core (:mod:`.unit_of_work`, :mod:`.relay`, :mod:`.tasks`, :mod:`.positions`) knows neither Faust nor a wall clock;
:mod:`.agent` and :mod:`.worker` are the thin shell over a real broker. The clock, the broker and the providers are
the only seams.
"""
