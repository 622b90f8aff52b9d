"""A call as a watch knows the call: by its JSON or, after a restart, by name and digest. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ..records import Call
from ..records.bodies import try_decode_all
from ..records.call import meaning, structure_call
from ..records.codec import Part, encode_sorted
from ..records.pieces import PIECE
from ..slow_reading import leave_event_loop_for
from .call_identity import (
    CallNames,
    Glance,
    digest,
    glance_at,
    identity_in,
    identity_of,
    names_of,
    names_of_identity,
)

_TEXTS = Glance.__struct_fields__[2:]  # all but the ids


class ListedCall(Part, frozen=False, eq=False, gc=False):  # type: ignore[misc]
    """One entry of a list of calls. Thousands are kept, so each is a `Part`: small, and no work for the collector."""

    identity: str | None
    """The name to follow the call by; None if the entry is not a call."""
    json: bytes
    """The exact JSON of the entry."""
    _digest: str | None = None
    _glance: Glance | None = None

    @property
    def digest(self) -> str:
        """A digest of the meaning of the JSON. Computed once."""
        if self._digest is None:
            self._digest = _digest_of(self.json)
        return self._digest

    @property
    def glance(self) -> Glance | None:
        """The fields likely to change, kept for the next change; None if one is unreadable."""
        if self._glance is None:
            self._glance = glance_at(self.json)
        return self._glance

    @property
    def has_digest(self) -> bool:
        """True if the digest was made."""
        return self._digest is not None

    @property
    def names(self) -> CallNames | None:
        """Texts to tell the call from others; None if the entry is not a call."""
        return names_of(self.json)

    def call(self) -> Call:
        """Make the record."""
        return structure_call(self.json, "call", strict=False)


class CheckpointedCall(NamedTuple):
    """A call from a checkpoint, which holds no payload."""

    identity: str
    digest: str
    json: None = None

    @property
    def names(self) -> CallNames:
        """Texts to tell the call from others, as far as the identity gives any."""
        return names_of_identity(self.identity)

    def call(self) -> Call:
        """Make a record with the id and nothing else."""
        ids = {name: value for name, value in self.names._asdict().items() if name != "traits" and value is not None}
        return structure_call(json.dumps(ids).encode(), "call", strict=False)


CallState: TypeAlias = ListedCall | CheckpointedCall


def call_at(payload: bytes) -> ListedCall | None:
    """Return a call that is exactly one object in plain JSON with readable ids; None for any other payload."""
    glance = glance_at(payload)
    return None if glance is None else ListedCall(identity_in(glance, payload), payload, None, glance)


def list_calls(body: bytes, payloads: Sequence[bytes], *, keep_glances: bool) -> list[ListedCall]:
    """Make a call of every entry of a body, decoding a small body once.

    Args:
        body: The JSON of all calls.
        payloads: The JSON of each call.
        keep_glances: True to keep the fields likely to change, for a comparison with earlier calls.
    """
    glances = try_decode_all(Glance, body) if len(body) <= PIECE else None
    if glances is None or len(glances) != len(payloads):
        leave_event_loop_for(body)
        return [ListedCall(identity_of(payload), payload) for payload in payloads]
    if not all(each.transaction_id or each.call_record_id for each in glances):
        leave_event_loop_for(body)  # a digest takes time
    return [
        ListedCall(identity_in(glance, payload), payload, None, glance if keep_glances else None)
        for glance, payload in zip(glances, payloads, strict=True)
    ]


def identical(one: CallState, other: CallState) -> bool:
    """Return whether two calls have the same JSON byte for byte; by digest if either has no JSON."""
    if one.json is None or other.json is None:
        return one.digest == other.digest
    return one.json == other.json


def equivalent(one: CallState, other: CallState) -> bool:
    """Return whether two calls mean the same: key order, white space, escapes, null and "" do not count."""
    if isinstance(one, CheckpointedCall) or isinstance(other, CheckpointedCall):
        return one.digest == other.digest
    if one.json == other.json:
        return True
    if one.has_digest and other.has_digest:
        return one.digest == other.digest
    if surely_differ(one, other):
        return False
    return meaning(one.json) == meaning(other.json)


def surely_differ(one: ListedCall, other: ListedCall) -> bool:
    """Return True if a field likely to change differs. True saves comparing the meaning of the whole."""
    before, after = one.glance, other.glance
    if before is None or after is None:
        return False
    for name in _TEXTS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and _shown(old) != _shown(new):
            return True
    return False


def _shown(value: str | int | None) -> str:
    return "" if value is None else str(value)


def _digest_of(payload: bytes) -> str:
    content = meaning(payload)
    if not isinstance(content, bytes):
        try:
            content = encode_sorted(content)
        except UnicodeEncodeError:  # half a character
            content = json.dumps(content, sort_keys=True).encode()
    return digest(content)
