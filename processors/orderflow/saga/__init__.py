"""The saga as data, and the pure orchestration over it.

:mod:`.flow` says which steps an order goes through, :mod:`.protocol` which messages a step is made of, :mod:`.table`
what each message means in each standing, and :mod:`.orchestration` carries the table out on a :class:`.state.Saga`.
Nothing here knows what an order contains, how a message is sent, or what time it is.
"""
