"""Where a recipient is reached, and how that is written down."""

from orderflow.contracts.items import ChannelName, Recipient


def address_of(recipient: Recipient, channel: ChannelName) -> str | None:
    """Return the recipient's address on ``channel``, or ``None`` if there is none."""
    match channel:
        case "email":
            return recipient.email or None
        case "sms":
            return recipient.phone or None
        case "push":
            return recipient.push_token or None


def masked(address: str) -> str:
    """Return ``address`` as it may stand in a log: enough to recognise it by, too little to write to.

    Of a mail address the first letter and the domain are left, of anything else the last two characters.
    """
    local, at, domain = address.rpartition("@")
    if at:
        return f"{local[:1]}***@{domain}"
    return f"***{address[-2:]}" if len(address) > 4 else "***"
