"""What every section of a resource is: immutable, camel-cased outside, and without a field that nobody knows."""

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A section of the resource."""
