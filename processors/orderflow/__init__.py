"""OrderFlow: order-to-delivery sagas as stream processors.

The packages depend on one another in one direction only (``lint-imports`` checks it):
``contracts`` <- ``saga`` and each context's ``state`` and ``decide`` <- ``runtime``, ``providers``, ``spec``
<- each context's ``tables`` and wiring <- ``gateway``, ``local``, ``cli``.
"""
