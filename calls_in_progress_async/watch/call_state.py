"""A call as far as it is known: by its JSON, or only by name, after a restart. Records are made when asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias
from zlib import adler32

from ..records import Call
from ..records.codec import Part, PayloadError, Record, parse_json, structure, try_decode, try_decode_all

_RECORD, _TRAITS, _WHOLE, _ESCAPE = "~record:", "~traits:", "~whole:", "~:"
"""What identities begin with that are not a transaction id."""


class _Names(Record, frozen=True, kw_only=True, eq=False, gc=False):
    transaction_id: str | None = None
    call_record_id: str | None = None


class _Traits(Record, frozen=True, kw_only=True, eq=False, gc=False):
    """What of a call without an id does not change, so far as any revision has it."""

    calling_phone_number: str | None = None
    destination_phone_number: str | None = None
    call_start_time_utc: str | None = None
    transfer_start_time_utc: str | None = None
    bridge_start_time: str | None = None
    start_time: str | None = None

    @property
    def all(self) -> list[str | None]:
        return [getattr(self, name) for name in _Traits.__annotations__]


class ListedCall(Part, frozen=True, eq=False, gc=False):
    """An entry of a list of calls. Thousands are kept: as a `Part` they are small, and no work for the collector."""

    identity: str | None
    """What tells it from other calls, however it changes; None where the entry is not a call."""
    json: bytes

    @property
    def digest(self) -> str:
        """A name for exactly this JSON."""
        return digest(self.json)

    def call(self) -> Call:
        """Make the record."""
        return structure(Call, self.json, "call", strict=False)


class CheckpointedCall(NamedTuple):
    """A call from a checkpoint, which holds no payload."""

    identity: str
    digest: str
    json: None = None

    def call(self) -> Call:
        """Make a record with the id and nothing else."""
        names = {"transaction_id": self.identity}
        if self.identity.startswith(_ESCAPE):
            names = {"transaction_id": self.identity.removeprefix(_ESCAPE)}
        elif self.identity.startswith(_RECORD):
            names = {"call_record_id": self.identity.removeprefix(_RECORD)}
        elif self.identity.startswith((_TRAITS, _WHOLE)):
            names = {}
        return structure(Call, json.dumps(names).encode(), "call", strict=False)


CallState: TypeAlias = ListedCall | CheckpointedCall


def digest(payload: bytes) -> str:
    """Name some JSON in a few characters that do not tell what is in it."""
    return blake2b(payload, digest_size=10).hexdigest()


def same(one: CallState, other: CallState) -> bool:
    """Whether two calls have the same JSON, byte for byte."""
    if one.json is None or other.json is None:
        return one.digest == other.digest
    return one.json == other.json


def alike(one: CallState, other: CallState) -> bool:
    """Whether two calls say the same: byte for byte, or with the keys of their JSON in another order."""
    if same(one, other):
        return True
    if one.json is None or other.json is None or len(one.json) != len(other.json):
        return False
    # The lower half of an Adler-32 is a sum of the bytes (RFC 1950, section 8.2), whatever their order.
    if (adler32(one.json) ^ adler32(other.json)) & 0xFFFF:
        return False
    return bool(parse_json(one.json) == parse_json(other.json))


def identity_of(payload: bytes) -> str | None:
    """Say what tells a call from others.

    That is its transaction id; else its call record id; else, made unreadable, the numbers and times that do not
    change while it lasts; else the whole of it, in which case a change looks like an end and a start.

    Returns:
        None where the payload is not an object, and so no call.
    """
    return identity_of_object(payload) or _identity_of_odd(payload)


def identity_of_object(payload: bytes) -> str | None:
    """The same for what may be one object in plain JSON; None where it is not, or its ids are no text."""
    names = try_decode(_Names, payload) if payload.startswith(b"{") and payload.endswith(b"}") else None
    return None if names is None else _identity(names, payload)


def identities_of(body: bytes, payloads: Sequence[bytes]) -> list[str | None]:
    """The same for all entries of a body at once."""
    names = try_decode_all(_Names, body)
    if names is None or len(names) != len(payloads):
        return [identity_of(payload) for payload in payloads]
    return list(map(_identity, names, payloads))


def _identity_of_odd(payload: bytes) -> str | None:
    try:
        return _identity(structure(_Names, payload, "", strict=False), payload)
    except PayloadError:
        return None


def _identity(names: _Names, payload: bytes) -> str:
    if names.transaction_id:
        return _ESCAPE + names.transaction_id if names.transaction_id[0] == "~" else names.transaction_id
    if names.call_record_id:
        return _RECORD + names.call_record_id
    traits = structure(_Traits, payload, "", strict=False).all
    return _TRAITS + digest(json.dumps(traits).encode()) if any(traits) else _WHOLE + digest(payload)
