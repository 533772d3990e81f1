"""What the gates measure: from the pods' own ``/metrics`` or from Prometheus to one number for each revision.

:mod:`.readings` understands what pods say, :mod:`.values` makes numbers of two readings of the same pods, both pure;
:mod:`.prometheus` and :mod:`.pods` ask over HTTP, and :mod:`.measurer` brings them together.
"""
