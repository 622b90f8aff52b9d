"""What a find and an update come to, and the bodies they come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from attrs import field, frozen

from ..attempt import Attempt
from .call import Call
from .codec import PayloadError, Problem, structure_all


@frozen
class CurrentCalls(Sequence[Call]):
    """The calls in progress, in the server's order: newest first. Immutable."""

    _calls: tuple[Call, ...] = ()
    problems: tuple[Problem, ...] = ()
    """The entries of the list that are not calls, and why. What is wrong within a call is in its own ``problems``."""
    attempts: tuple[Attempt, ...] = field(default=(), eq=False)
    """What it took to get them."""

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
    """What the server answered to an update."""

    accepted_only: bool = False
    """Whether it was accepted (202) rather than done."""
    calls: tuple[Call, ...] = ()
    """The call as the server shows it, if it does. Updated custom data is not visible in it."""
    problems: tuple[Problem, ...] = ()
    """What of the answer could not be read."""
    attempts: tuple[Attempt, ...] = field(default=(), eq=False)
    """What it took."""


def structure_calls(body: bytes, *, strict: bool) -> tuple[tuple[Call, ...], tuple[Problem, ...]]:
    """Read the body of a find: the calls, and what is wrong with the entries that are none.

    Raises:
        PayloadError: The body does not say which calls there are.
    """
    parse_body = structure_all(Call, body, strict=strict)
    if parse_body is None or (parse_body[1] and any(each.path == "current_call" for each in parse_body[1])):
        raise PayloadError("", "the answer has no list of calls (current_calls)")
    return parse_body


def structure_update(body: bytes, *, strict: bool) -> tuple[tuple[Call, ...], tuple[Problem, ...]]:
    """Read the body of an update, which may show the call or not.

    Raises:
        PayloadError: The body is not an object.
    """
    return structure_all(Call, body, strict=strict) or ((), ())
