"""The values that the log returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Stored(NamedTuple):
    """The last message of a subject; sequence 0 and no body if the subject has none."""

    sequence: int = 0
    body: bytes = b""


class Delivery(NamedTuple):
    """A message delivered to a consumer."""

    sequence: int
    body: bytes
    redelivered: int
    """Number of earlier deliveries."""
    pending: int
    """Number of messages to be delivered after this one."""
    ack: Callable[[], Awaitable[None]]


class Consumer(NamedTuple):
    """The progress of a group of consumers."""

    group: str
    pending: int
    """Number of messages not delivered yet."""
    unacknowledged: int
    """Number of messages delivered, but not acknowledged."""
    acknowledged: int
    """Sequence up to which all messages are acknowledged; 0 for none."""
    begins_at: int
    """Sequence of the log's first message when the group began."""


class StreamState(NamedTuple):
    """The extent of the stream."""

    shards: int
    """The number of shards in the stream's metadata; 0 if a stranger made the stream."""
    first: int
    last: int
    bytes: int
    max_age: float
    """Seconds until a message is trimmed."""
