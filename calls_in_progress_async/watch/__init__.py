"""Polling many organizations and telling events.

- ``fetch`` requests the calls of an organization, and ``listing`` reads the response with the help of the last one.
- ``call_state`` and ``call_identity`` describe one call, ``call_set`` compares listings, ``changes`` names differences.
- ``organization_state`` is the pure core: listings in, deltas out, with a small JSON form to load and dump.
- ``schedule`` says when to poll, ``concurrency_limit`` how many at once, and ``poller`` polls for a sink.
- ``events`` and ``event_queue`` are the events and their queue; ``watch`` is a poller with such a queue as its sink.
- ``checkpoint`` and ``stats`` describe a whole watch, and ``opening`` makes one for a client.
"""

# A program that imports an event, as most do, imports all of this: its first watch then imports nothing in the loop.
from . import opening  # noqa: F401
