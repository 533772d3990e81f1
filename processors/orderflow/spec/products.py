"""The products that a resource declares."""

from orderflow.contracts.fields import Amount, Checked, Count, Id, Label


class Product(Checked, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One product of the catalogue.

    ``price`` is for one piece. ``stock`` is how many pieces there have ever been: naming more than before restocks the
    difference, naming fewer changes nothing.
    """

    id: Id
    name: Label
    price: Amount
    stock: Count
