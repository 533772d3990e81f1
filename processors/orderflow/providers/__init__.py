"""The outside: card, carrier, and the channels mail, SMS and push, behind one protocol."""
