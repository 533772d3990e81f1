"""Identifiers that follow from what caused them.

A decision may not draw random numbers: the same message must give the same outputs, byte for byte, for ever.
So every identifier a decision needs is the UUIDv5 of the identifiers it follows from.
"""

from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("6f1c3f0e-5a8b-5c1d-9b43-0d7f6f1f7a11")
"""The namespace of every derived identifier. Changing it would make each replay decide anew."""


_NAMESPACE = NAMESPACE.bytes
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""RFC 9562, 4.1: the first two bits of the seventeenth digit are 1 and 0."""


def derive(*parts: str) -> str:
    """Return the identifier that follows from ``parts``: equal parts, equal identifier.

    The parts are length-prefixed, so ``("a", "bc")`` and ``("ab", "c")`` differ. It is the UUIDv5 of
    :data:`NAMESPACE` and that name, written out here because a message needs half a dozen of them and
    :func:`uuid.uuid5` takes eight times as long.
    """
    name = "".join([f"{len(part)}:{part}" for part in parts])
    digits = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"
