"""Waiting for a call that is about to arrive: the agent's screen."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import frozen

from . import clock, phone_numbers
from .endpoints.current_calls import CurrentCallsRequest
from .endpoints.wire_format import WireFormat
from .errors import (
    CallsInProgressError,
    DeadlineExceededError,
    InvalidRequestError,
    RateLimitedError,
    RateLimitWaitError,
    ServerError,
    TransportError,
    UnexpectedResponseError,
)
from .records import Call, CurrentCalls

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.5, 2.0, 1.2
"""Seconds between two looks at first and at most, and the ratio of one pause to the pause before."""
_LAST_LOOK = 0.05
"""Seconds before the end at which the last look begins, at the latest; earlier if looks have taken their time."""
_RESOLUTION = 0.001
"""Seconds too short to wait or to look: a timer may be early by as much (uvloop's clock)."""
_SHARED = 0.9
"""Share of a pause. A response not older than this serves every waiter."""
_PASSING = (TransportError, ServerError, RateLimitedError, RateLimitWaitError, UnexpectedResponseError)
"""Errors to wait out: the next look may succeed."""
_EXTENSION = re.compile(r"(?<=\d)\s*(?:ext|x|#|,|;|\*).*", re.IGNORECASE | re.DOTALL)
"""An extension in a dial string, such as ``x12``, ``,,12`` and ``#12`` (REFERENCE: destination_phone_number)."""


class FetchCalls(Protocol):
    """Finds calls of the organization, through the client."""

    def __call__(self, *, max_age: float | None, timeout: float | None) -> Awaitable[CurrentCalls]:
        """Find calls.

        Args:
            max_age: Seconds. A response to somebody else serves if not older; None makes a request of its own.
            timeout: Seconds for the find.
        """
        ...


class Run(Protocol):
    """Awaits work until a deadline or until the client is closed: `Pipeline.run_until_closed`."""

    async def __call__(self, work: Callable[[], Awaitable[object]], timeout: float | None) -> float | None:
        """Await the work, and return the seconds left of ``timeout``."""
        ...


@frozen(repr=False)
class CallMatcher:
    """Recognizes the call to wait for."""

    transaction_id: str | None
    external_unique_id: str | None
    calling_phone_number: str | None
    destination_phone_number: str | None
    region: str
    """Two letters: the country of numbers without a ``+``."""

    @classmethod
    def for_request(cls, request: CurrentCallsRequest, wire_format: WireFormat) -> CallMatcher:
        """Make the matcher of a find's filters.

        Raises:
            InvalidRequestError: A phone number is malformed.
        """
        request.wire(wire_format)  # rejects a number as a find does
        region = wire_format.default_region
        return cls(
            request.transaction_id,
            request.external_unique_id,
            request.calling_phone_number,
            request.destination_phone_number,
            region,
        )

    def matches(self, call: Call) -> bool:
        """Return whether a call passes every filter.

        The server's filter decides about phone numbers: a record passes unless it shows another number. A record may
        leave a number out, or hold other text.
        """
        return (
            self.transaction_id in (None, call.transaction_id)
            and self.external_unique_id in (None, call.external_unique_id)
            and not self._is_other_number(self.calling_phone_number, call.calling_phone_number)
            and not self._is_other_number(self.destination_phone_number, call.destination_phone_number)
        )

    def _is_other_number(self, wanted: str | None, shown: str | None) -> bool:
        if wanted is None or not shown:
            return False
        one, other = self._e164(wanted), self._e164(shown)
        return one is not None and other is not None and one != other

    def _e164(self, number: str) -> str | None:
        """Return a number without its extension as E.164; None if the text is not a number."""
        try:
            return phone_numbers.e164("", _EXTENSION.sub("", number), region=self.region, validate="possible")
        except InvalidRequestError:
            return None


async def wait_for_call(
    fetch: FetchCalls, request: CurrentCallsRequest, wire_format: WireFormat, timeout: float | None, run: Run
) -> Call:
    """Look for a call until one passes every filter of a find.

    Raises:
        TimeoutError: A good response near the end did not list such a call.
        CallsInProgressError: An error stood in the way until the end, or waiting would not help.
    """
    ends = math.inf if timeout is None else clock.now() + timeout
    if request.has_phone_numbers:
        await run(phone_numbers.load, timeout)
    matcher = CallMatcher.for_request(request, wire_format)
    looking = _Looking(fetch, matcher, ends)
    while (call := await looking.look()) is None:
        pause = looking.next_pause()
        if pause is None:
            raise looking.failure(timeout)
        await run(partial(asyncio.sleep, pause), None)
    return call


class _Looking:
    """The looks of one waiter, and what has come of them."""

    def __init__(self, fetch: FetchCalls, matcher: CallMatcher, ends: float) -> None:
        self._fetch = fetch
        self._matcher = matcher
        self._ends = ends
        self._pause = self._rest = _FIRST_PAUSE
        self._began = self._ended = self._seen_absent_at = -math.inf
        self._last = False
        self._error: CallsInProgressError | None = None

    async def look(self) -> Call | None:
        """Look once. Keep an error to wait out for `failure`."""
        self._began = clock.now()
        left = self._ends - self._began
        if left <= _RESOLUTION:
            return None
        max_age = None if self._last else self._rest * _SHARED
        try:
            calls = await self._fetch(max_age=max_age, timeout=None if left == math.inf else left)
        except _PASSING as error:
            # A timeout in the pause after a 429 must not hide the 429.
            if self._error is None or not isinstance(error, DeadlineExceededError | RateLimitWaitError):
                self._error = error
        else:
            self._error = None
            for call in calls:
                if self._matcher.matches(call):
                    return call
            self._seen_absent_at = clock.now()
        return None

    def next_pause(self) -> float | None:
        """Return the seconds until the next look; None after the end."""
        now = clock.now()
        left, spare = self._ends - now, max(_LAST_LOOK, 2 * (now - self._began))
        if left <= _RESOLUTION:
            return None
        if self._last or left <= spare:
            return left  # until the end
        self._last = self._pause + spare >= left - spare
        # The last look begins just before the end and leaves time for its response.
        self._rest = left - spare if self._last else self._pause
        self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE)
        return self._rest

    def failure(self, timeout: float | None) -> Exception:
        """Return the error to raise at the end: absence if seen near the end, else the error that stood in the way."""
        near = min(_LONGEST_PAUSE, (timeout or 0.0) / 2)
        if self._error is not None and self._seen_absent_at < self._ends - near:
            return self._error
        return TimeoutError(f"No matching call within {timeout:g} s.")
