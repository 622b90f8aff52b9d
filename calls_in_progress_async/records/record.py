"""A record's memory of its payload, outside its fields: private, and skipped by every encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define

from .codec import Problem, parse_json


@define(eq=False)
class Body:
    """The JSON of one record, or of a body with a list of records."""

    json: bytes
    path: str
    """The key of the list in the body; for one record, its place in the body."""
    split: Callable[[bytes], list[Any]] | None = None
    """Cuts a body into the JSON of its entries; None for one record."""
    _entries: list[Any] | None = None

    def entry(self, index: int | None) -> bytes:
        """Return the JSON of one record: of all the body if ``index`` is None."""
        if index is None or self.split is None:
            return self.json
        if self._entries is None:
            self._entries = self.split(self.json)
        return bytes(self._entries[index])


class Record:
    """A slotted record decoded from JSON, or made by its constructor and without a payload then."""

    __slots__ = ("_problems", "_source")

    _source: tuple[Body, int | None]
    """The body, and the record's index in its list. Unset if the record was made by its constructor."""
    _problems: tuple[Problem, ...]
    """The unreadable fields. Unset if there are none."""

    @property
    def path(self) -> str:
        """The record's place in its body, such as ``current_calls[3]``; empty if it was made by its constructor."""
        try:
            body, index = self._source
        except AttributeError:
            return ""
        return body.path if index is None else f"{body.path}[{index}]"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The unreadable fields, each with the reason."""
        return getattr(self, "_problems", ())

    @property
    def raw_json(self) -> bytes:
        """The exact JSON of this record; made from the fields if the record was made by its constructor."""
        try:
            body, index = self._source
        except AttributeError:
            return self._to_payload()
        return body.entry(index)

    @property
    def raw(self) -> dict[str, Any]:
        """The payload as Python values, parsed anew at each call.

        A value without a Python equivalent is the nearest one: an integer of 400 or more digits is a float, and a
        byte outside UTF-8 is U+FFFD.
        """
        payload: dict[str, Any] = parse_json(self.raw_json)
        return payload

    @abstractmethod
    def _to_payload(self) -> bytes:
        """Make the JSON of a record without a payload."""
        ...

    def detach(self) -> None:
        """Keep a copy of this record's own JSON instead of the whole body."""
        object.__setattr__(self, "_source", (Body(self.raw_json, self.path), None))


class LazyField:
    """A field of a slotted record, read from the payload on demand.

    The descriptor replaces the slot's own, so every reader of attributes finds the value: attrs, cattrs, rich. The slot
    itself holds the value of a record made by its constructor.

    Args:
        slot: The field's own descriptor.
        cache: The descriptor of the slot for everything read together. The slot is None or unset until then.
        read: Reads the payload, fills the cache and returns its value.
        index: The position of the field in the cache's value.
    """

    def __init__(self, slot: Any, cache: Any, read: Callable[[Any], Sequence[Any]], index: int) -> None:
        self._get, self._set = slot.__get__, slot.__set__
        self._get_cache = cache.__get__
        self._read = read
        self._index = index

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        if record is None:
            return self
        try:
            values = self._get_cache(record)
        except AttributeError:
            if not hasattr(record, "_source"):
                return self._get(record)
            values = None
        return (self._read(record) if values is None else values)[self._index]

    def __set__(self, record: Any, value: object) -> None:
        self._set(record, value)
