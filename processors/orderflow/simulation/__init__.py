"""The whole system in virtual time, among every fault that one can think of: ``orderflow simulate``.

What runs is the shipped code: the unit of work, ledger, inbox, outbox, relay, tasks, positions and dead letters, over
the contexts' own decisions, on a real SQL engine. Simulated are the three seams (clock, broker, providers) and the thin
shell around them. A seed says everything that happens: the same seed gives the same run, step by step.
"""
