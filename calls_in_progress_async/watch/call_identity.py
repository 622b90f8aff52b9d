"""Names of calls: the identity under which a call is followed, and what else tells calls apart. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from ..records.bodies import try_decode_all
from ..records.codec import Part, PayloadError, parse_json, try_decode

_RECORD, _TRAITS, _WHOLE, _ESCAPE = "~record:", "~traits:", "~whole:", "~:"
"""Prefixes of identities other than a plain transaction id. ``~:`` escapes a transaction id starting with ``~``."""
_TRAIT_FIELDS = (
    "calling_phone_number",
    "destination_phone_number",
    "call_start_time_utc",
    "transfer_start_time_utc",
    "bridge_start_time",
    "start_time",
)
"""Fields of a call that stay the same while the call lasts, over all revisions of the API."""


class _Ids(Part, frozen=True, gc=False):
    # The vendor states no types: 83 and "83" are the same id.
    transaction_id: str | int | None = None
    call_record_id: str | int | None = None


class CallNames(NamedTuple):
    """The texts that tell one call from another. None stands for a text that is missing or cannot be read."""

    transaction_id: str | None = None
    call_record_id: str | None = None
    traits: tuple[str | None, ...] = (None,) * len(_TRAIT_FIELDS)

    def may_be_same(self, other: CallNames) -> bool:
        """Return False if any text that both calls have differs."""
        pairs = zip((*self[:2], *self.traits), (*other[:2], *other.traits), strict=True)
        return all(one is None or two is None or one == two for one, two in pairs)


def identity_of(payload: bytes) -> str | None:
    """Return the identity of a call.

    The identity is the transaction id; else the call record id; else a digest of the numbers and times that stay the
    same while a call lasts; else a digest of the whole payload.

    Returns:
        None if the payload is not an object, and so not a call.
    """
    identity = identity_of_object(payload)
    if identity is None and (names := names_of(payload)) is not None:
        identity = _identity(names.transaction_id, names.call_record_id, payload)
    return identity


def identity_of_object(payload: bytes) -> str | None:
    """Return the identity of a payload that is exactly one object in plain JSON with readable ids, else None."""
    ids = try_decode(_Ids, payload) if payload.startswith(b"{") and payload.endswith(b"}") else None
    return None if ids is None else _identity(ids.transaction_id, ids.call_record_id, payload)


def identities_of(body: bytes, payloads: Sequence[bytes]) -> list[str | None]:
    """Return the identity of every entry of a body, decoding the body once."""
    found = try_decode_all(_Ids, body)
    if found is None or len(found) != len(payloads):
        return [identity_of(payload) for payload in payloads]
    return [_identity(ids.transaction_id, ids.call_record_id, each) for ids, each in zip(found, payloads, strict=True)]


def names_of(payload: bytes) -> CallNames | None:
    """Read all texts that name a call; None if the payload is not an object."""
    try:
        fields = parse_json(payload)
    except PayloadError:
        return None
    if not isinstance(fields, dict):
        return None
    traits = tuple(_text(fields.get(name)) for name in _TRAIT_FIELDS)
    return CallNames(_text(fields.get("transaction_id")), _text(fields.get("call_record_id")), traits)


def names_of_identity(identity: str) -> CallNames:
    """Return the names that an identity alone gives, for a call without a payload."""
    if identity.startswith(_RECORD):
        return CallNames(call_record_id=identity.removeprefix(_RECORD))
    if has_transaction_id(identity):
        return CallNames(transaction_id=identity.removeprefix(_ESCAPE))
    return CallNames()


def has_transaction_id(identity: str | None) -> bool:
    """Return whether an identity is a transaction id, the only id that every revision of the API has."""
    return identity is not None and (not identity.startswith("~") or identity.startswith(_ESCAPE))


def lesser_identities(names: CallNames) -> set[str]:
    """Return the identities that a call would have if its transaction id, or that and its record id, were missing."""
    found = {_RECORD + names.call_record_id} if names.call_record_id else set()
    return found | ({_traits_identity(names)} if any(names.traits) else set())


def digest(payload: bytes) -> str:
    """Return a short text that stands for a payload and does not reveal it."""
    return blake2b(payload, digest_size=10).hexdigest()


def _identity(transaction_id: str | int | None, call_record_id: str | int | None, payload: bytes) -> str:
    if transaction_id is not None and transaction_id != "":
        name = str(transaction_id)
        return _ESCAPE + name if name[0] == "~" else name
    if call_record_id is not None and call_record_id != "":
        return f"{_RECORD}{call_record_id}"
    names = names_of(payload) or CallNames()
    return _traits_identity(names) if any(names.traits) else _WHOLE + digest(payload)


def _traits_identity(names: CallNames) -> str:
    return _TRAITS + digest(json.dumps(names.traits).encode())


def _text(value: Any) -> str | None:
    """Return the text of a field: a scalar where text is documented is its JSON text; lists and objects are none."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() or None
    return json.dumps(value) if isinstance(value, bool | int | float) else None
