"""The six bounded contexts, each the same room.

``__init__`` says what the context owns, takes and gives, and builds its ``Context``; ``state`` and ``decide`` are pure;
``tables`` and ``migrations`` are its SQL. No context imports another: they speak through messages alone.
"""
