"""``orderflow rollout``: what people do to a rollout, through the resource alone.

A command is an annotation of the resource, and ``pause`` a field of its spec: whoever may change the resource may do
all of it, with ``kubectl`` as well. Nothing here talks to the operator, and no pod is touched.
"""
