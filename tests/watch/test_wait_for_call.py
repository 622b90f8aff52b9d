"""The agent's screen: the call is there, or it comes, or it does not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from watch.worlds import ACME, Clock

from calls_in_progress_async import (
    AuthenticationError,
    Call,
    ConnectionLostError,
    CurrentCalls,
    CurrentCallsRequest,
    InvalidRequestError,
    ServerError,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.wait_for_call import Wanted, look_until_there

FORMAT = WireFormat()
CALLER, DESTINATION = "+18005551234", "+18005559876"


def wanted(**filters: Any) -> Wanted:
    return Wanted.of(CurrentCallsRequest(organization=ACME, **filters), FORMAT)


class Looking:
    """Shows calls from some moment on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[tuple[float, dict[str, Any]]] = []
        self.errors: list[Exception] = []
        self.takes = 0.0
        self.times: list[float] = []
        self.asked: list[tuple[float, float | None]] = []

    async def look(self, *, max_age: float, timeout: float | None) -> CurrentCalls:
        self.times.append(self.clock.now - 1000)
        self.asked.append((max_age, timeout))
        if self.errors:
            raise self.errors.pop()
        moment = self.clock.now
        self.clock.now += self.takes
        shown = [Call.from_payload(fields) for since, fields in self.calls if since <= moment - 1000]
        return CurrentCalls(tuple(shown))

    async def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    async def wait(self, timeout: float | None = 10.0, **filters: Any) -> Call:
        return await look_until_there(self.look, wanted(**filters), timeout, clock=self.clock, sleep=self.sleep)


@pytest.fixture
def looking(clock: Clock) -> Looking:
    return Looking(clock)


async def test_a_call_that_is_there(looking: Looking) -> None:
    """One look is enough, and the first that matches is the one."""
    looking.calls = [(0, {"transaction_id": each}) for each in "AB"]
    assert (await looking.wait()).transaction_id == "A"
    assert (await looking.wait(transaction_id="B")).transaction_id == "B"
    assert len(looking.times) == 2


@pytest.mark.parametrize("timeout", [10.0, None])
async def test_a_call_that_comes(looking: Looking, timeout: float | None) -> None:
    """It is seen soon after it has come; pauses grow from half a second to two, and answers do for others meanwhile."""
    looking.calls = [(0, {"transaction_id": "A"}), (7, {"transaction_id": "B", "external_unique_id": "mine"})]
    assert (await looking.wait(timeout, external_unique_id="mine")).transaction_id == "B"
    pauses = [later - earlier for earlier, later in zip(looking.times, looking.times[1:], strict=False)]
    assert pauses[0] == 0.5
    assert max(pauses) <= 2.0
    assert pauses == sorted(pauses)
    assert all(age < pause for (age, _), pause in zip(looking.asked, pauses, strict=False))
    assert (looking.asked[0][1] is None) == (timeout is None)


async def test_a_call_that_does_not_come(looking: Looking) -> None:
    """After the timeout comes TimeoutError, not before, and no look lasts longer."""
    with pytest.raises(TimeoutError, match="within 10 s"):
        await looking.wait(transaction_id="A")
    assert looking.clock.now == pytest.approx(1010.0)
    assert all(
        timeout <= 10 - time + 1e-6 for time, (_, timeout) in zip(looking.times, looking.asked, strict=True) if timeout
    )


@pytest.mark.parametrize("took", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("timeout", [0.2, 2.0, 10.0, 11.3])
async def test_a_call_that_comes_in_the_last_pause(looking: Looking, timeout: float, took: float) -> None:
    """It is seen: the last look comes just before the end, leaves time for its answer, and takes no older one."""
    looking.takes = took
    looking.calls = [(max(0.0, timeout - max(0.06, 2.1 * took)), {"transaction_id": "A"})]
    assert (await looking.wait(timeout)).transaction_id == "A"
    for (earlier, later), (age, _) in zip(pairwise(looking.times), looking.asked[1:], strict=True):
        assert 0 < age < later - earlier


@pytest.mark.parametrize("timeout", [0, 0.0])
async def test_no_time_at_all(looking: Looking, timeout: float) -> None:
    """A timeout of nothing is over at once."""
    with pytest.raises(TimeoutError):
        await looking.wait(timeout)


async def test_what_passes_is_waited_out(looking: Looking) -> None:
    """Failures that may pass do not end the waiting; the last is the cause of a TimeoutError."""
    looking.calls = [(0, {"transaction_id": "A"})]
    looking.errors = [ServerError("HTTP 500"), ConnectionLostError("lost")]
    assert (await looking.wait()).transaction_id == "A"
    looking.errors = [ServerError("HTTP 500")] * 100
    with pytest.raises(TimeoutError) as caught:
        await looking.wait()
    assert isinstance(caught.value.__cause__, ServerError)


async def test_what_does_not_pass_is_raised(looking: Looking) -> None:
    """A wrong token will not be right in ten seconds."""
    looking.errors = [AuthenticationError("HTTP 401")]
    with pytest.raises(AuthenticationError):
        await looking.wait()


@pytest.mark.parametrize(
    ("caller", "destination", "expected"),
    [
        (CALLER, DESTINATION, True),
        ("800-555-1234", "(800) 555-9876", True),
        ("18005551234", "+1 800 555 9876", True),
        (CALLER, "+18005559877", False),
        ("+18005551235", DESTINATION, False),
        (None, DESTINATION, False),
        ("", DESTINATION, False),
        (CALLER, "800-555-9876x123", False),
        ("anonymous", DESTINATION, False),
    ],
)
def test_numbers_match_in_any_format(caller: str | None, destination: str, expected: bool) -> None:
    """Records hold numbers in several forms; both numbers count."""
    call = Call.from_payload({"calling_phone_number": caller, "destination_phone_number": destination})
    for asked in (CALLER, "800.555.1234"):
        assert wanted(calling_phone_number=asked, destination_phone_number=DESTINATION).matches(call) is expected


def test_what_is_no_number_is_refused() -> None:
    """A malformed number is refused before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        wanted(calling_phone_number="12", destination_phone_number=DESTINATION)
    assert caught.value.parameter == "calling_phone_number"


def test_all_filters_count() -> None:
    """A call must match every filter that is given."""
    call = Call.from_payload({"transaction_id": "A", "external_unique_id": "mine"})
    assert wanted(transaction_id="A", external_unique_id="mine").matches(call)
    assert not wanted(transaction_id="A", external_unique_id="other").matches(call)
    assert not wanted(transaction_id="B", external_unique_id="mine").matches(call)
