"""Waiting for a call that is about to arrive: the agent's screen."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import frozen

from . import phone_numbers
from .endpoints.current_calls import CurrentCallsRequest
from .endpoints.wire_format import WireFormat
from .errors import (
    InvalidRequestError,
    RateLimitedError,
    RateLimitWaitError,
    ServerError,
    TransportError,
    UnexpectedResponseError,
)
from .records import Call, CurrentCalls

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.5, 2.0, 1.2
"""Seconds between two looks, and what each is to the one before."""
_LAST_LOOK = 0.05
"""Seconds before the end at which the last look begins, at the latest; earlier where looks have taken their time."""
_SHARED = 0.9
"""The share of a pause for which an answer does for others as well."""
_PASSING = (TransportError, ServerError, RateLimitedError, RateLimitWaitError, UnexpectedResponseError)
"""What may be over at the next look."""


class Look(Protocol):
    """Finds all calls of the organization; an answer no older than ``max_age`` seconds will do."""

    def __call__(self, *, max_age: float, timeout: float | None) -> Awaitable[CurrentCalls]:
        """Look."""
        ...


@frozen
class Wanted:
    """Which call is waited for. Calls are matched here, so that all who wait can share one answer."""

    transaction_id: str | None
    external_unique_id: str | None
    calling: str | None
    destination: str | None
    region: str

    @classmethod
    def of(cls, request: CurrentCallsRequest, wire_format: WireFormat) -> Wanted:
        """Take the filters of a find.

        Raises:
            InvalidRequestError: A phone number is none.
        """
        region = wire_format.default_region
        numbers = {name: getattr(request, name) for name in ("calling_phone_number", "destination_phone_number")}
        calling, destination = (
            None
            if number is None
            else phone_numbers.e164(name, number, region=region, validate=wire_format.validate_phone_numbers)
            for name, number in numbers.items()
        )
        return cls(request.transaction_id, request.external_unique_id, calling, destination, region)

    def matches(self, call: Call) -> bool:
        """Whether a call is the one, by every filter given."""
        return (
            self.transaction_id in (None, call.transaction_id)
            and self.external_unique_id in (None, call.external_unique_id)
            and self._is_number(self.calling, call.calling_phone_number)
            and self._is_number(self.destination, call.destination_phone_number)
        )

    def _is_number(self, wanted: str | None, sent: str | None) -> bool:
        if wanted is None or wanted == sent:
            return True
        if not sent:
            return False
        try:
            return phone_numbers.e164("", sent, region=self.region, validate="possible") == wanted
        except InvalidRequestError:
            return False  # records hold dial strings too, and text of any form


def _rest(pause: float, left: float, took: float) -> float:
    """Seconds until the next look, of which the last comes just before the end, whatever the pauses are by then."""
    spare = max(_LAST_LOOK, 2 * took)
    if pause + spare < left - spare:
        return pause
    return left - spare if left > spare else max(0.0, left)


class Prepare(Protocol):
    """Waits for something within a deadline in seconds, and until the client is closed; returns what is left of it."""

    async def __call__(self, work: Callable[[], Awaitable[object]], timeout: float | None) -> float | None:
        """Wait."""
        ...


async def wait_for_call(
    look: Look, request: CurrentCallsRequest, wire_format: WireFormat, timeout: float | None, prepare: Prepare
) -> Call:
    """Look until there is a call that matches every filter of a find.

    Raises:
        TimeoutError: There was none, within ``timeout`` seconds; the last failure to look is its cause.
        CallsInProgressError: What will not pass by waiting, such as `AuthenticationError`.
    """

    async def sleep(seconds: float) -> None:
        await prepare(partial(asyncio.sleep, seconds), None)

    if request.has_phone_numbers:
        timeout = await prepare(phone_numbers.load, timeout)
    return await look_until_there(look, Wanted.of(request, wire_format), timeout, sleep=sleep)


async def look_until_there(
    look: Look,
    wanted: Wanted,
    timeout: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Call:
    """The same for a call that one knows to recognize, by a clock that may be another."""
    ends = math.inf if timeout is None else clock() + timeout
    pause = rest = _FIRST_PAUSE
    failure: Exception | None = None
    while (remaining := ends - (began := clock())) > 0:
        try:
            calls = await look(max_age=rest * _SHARED, timeout=None if timeout is None else remaining)
        except _PASSING as error:
            failure = error
        else:
            for call in calls:
                if wanted.matches(call):
                    return call
        rest = _rest(pause, ends - clock(), clock() - began)
        await sleep(rest)
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    raise TimeoutError(f"No matching call within {timeout:g} s.") from failure
