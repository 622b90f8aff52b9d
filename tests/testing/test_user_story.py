"""The test of a user's program, as short as the documentation says. benchmarks/story.py measures its time."""

from __future__ import annotations

from calls_in_progress_async import CallsInProgressClient, Organization
from calls_in_progress_async.testing import ScriptedTransport, calls, make_call, run, status


async def screen_pop(transport: ScriptedTransport) -> str | None:
    async with CallsInProgressClient(token="any", transport=transport) as client:
        return (await client.wait_for_call(Organization.advertiser(25), transaction_id="ABCD-1")).city


def test_the_call_is_found_on_the_third_look() -> None:
    """One 503 and one 429 come in between, and nobody waits."""
    call = make_call(transaction_id="ABCD-1", city="Boston")
    transport = ScriptedTransport(503, calls(), status(429, retry_after=2), calls(), calls(call))
    assert run(screen_pop(transport)) == "Boston"
    transport.assert_done()
