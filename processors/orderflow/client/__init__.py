"""The command line's client side: what talks to a running system from outside, as any client would.

- :mod:`.orders` is ``orderflow orders``: place orders, show them, follow one to its end.
- :mod:`.load` is ``orderflow load``: so many orders per second, and how long they took.
- :mod:`.api` asks the order API; :mod:`.answers` is what it answers, :mod:`.failures` what can be said of a failure.

The two command modules import no more than click until a command runs, so that ``orderflow --help`` stays quick.
"""
