"""A message of the log as JSON: the events of one poll, and the organization's state after them. Pure.

``docs/fleet-event.schema.json`` describes the JSON for consumers in other languages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..records.codec import PayloadError, parse_json

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


class LogEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One event of a message."""

    id: str
    """Name of the event, unique in the fleet, and unchanged at each delivery."""
    kind: str
    """The `kind` of a watch's event, such as ``"call_started"``."""
    call_id: str = ""
    """Identity of the call: its transaction id, as a rule."""
    call: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The payload, exactly as the API sent it."""
    call_at: int = 0
    """Sequence of the message with the last payload of a call that has ended unseen."""
    previous_at: int = 0
    """Sequence of the message with the payload before a change."""
    error: str = ""
    """Class of the error that began an outage."""
    gap: float = 0.0
    """Seconds without good responses, at most."""


class LogMessage(msgspec.Struct, kw_only=True):
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
    """Numbers of the last events of calls that have ended lately, for calls that come back."""


encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Return a message as JSON."""
_decoder = msgspec.json.Decoder(LogMessage)


def decode(body: bytes) -> LogMessage:
    """Read a message.

    Raises:
        ValueError: The body is no message, or one of a later version.
    """
    try:
        message = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"the log holds something else than a message of a fleet: {error}") from None
    if message.v != VERSION:
        raise ValueError(f"the log holds a message of version {message.v}: upgrade calls-in-progress-async")
    return message


def plain_payload(payload: bytes) -> msgspec.Raw | None:
    """Return a payload to put into a message; None if it cannot be told in plain JSON."""
    try:
        payload.decode()
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            payload = json.dumps(parse_json(payload), allow_nan=False).encode()
        except (PayloadError, ValueError, RecursionError):
            return None
    return msgspec.Raw(payload)


def payloads(message: LogMessage) -> Iterator[tuple[str, bytes]]:
    """Iterate over the identities and payloads in a message."""
    for event in message.events:
        if isinstance(event.call, msgspec.Raw):
            yield event.call_id, bytes(event.call)


def size_of(event: LogEvent) -> int:
    """Return about the bytes of an event in a message."""
    call = len(bytes(event.call)) if isinstance(event.call, msgspec.Raw) else 0
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
        if chunk and size + size_of(event) > room:
            yield chunk
            chunk, size = [], 0
        if size_of(event) > room:
            event.call = msgspec.UNSET  # a payload larger than any message: told without
        chunk.append(event)
        size += size_of(event)
    yield chunk
