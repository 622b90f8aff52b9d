"""The results of a find and of an update, and the reading of their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import getrefcount
from types import SimpleNamespace
from typing import Any, TypeVar, overload

from attrs import field, frozen

from ..attempt import Attempt
from .bodies import StructuredCalls, structure_each, structure_list
from .call import Call
from .codec import PayloadError, Problem

T = TypeVar("T")


def _held_elsewhere(objects: tuple[T, ...], alone: int) -> list[T]:
    return [each for each in objects if getrefcount(each) > alone]


_REFERENCES_TO_CALL = next(count for count in range(1, 9) if not _held_elsewhere((object(),), count))
"""References to an object in a tuple and nowhere else, as `_held_elsewhere` counts them in this interpreter."""


def _tuple_of(found: Any) -> tuple[tuple[Call, ...], int]:
    """Return the calls of a list, and the number of references to their tuple."""
    calls = getattr(found, "_calls", ())  # unset if the constructor raised
    return calls, getrefcount(calls)


_REFERENCES_TO_TUPLE = _tuple_of(SimpleNamespace(_calls=(object(),)))[1]
"""References to a tuple in a list and nowhere else, as `_tuple_of` counts them in this interpreter."""


@frozen
class CurrentCalls(Sequence[Call]):
    """The calls in progress, in the server's order: newest first. Immutable."""

    _calls: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()
    """The entries other than calls, each with the reason. A call lists its own unreadable fields in ``problems``."""
    attempts: tuple[Attempt, ...] = field(default=(), eq=False)
    """The attempts of the find."""

    @overload
    def __getitem__(self, index: int) -> Call: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Call, ...]: ...

    def __getitem__(self, index: int | slice) -> Call | tuple[Call, ...]:
        return self._calls[index]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __del__(self) -> None:
        """Give each call kept elsewhere a copy of its own JSON: it would hold the body of the whole response."""
        calls, references = _tuple_of(self)
        for call in calls if references > _REFERENCES_TO_TUPLE else _held_elsewhere(calls, _REFERENCES_TO_CALL):
            call.detach()


@frozen(kw_only=True)
class CallUpdate:
    """The server's response to an update."""

    accepted_only: bool = False
    """True if the update was accepted (202) and is not yet done."""
    calls: tuple[Call, ...] = ()
    """The call as the server shows it, if it does. Updated custom data is not visible in it."""
    problems: tuple[Problem, ...] = ()
    """The unreadable parts of the response."""
    attempts: tuple[Attempt, ...] = field(default=(), eq=False)
    """The attempts of the update."""


def structure_calls(body: bytes, *, strict: bool) -> StructuredCalls:
    """Read the body of a find.

    Raises:
        PayloadError: The body has no list of calls.
    """
    found = structure_list(body, strict=strict)
    if found is None or (found.problems and found.problems[0].path == "current_call"):
        raise PayloadError("", "the response has no list of calls (current_calls)")
    return found


def structure_update(body: bytes, *, strict: bool) -> StructuredCalls:
    """Read the body of a response to an update, with or without the call.

    Raises:
        PayloadError: The body is not an object, or reports an error.
    """
    return structure_each(body, strict=strict) or StructuredCalls(())
