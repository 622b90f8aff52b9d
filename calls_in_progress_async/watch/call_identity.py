"""Names of calls: the identity to follow a call by, and other texts to tell calls apart. Pure."""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from ..records.codec import Part, PayloadError, Scalar, ShortInt, make_part, parse_json, try_decode
from ..records.json_values import json_text

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
"""Constant fields of a call, over all revisions of the API."""
_ILLEGIBLE = re.compile("[\ud800-\udfff\ufffd]")
"""Half a character, or the stand-in for bytes outside UTF-8: the text is none, and could be equal to another's."""


class Glance(Part, frozen=True, gc=False):
    """The ids of a call, and the fields likely to change. Decoding them takes a quarter of the time of a whole call.

    ``keypresses`` is not one of them, because a revision of the API writes it as ``key presses``.
    """

    # The vendor states no types: 83 and "83" are the same id.
    transaction_id: str | ShortInt | None = None
    call_record_id: str | ShortInt | None = None
    external_unique_id: str | ShortInt | None = None
    call_status: str | ShortInt | None = None
    keypress_1: str | ShortInt | None = None
    keypress_2: str | ShortInt | None = None
    keypress_3: str | ShortInt | None = None
    keypress_4: str | ShortInt | None = None


_NAME_FIELDS = ("transaction_id", "call_record_id", *_TRAIT_FIELDS)
_NamesRow = cast(Any, make_part("NamesRow", dict.fromkeys(_NAME_FIELDS, Scalar), gc=False))


class CallNames(NamedTuple):
    """Texts to tell one call from another. None stands for a missing or unreadable text."""

    transaction_id: str | None = None
    call_record_id: str | None = None
    traits: tuple[str | None, ...] = (None,) * len(_TRAIT_FIELDS)

    def may_be_same(self, other: CallNames) -> bool:
        """Return False if both calls have some text and the texts differ."""
        pairs = zip((*self[:2], *self.traits), (*other[:2], *other.traits), strict=True)
        return all(one is None or two is None or one == two for one, two in pairs)


def identity_of(payload: bytes) -> str | None:
    """Return the identity of a call.

    The identity is the transaction id; else the call record id; else a digest of the numbers and times of the call,
    which stay the same; else a digest of the whole payload.

    Args:
        payload: The JSON of the call.

    Returns:
        None if the payload is not an object, and so not a call.
    """
    if (glance := glance_at(payload)) is not None:
        return identity_in(glance, payload)
    if (names := names_of(payload)) is not None:
        return _identity(names.transaction_id, names.call_record_id, payload, names)
    return None


def glance_at(payload: bytes) -> Glance | None:
    """Decode exactly one object in plain JSON with readable fields; return None for any other payload."""
    return try_decode(Glance, payload) if payload.startswith(b"{") and payload.endswith(b"}") else None


def identity_in(glance: Glance, payload: bytes) -> str:
    """Return the identity of a call decoded already."""
    return _identity(glance.transaction_id, glance.call_record_id, payload)


def names_of(payload: bytes) -> CallNames | None:
    """Read all names of a call; return None if the payload is not an object."""
    if (row := try_decode(_NamesRow, payload)) is not None:
        transaction_id, call_record_id, *traits = (_text(getattr(row, name)) for name in _NAME_FIELDS)
        return CallNames(transaction_id, call_record_id, tuple(traits))
    return _names_of_other(payload)


def _names_of_other(payload: bytes) -> CallNames | None:
    try:
        fields = parse_json(payload)
    except PayloadError:
        return None
    if not isinstance(fields, dict):
        return None
    transaction_id, call_record_id, *traits = (_legible(fields.get(name)) for name in _NAME_FIELDS)
    return CallNames(transaction_id, call_record_id, tuple(traits))


def names_of_identity(identity: str) -> CallNames:
    """Return the names of a call without a payload, from its identity alone."""
    if identity.startswith(_RECORD):
        return CallNames(call_record_id=identity.removeprefix(_RECORD))
    if has_transaction_id(identity):
        return CallNames(transaction_id=identity.removeprefix(_ESCAPE))
    return CallNames()


def has_transaction_id(identity: str | None) -> bool:
    """Return whether an identity is a transaction id, the only id in every revision of the API."""
    return identity is not None and (not identity.startswith("~") or identity.startswith(_ESCAPE))


def lesser_identities(names: CallNames) -> set[str]:
    """Return the identities of a call without its transaction id, with and without its record id."""
    found = {_RECORD + names.call_record_id} if names.call_record_id else set()
    return found | ({_traits_identity(names)} if any(names.traits) else set())


def digest(payload: bytes) -> str:
    """Return a short digest of a payload, which does not reveal it."""
    return blake2b(payload, digest_size=10).hexdigest()


def _identity(
    transaction_id: str | int | None, call_record_id: str | int | None, payload: bytes, names: CallNames | None = None
) -> str:
    if transaction_id is not None and transaction_id != "":
        name = str(transaction_id)
        return _ESCAPE + name if name[0] == "~" else name
    if call_record_id is not None and call_record_id != "":
        return f"{_RECORD}{call_record_id}"
    names = names or names_of(payload) or CallNames()
    return _traits_identity(names) if any(names.traits) else _WHOLE + digest(payload)


def _traits_identity(names: CallNames) -> str:
    return _TRAITS + digest(json.dumps(names.traits).encode())


def _text(value: Any) -> str | None:
    """Return the text of a field; None for a value without one."""
    return json_text(value) or None


def _legible(value: Any) -> str | None:
    return None if isinstance(value, str) and _ILLEGIBLE.search(value) else _text(value)
