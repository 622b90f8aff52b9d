"""Server-sent events for many browsers: numbered, kept for a while, and never waiting for a slow browser.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field

from .settings import BoardSettings


def encode_message(event: str, data: Any, number: str | None = None) -> bytes:
    """Write a message of a stream. JSON in ASCII has no line ends, so one ``data`` line holds any value."""
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


@define(eq=False)
class Subscription:
    """The messages that wait for one browser."""

    disconnect: Callable[[], None]
    """Breaks the browser's connection, and so ends a write to a browser that reads nothing."""
    limit: int
    """Bytes that may wait before the browser is taken for too slow."""
    waiting: list[bytes]
    """Messages not taken yet. Those to begin with may be large, and do not count for the limit."""
    closed: bool = False
    _size: int = field(init=False, default=0)
    _arrived: asyncio.Event = field(init=False, factory=asyncio.Event)

    def put(self, message: bytes) -> None:
        """Queue a message."""
        self.waiting.append(message)
        self._size += len(message)
        self._arrived.set()

    @property
    def is_slow(self) -> bool:
        """True if more bytes wait than the limit allows."""
        return self._size > self.limit

    def close(self) -> None:
        """End the stream once the queued messages are taken."""
        self.closed = True
        self._arrived.set()

    async def take(self) -> bytes:
        """Wait for messages and return all of them; ``b""`` once the subscription is closed."""
        if not (self.waiting or self.closed):
            self._arrived.clear()
            await self._arrived.wait()
        messages, self.waiting, self._size = b"".join(self.waiting), [], 0
        return messages


@define(eq=False)
class Broadcast:
    """Sends each message to every browser.

    Args:
        name: Distinguishes this run of the server from an earlier one, whose numbers mean nothing here.
        settings: The sizes of the ring and of a browser's queue.
        make_snapshot: Returns the data of a ``snapshot`` message.
        make_status: Returns the data of a ``status`` message.
    """

    name: str
    settings: BoardSettings
    make_snapshot: Callable[[], Any]
    make_status: Callable[[], Any]
    subscriptions: set[Subscription] = field(factory=set)
    _ring: deque[bytes] = field(factory=deque)
    _ring_size: int = 0
    _last: int = 0
    _snapshot: bytes | None = None

    def publish(self, event: str, data: Any) -> None:
        """Send a message that no browser may miss: it has a number, and the ring keeps it."""
        self._last += 1
        self._snapshot = None
        message = encode_message(event, data, f"{self.name}-{self._last}")
        self._ring.append(message)
        self._ring_size += len(message)
        while len(self._ring) > self.settings.ring_messages or self._ring_size > self.settings.ring_bytes:
            self._ring_size -= len(self._ring.popleft())
        self._send(message)

    def announce(self, event: str, data: Any) -> None:
        """Send a message without a number. A browser may miss it, because the next of its kind replaces it."""
        self._send(encode_message(event, data))

    def _send(self, message: bytes) -> None:
        for subscription in list(self.subscriptions):
            if subscription.is_slow:
                self.drop(subscription)
                subscription.disconnect()
            else:
                subscription.put(message)

    def subscribe(self, last_event_id: str, disconnect: Callable[[], None]) -> Subscription:
        """Add a browser, with the messages since its last one; a snapshot if the ring no longer has all of them."""
        missed = self._missed(last_event_id)
        messages = [self._current_snapshot()] if missed is None else missed
        status = encode_message("status", self.make_status())
        subscription = Subscription(disconnect, self.settings.queue_bytes, [b"retry: 2000\n\n", status, *messages])
        self.subscriptions.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Remove a browser. Idempotent."""
        self.subscriptions.discard(subscription)
        subscription.close()

    def close(self) -> None:
        """End every stream."""
        for subscription in list(self.subscriptions):
            self.drop(subscription)

    def _missed(self, last_event_id: str) -> list[bytes] | None:
        name, _, number = last_event_id.rpartition("-")
        if name != self.name or not (number.isascii() and number.isdecimal() and len(number) < 20):
            return None
        count = self._last - int(number)
        return list(self._ring)[len(self._ring) - count :] if 0 <= count <= len(self._ring) else None

    def _current_snapshot(self) -> bytes:
        if self._snapshot is None:
            self._snapshot = encode_message("snapshot", self.make_snapshot(), f"{self.name}-{self._last}")
        return self._snapshot
