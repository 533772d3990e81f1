"""What crosses a boundary: messages, their envelope and versions, and what a decision may ask for.

Everything here is pure data. No clock, no I/O, no framework.
"""
