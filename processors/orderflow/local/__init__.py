"""``orderflow up``: a whole system on one machine, without Docker and without Kubernetes.

- :mod:`.up` is what the command line calls: ``up``, ``status``, ``down``.
- :mod:`.supervisor` starts every process, restarts what ends, and stops all of it in order.
- :mod:`.forkserver` is the process that all the others are children of, and :mod:`.keeper` its client.
- :mod:`.broker` is the embedded Kafka, from the jars of :mod:`.jars`; :mod:`.topics` creates its topics.

All state is in one data directory. Two locks say who is at work on it: ``supervisor.lock`` is held by the supervisor,
``processes.lock`` by every process it has started, so that it is free only when the last of them has gone.
"""
