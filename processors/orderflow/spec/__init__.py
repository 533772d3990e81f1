"""The ``OrderFlow`` resource: what one system is to be, as typed data.

``orderflow up`` and the operator read the same. :mod:`.resource` has the types, :mod:`.rules` what holds between their
fields, :mod:`.reading` turns a file into one or into a sentence that says where it is wrong, and :mod:`.deployment` is
what a resource comes down to in one place: addresses, ports, folders.
"""
