"""The results of a find and of an update, and the reading of their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self, overload

from attrs import field, frozen

from ..attempt import Attempt
from .bodies import Release, StructuredCalls, structure_each, structure_list
from .call import Call
from .codec import PayloadError, Problem


class _Releasing:
    """A list of calls with one shared body, as long as the list exists."""

    __slots__ = ("_release",)

    _release: Release | None


@frozen
class CurrentCalls(_Releasing, Sequence[Call]):
    """The calls in progress, in the server's order: newest first. Immutable."""

    _calls: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()
    """The entries other than calls, each with the reason. A call lists its own unreadable fields in ``problems``."""
    attempts: tuple[Attempt, ...] = field(default=(), eq=False)
    """The attempts of the find."""

    @classmethod
    def _of(cls, structured: StructuredCalls, attempts: tuple[Attempt, ...]) -> Self:
        calls = cls(structured.calls, structured.problems, attempts)
        object.__setattr__(calls, "_release", structured.release)
        return calls

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
    found = structure_list(body, strict=strict)
    if found is None or any(each.path == "current_call" for each in found.problems):
        raise PayloadError("", "the response has no list of calls (current_calls)")
    return found


def structure_update(body: bytes, *, strict: bool) -> StructuredCalls:
    """Read the body of a response to an update, with or without the call.

    Raises:
        PayloadError: The body is not an object.
    """
    return structure_each(body, strict=strict) or StructuredCalls(())
