"""The results of a find and of an update, and the reading of their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from attrs import field, frozen

from ..attempt import Attempt
from .bodies import StructuredCalls, structure_body
from .call import Call
from .codec import PayloadError, Problem


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
    found = structure_body(body, strict=strict)
    if found is None or any(each.path == "current_call" for each in found.problems):
        raise PayloadError("", "the response has no list of calls (current_calls)")
    return found


def structure_update(body: bytes, *, strict: bool) -> StructuredCalls:
    """Read the body of a response to an update, with or without the call.

    Raises:
        PayloadError: The body is not an object.
    """
    return structure_body(body, strict=strict) or StructuredCalls(())
