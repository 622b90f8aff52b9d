"""The agent's screen: the call is there, or comes later, or does not come; an outage is not an absence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from raw_server import ACME

from calls_in_progress_async import (
    AuthenticationError,
    Call,
    CallsInProgressClient,
    CallsInProgressError,
    ClientClosedError,
    ConnectionFailedError,
    ConnectionLostError,
    CurrentCalls,
    CurrentCallsRequest,
    DeadlineExceededError,
    InvalidRequestError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    UnexpectedResponseError,
    clock,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.testing import ScriptedTransport, html, lost_after_write, refused, status
from calls_in_progress_async.wait_for_call import CallMatcher, wait_for_call

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

CALLER, DESTINATION = "+18005551234", "+18005559876"
DOWN = ServerError("HTTP 500", status=500)


def matcher(validate: Any = "possible", **filters: Any) -> CallMatcher:
    request = CurrentCallsRequest(organization=ACME, **filters)
    return CallMatcher.for_request(request, WireFormat(validate_phone_numbers=validate))


async def run(work: Callable[[], Awaitable[object]], timeout: float | None) -> float | None:
    await work()
    return timeout


class Waiting:
    """One wait, against a server with calls from some moment on and failures between some moments."""

    def __init__(self, *calls: tuple[float, dict[str, Any]], takes: float = 0.0) -> None:
        self.calls = calls
        self.takes = takes
        self.failures: list[tuple[float, float, Exception]] = []
        self.began = clock.now()
        self.looks: list[float] = []
        self.asked: list[tuple[float | None, float | None]] = []

    async def find(self, *, max_age: float | None, timeout: float | None) -> CurrentCalls:
        moment = clock.now() - self.began
        self.looks.append(moment)
        self.asked.append((max_age, timeout))
        if timeout is not None and self.takes > timeout:
            await asyncio.sleep(timeout)
            raise DeadlineExceededError("deadline")
        await asyncio.sleep(self.takes)
        for start, end, error in self.failures:
            if start <= moment < end:
                raise error
        return CurrentCalls(tuple(Call.from_payload(fields) for since, fields in self.calls if since <= moment))

    async def wait(self, timeout: float | None = 10.0, **filters: Any) -> Call:
        request = CurrentCallsRequest(organization=ACME, **filters)
        return await wait_for_call(self.find, request, WireFormat(), timeout, run)


async def test_a_call_that_is_there() -> None:
    """One look is enough, and the first match is returned."""
    waiting = Waiting((0, {"transaction_id": "A"}), (0, {"transaction_id": "B"}))
    assert (await waiting.wait()).transaction_id == "A"
    assert (await waiting.wait(transaction_id="B")).transaction_id == "B"
    assert len(waiting.looks) == 2


@pytest.mark.parametrize("timeout", [10.0, None])
async def test_a_call_that_comes(timeout: float | None) -> None:
    """The call is seen soon; pauses grow from half a second to two, and responses serve others meanwhile."""
    waiting = Waiting((0, {"transaction_id": "A"}), (7, {"transaction_id": "B", "external_unique_id": "mine"}))
    assert (await waiting.wait(timeout, external_unique_id="mine")).transaction_id == "B"
    pauses = [later - earlier for earlier, later in pairwise(waiting.looks)]
    assert pauses[0] == 0.5
    assert max(pauses) <= 2.0
    assert pauses == sorted(pauses)
    assert all(age is not None and 0 < age < pause for (age, _), pause in zip(waiting.asked, pauses, strict=False))
    assert (waiting.asked[0][1] is None) == (timeout is None)


async def test_a_call_that_does_not_come() -> None:
    """TimeoutError comes after the timeout and not before, and no look lasts longer."""
    waiting = Waiting()
    with pytest.raises(TimeoutError, match="within 10 s") as caught:
        await waiting.wait(transaction_id="A")
    assert not isinstance(caught.value, CallsInProgressError)
    assert clock.now() - waiting.began == pytest.approx(10.0)
    limits = [(time, limit) for time, (_, limit) in zip(waiting.looks, waiting.asked, strict=True)]
    assert all(limit is not None and limit <= 10 - time + 1e-6 for time, limit in limits)


@pytest.mark.parametrize("took", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("timeout", [0.2, 2.0, 10.0, 11.3])
async def test_a_call_that_comes_in_the_last_pause(timeout: float, took: float) -> None:
    """The last look comes just before the end, leaves time for its response, and takes no response of others."""
    if took > timeout:
        return
    waiting = Waiting((max(0.0, timeout - max(0.06, 2.1 * took)), {"transaction_id": "A"}), takes=took)
    assert (await waiting.wait(timeout)).transaction_id == "A"
    if len(waiting.looks) > 1:
        assert waiting.asked[-1][0] is None


@pytest.mark.parametrize("timeout", [0, 0.0])
async def test_no_time_at_all(timeout: float) -> None:
    """A timeout of 0 is over at once."""
    with pytest.raises(TimeoutError):
        await Waiting().wait(timeout)


# Outages.


async def test_a_failure_that_passes_is_waited_out() -> None:
    """Passing failures do not end the wait."""
    waiting = Waiting((0, {"transaction_id": "A"}))
    waiting.failures = [(0, 1, DOWN), (1, 2, ConnectionLostError("lost"))]
    assert (await waiting.wait()).transaction_id == "A"


@pytest.mark.parametrize("error", [DOWN, ConnectionLostError("lost"), RateLimitedError("HTTP 429", status=429)])
@pytest.mark.parametrize(("start", "end"), [(0, 100), (3, 100), (6.5, 100)])
async def test_an_outage_until_the_end_is_its_error(error: Exception, start: float, end: float) -> None:
    """If the server fails until the end, the error says so: nobody knows that the call is not there."""
    waiting = Waiting()
    waiting.failures = [(start, end, error)]
    with pytest.raises(type(error)) as caught:
        await waiting.wait()
    assert caught.value is error


@pytest.mark.parametrize(("start", "end"), [(0, 5), (3, 6), (9.9, 100), (8.5, 9.5)])
async def test_an_outage_that_is_over_is_an_absence(start: float, end: float) -> None:
    """If a good response near the end does not list the call, TimeoutError is raised."""
    waiting = Waiting()
    waiting.failures = [(start, end, DOWN)]
    with pytest.raises(TimeoutError, match="No matching call"):
        await waiting.wait()


async def test_a_server_that_hangs_is_an_outage() -> None:
    """If no look gets a response, the error is the client's own deadline, from the tree."""
    with pytest.raises(DeadlineExceededError):
        await Waiting(takes=60.0).wait(5.0)


@pytest.mark.parametrize("error", [AuthenticationError("HTTP 401", status=401), ClientClosedError("closed")])
async def test_an_error_that_does_not_pass_is_raised_at_once(error: Exception) -> None:
    """A wrong token will not be right in ten seconds."""
    waiting = Waiting()
    waiting.failures = [(0, 100, error)]
    with pytest.raises(type(error)):
        await waiting.wait()
    assert len(waiting.looks) == 1


# Matching.


@pytest.mark.parametrize(
    ("caller", "destination", "expected"),
    [
        (CALLER, DESTINATION, True),
        ("800-555-1234", "(800) 555-9876", True),
        ("18005551234", "+1 800 555 9876", True),
        (None, DESTINATION, True),
        ("", DESTINATION, True),
        (None, None, True),
        ("anonymous", DESTINATION, True),
        ("sip:agent@example.com", DESTINATION, True),
        (CALLER, "800-555-9876x12", True),
        (CALLER, "8005559876,,12", True),
        (CALLER, "800-555-9876#12", True),
        (CALLER, "800-555-9876 ext. 12", True),
        (CALLER, "800-555-9876*12", True),
        (CALLER, "800-555-9877x12", False),
        (CALLER, "+18005559877", False),
        ("+18005551235", DESTINATION, False),
        ("+18005551235", None, False),
    ],
)
@pytest.mark.parametrize("validate", ["possible", "off"])
@pytest.mark.parametrize("asked", [CALLER, "800.555.1234"])
def test_numbers_match_in_any_format(
    caller: str | None, destination: str | None, expected: bool, validate: str, asked: str
) -> None:
    """A record of the server's filter matches unless it shows another number, whatever the client validates."""
    call = Call.from_payload({"calling_phone_number": caller, "destination_phone_number": destination})
    numbers = {"calling_phone_number": asked, "destination_phone_number": DESTINATION}
    assert matcher(validate, **numbers).matches(call) is expected


def test_a_malformed_number_is_rejected() -> None:
    """A malformed number is rejected by its name before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        matcher(calling_phone_number="12", destination_phone_number=DESTINATION)
    assert caught.value.parameter == "calling_phone_number"


def test_text_that_is_no_number_leaves_the_match_to_the_server() -> None:
    """With validation off any text is sent, and the server's filter alone decides."""
    given = matcher("off", calling_phone_number="anonymous", destination_phone_number=DESTINATION)
    assert given.matches(Call.from_payload({"calling_phone_number": CALLER}))


def test_every_filter_counts() -> None:
    """A call must pass every given filter."""
    call = Call.from_payload({"transaction_id": "A", "external_unique_id": "mine"})
    assert matcher(transaction_id="A", external_unique_id="mine").matches(call)
    assert not matcher(transaction_id="A", external_unique_id="other").matches(call)
    assert not matcher(transaction_id="B", external_unique_id="mine").matches(call)


async def test_a_deadline_does_not_hide_the_error_that_caused_the_wait() -> None:
    """After a 429, later looks end in the client's own pause: the error is still the rate limit."""
    waiting = Waiting()
    limited = RateLimitedError("HTTP 429", status=429)
    waiting.failures = [(0, 0.4, limited), (0.4, 100, DeadlineExceededError("deadline"))]
    with pytest.raises(RateLimitedError) as raised:
        await waiting.wait()
    assert raised.value is limited


async def test_a_good_response_clears_an_earlier_error() -> None:
    """A server that hangs after a good response is an outage of its own."""
    waiting = Waiting()
    waiting.failures = [(0, 1, RateLimitedError("HTTP 429", status=429)), (2, 100, DeadlineExceededError("deadline"))]
    with pytest.raises(DeadlineExceededError):
        await waiting.wait()


DOWN_RESULTS: list[tuple[Any, type[Exception]]] = [
    *((status(429, retry_after=seconds), RateLimitedError) for seconds in (1, 5, 99)),
    *((status(503, retry_after=seconds), ServerError) for seconds in (1, 5, 99)),
    (429, RateLimitedError),
    (503, ServerError),
    (401, AuthenticationError),
    (html("x"), UnexpectedResponseError),
    (refused(), ConnectionFailedError),
    (lost_after_write(), ConnectionLostError),
]


@pytest.mark.parametrize("timeout", [0.2, 1.0, 3.0, 10.0])
@pytest.mark.parametrize(("result", "kind"), DOWN_RESULTS)
async def test_the_client_raises_the_error_that_stood_in_the_way(
    result: Any, kind: type[Exception], timeout: float
) -> None:
    """Whatever the server says until the end is the error of the wait, never the wait's own deadline."""

    def client() -> CallsInProgressClient:
        transport = ScriptedTransport(result, repeat_last=True)
        return CallsInProgressClient(token="t", transport=transport, retry=RetryPolicy(initial=0.1))

    async with client() as waiting, client() as sharing:
        with pytest.raises(CallsInProgressError) as raised:
            await waiting.wait_for_call(ACME, transaction_id="A", timeout=timeout)
        assert type(raised.value) is kind
        assert raised.value.attempts
        with pytest.raises(CallsInProgressError) as raised:
            await sharing.find(ACME, max_age=1.0, timeout=timeout)
        assert type(raised.value) is kind
