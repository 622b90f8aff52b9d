"""A record's memory of its payload, outside its fields: private, and skipped by every encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from .codec import PayloadError, Problem, parse_json
from .json_values import MAX_LEVELS, cut_deep


class SharedBody:
    """The body of a list of records, cut into the JSON of each record when first asked for one.

    Args:
        body: The body.
        split: Cuts the body into the JSON of its entries.
        first: The index of the first entry.
    """

    __slots__ = ("_body", "_entries", "_first", "_split")

    def __init__(self, body: bytes, split: Callable[[bytes], Sequence[Any]], first: int = 0) -> None:
        self._body = body
        self._split = split
        self._first = first
        self._entries: Sequence[Any] | None = None

    def entry(self, index: int) -> bytes:
        """Return the JSON of one record."""
        if self._entries is None:
            self._entries = self._split(self._body)
        return bytes(self._entries[index - self._first])


class Record:
    """A slotted record decoded from JSON, or made by its constructor and without a payload then."""

    __slots__ = ("_index", "_json", "_place", "_problems")

    _json: bytes | SharedBody
    """The exact JSON of this record, or the body of its list. Unset, as are all slots here, if made by constructor."""
    _place: str
    """The key of the list in the body; for one record, its place in the body."""
    _index: int | None
    """The record's index in the list."""
    _problems: tuple[Problem, ...]
    """The unreadable fields. Unset if there are none."""

    @property
    def path(self) -> str:
        """The record's place in its body, such as ``current_calls[3]``; empty if it was made by its constructor."""
        if not hasattr(self, "_json"):
            return ""
        return self._place if self._index is None else f"{self._place}[{self._index}]"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The unreadable fields, each with the reason."""
        return getattr(self, "_problems", ())

    @property
    def raw_json(self) -> bytes:
        """The exact JSON of this record; made from the fields if the record was made by its constructor."""
        try:
            json = self._json
        except AttributeError:
            return self._to_payload()
        return json if isinstance(json, bytes) else json.entry(self._index or 0)

    @property
    def raw(self) -> dict[str, Any]:
        """The payload as Python values, parsed anew at each call.

        A value without a Python equivalent is the nearest one: an integer of 400 or more digits is a float, and a
        byte outside UTF-8 is U+FFFD. Lists and objects nested more than 100 levels deep are None, and a payload nested
        too deeply for Python's parsers is an empty dict.
        """
        json, payload = self.raw_json, {}
        with suppress(PayloadError):
            payload = parse_json(json)
        return cast(dict[str, Any], cut_deep(payload) if json.count(b"{") + json.count(b"[") > MAX_LEVELS else payload)

    def detach(self) -> None:
        """Keep a copy of this record's own JSON instead of the body of its list."""
        if isinstance(getattr(self, "_json", None), SharedBody):
            object.__setattr__(self, "_json", self.raw_json)

    @abstractmethod
    def _to_payload(self) -> bytes:
        """Make the JSON of a record without a payload."""
        ...


UNREAD: Any = object()
"""The content of a cache before its field is read."""


class LazyField(property):
    """A field of a slotted record, read from the payload on demand.

    The property replaces the slot's own descriptor, so every reader of attributes finds the value: attrs, cattrs, rich.

    Args:
        slot: The field's own descriptor.
        get: Returns the value of a record.
    """

    def __init__(self, slot: Any, get: Callable[[Any], Any]) -> None:
        super().__init__(get, slot.__set__)
        self.slot = slot
        """The field's own descriptor: it sets a value in a tenth of the time."""
