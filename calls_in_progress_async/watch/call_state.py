"""A call as a watch knows the call: by its JSON or, after a restart, by name and digest. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple, TypeAlias

from ..records import Call
from ..records.call import meaning, structure_call
from ..records.codec import Part, ShortInt, make_decoder
from .call_identity import CallNames, digest, names_of, names_of_identity


class _Texts(Part, frozen=True, gc=False):
    """The fields likely to change during a call. Decoding them takes a quarter of the time of a whole call.

    ``keypresses`` is not one of them, because a revision of the API writes it as ``key presses``.
    """

    external_unique_id: str | ShortInt | None = None
    call_status: str | ShortInt | None = None
    keypress_1: str | ShortInt | None = None
    keypress_2: str | ShortInt | None = None
    keypress_3: str | ShortInt | None = None
    keypress_4: str | ShortInt | None = None


_TEXTS = _Texts.__struct_fields__
_decode_texts = make_decoder(_Texts)


class ListedCall(Part, frozen=False, eq=False, gc=False):  # type: ignore[misc]
    """One entry of a list of calls. Thousands are kept, so each is a `Part`: small, and no work for the collector."""

    identity: str | None
    """The name to follow the call by; None if the entry is not a call."""
    json: bytes
    """The exact JSON of the entry."""
    _digest: str | None = None
    _texts: _Texts | None = None

    @property
    def digest(self) -> str:
        """A digest of the meaning of the JSON. Computed once."""
        if self._digest is None:
            self._digest = _digest_of(self.json)
        return self._digest

    @property
    def texts(self) -> _Texts | None:
        """The fields likely to change, kept for the next change; None if one is unreadable."""
        if self._texts is None:
            self._texts = _decode_texts(self.json)
        return self._texts

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
    return _meaning_of(one.json) == _meaning_of(other.json)


def surely_differ(one: ListedCall, other: ListedCall) -> bool:
    """Return True if a text of `_Texts` differs. True saves comparing the meaning of the whole."""
    before, after = one.texts, other.texts
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
    meaning = _meaning_of(payload)
    return digest(meaning if isinstance(meaning, bytes) else json.dumps(meaning, sort_keys=True).encode())


def _meaning_of(payload: bytes) -> object:
    try:
        return meaning(payload)
    except RecursionError:
        return payload  # nested too deeply to compare
