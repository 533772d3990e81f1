"""Identifiers that follow from what caused them.

A decision may not draw random numbers: the same message must give the same outputs, byte for byte, for ever.
So every identifier a decision needs is the UUIDv5 of the identifiers it follows from.
"""

from uuid import UUID, uuid5

NAMESPACE = UUID("6f1c3f0e-5a8b-5c1d-9b43-0d7f6f1f7a11")
"""The namespace of every derived identifier. Changing it would make each replay decide anew."""


def derive(*parts: str) -> str:
    """Return the identifier that follows from ``parts``: equal parts, equal identifier.

    The parts are length-prefixed, so ``("a", "bc")`` and ``("ab", "c")`` differ.
    """
    return str(uuid5(NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))
