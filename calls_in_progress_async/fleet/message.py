"""A message of the log as JSON: the events of one poll, and the organization's state after them. Pure.

``docs/fleet-event.schema.json`` describes the JSON for consumers in other languages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..records.codec import ABSENT, Absent, Json, Part, PayloadError, encode_json, parse_json, try_decode
from ..records.codec import decode as decode_json
from .errors import FleetError

VERSION = 1
"""The version of the schema."""
_BYTES_OF_CALL = 80
"""Bytes of a call in the state, beside its id."""
_BYTES_OF_EVENT = 400
"""Bytes of an event, beside its payload."""


class KnownCall(NamedTuple):
    """A call in progress, as the log knows the call. Written as an array."""

    digest: str
    """A digest of the meaning of the payload."""
    events: int
    """Number of the call's last event, from 0."""
    at: int = 0
    """Sequence of the message with the payload; 0 for this message."""

    def stored_at(self, sequence: int) -> KnownCall:
        """Return the call as later messages tell it: with the sequence of this message, if the payload is here."""
        return self if self.at else self._replace(at=sequence)


class LogEvent(Part, frozen=False, omit_defaults=True, kw_only=True):  # type: ignore[misc]
    """One event of a message."""

    id: str
    """Name of the event, unique in the fleet, and unchanged at each delivery."""
    kind: str
    """The `kind` of a watch's event, such as ``"call_started"``."""
    call_id: str = ""
    """Identity of the call: its transaction id, as a rule."""
    call: Json | Absent = ABSENT
    """The payload, exactly as the API sent it."""
    call_at: int = 0
    """Sequence of the message with the last payload of a call that has ended unseen."""
    previous_at: int = 0
    """Sequence of the message with the payload before a change."""
    error: str = ""
    """Class of the error that began an outage."""
    gap: float = 0.0
    """Seconds without good responses, at most."""


class LogMessage(Part, frozen=True, kw_only=True):
    """One message: the events of a poll, in order, and the state after them."""

    v: int
    organization: str
    rev: int
    """Number of the organization's message, from 1."""
    by: str
    """The worker."""
    at: float
    """Unix time of the poll in seconds."""
    failed: bool
    """True during an outage."""
    events: list[LogEvent]
    calls: dict[str, KnownCall]
    """The calls in progress, by identity."""
    ended: dict[str, int]
    """Number of the last event of each call ended lately, in case the call comes back."""


encode: Callable[[LogMessage], bytes] = encode_json
"""Return a message as JSON."""


def decode(body: bytes) -> LogMessage:
    """Read a message.

    Raises:
        FleetError: The body is no message, or one of a later version.
    """
    try:
        message = decode_json(LogMessage, body)
    except PayloadError as error:
        place = f"{error.path}: {error.reason}" if error.path else error.reason
        raise FleetError(
            f"The log holds something else than a message of a fleet ({place}): find out which program writes to it."
        ) from None
    if message.v != VERSION:
        raise FleetError(f"The log holds a message of version {message.v}: upgrade calls-in-progress-async.")
    return message


def plain_payload(payload: bytes) -> Json | None:
    """Return a payload to put into a message; None if it cannot be told in plain JSON."""
    if try_decode(Json, payload) is None:
        try:
            payload = json.dumps(_finite(parse_json(payload))).encode()
        except (PayloadError, RecursionError):
            return None
    return Json(payload)


def _finite(value: Any) -> Any:
    """Replace NaN and Infinity by null: JSON has no such numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def payloads(message: LogMessage) -> Iterator[tuple[str, bytes]]:
    """Iterate over the identities and payloads in a message."""
    for event in message.events:
        if isinstance(event.call, Json):
            yield event.call_id, bytes(event.call)


def size_of(event: LogEvent) -> int:
    """Return about the bytes of an event in a message."""
    call = memoryview(event.call).nbytes if isinstance(event.call, Json) else 0
    return call + 3 * len(event.call_id) + _BYTES_OF_EVENT


def split(events: Iterable[LogEvent], calls: Mapping[str, object], max_payload: int) -> Iterator[list[LogEvent]]:
    """Split events into messages that the server accepts. The first may be empty, if there are no events.

    Args:
        events: The events of a poll.
        calls: The calls in progress before and after the poll, by identity: the state is in every message.
        max_payload: The server's limit in bytes.
    """
    room = 0.9 * max_payload - sum(len(name) + _BYTES_OF_CALL for name in calls)
    chunk: list[LogEvent] = []
    size = 0
    for event in events:
        needed = size_of(event)
        if chunk and size + needed > room:
            yield chunk
            chunk, size = [], 0
        if needed > room:
            event.call = ABSENT  # a payload larger than any message: told without
            needed = size_of(event)
        chunk.append(event)
        size += needed
    yield chunk
