"""The test of a user's program, as short as the documentation says."""

from __future__ import annotations

import time

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.testing import ScriptedTransport, calls, make_call, run, status


def test_the_call_is_found_on_the_third_look() -> None:
    """One 503 and one 429 come in between; nobody waits, and the test takes less than 50 ms."""
    transport = ScriptedTransport(
        503, calls(), status(429, retry_after=2), calls(), calls(make_call(transaction_id="ABCD-1"))
    )

    async def screen_pop() -> str | None:
        async with CallsInProgressClient(token="any", transport=transport) as client:
            call = await client.wait_for_call(Organization.advertiser(25), transaction_id="ABCD-1")
            return call.calling_phone_number

    began = time.perf_counter()
    assert run(screen_pop) == "+18055550100"
    assert time.perf_counter() - began < 0.05
    transport.assert_done()
