"""Many organizations, again and again: fan-out, live events, shared answers. A cost that follows what changes.

``listing`` reads an answer with the help of the last one, ``picture`` compares them, ``pending`` keeps the events
that nobody has taken yet, ``schedule`` says who is asked when, ``polls`` asks, ``watch`` puts them together.
"""
