"""The fixtures of the plugin, used as a user's tests use them."""

from __future__ import annotations

import asyncio
import logging
import warnings
from pathlib import Path

import pytest

from calls_in_progress_async import CallsInProgressClient, Organization, clock
from calls_in_progress_async.testing import PrivacyCheck, VirtualClock, play
from calls_in_progress_async.testing.fixture_sandbox import FixtureSandbox

ACME = Organization.advertiser(2)
NUMBER = "+18055550142"


async def test_the_client_is_set_up_for_the_sandbox(
    calls_in_progress_client: CallsInProgressClient, calls_in_progress_sandbox: FixtureSandbox
) -> None:
    """A scripted call is the only one."""
    made = calls_in_progress_sandbox.start_call(ACME)
    assert [call.transaction_id for call in await calls_in_progress_client.find(ACME)] == [made]


@pytest.mark.calls_in_progress_sandbox(organizations=2, latency=0.25)
@pytest.mark.calls_in_progress_client(timeout=300)
@pytest.mark.calls_in_progress_clock(seed=3)
class TestAnHour:
    """Markers of a class and of a test add up."""

    @pytest.mark.calls_in_progress_sandbox(latency=0.5)
    async def test_takes_no_time(
        self,
        calls_in_progress_sandbox: FixtureSandbox,
        calls_in_progress_client: CallsInProgressClient,
        calls_in_progress_clock: VirtualClock,
    ) -> None:
        """A watch of an hour over real sockets ends at once, and the clocks have moved by an hour."""
        assert (len(calls_in_progress_sandbox.organizations), calls_in_progress_sandbox.latency) == (2, 0.5)
        play(calls_in_progress_sandbox, ACME, "starts at 0", "ends at 3600")
        began, unix_time = calls_in_progress_clock.now, clock.unix_time()
        async with calls_in_progress_client.watch([ACME], interval=60) as watch:
            assert [(await anext(watch)).kind for _ in range(2)] == ["call_started", "call_ended"]
        assert 3600 <= calls_in_progress_clock.now - began < 3700
        assert clock.unix_time() - unix_time == pytest.approx(calls_in_progress_clock.now - began)


async def test_what_is_private_stays_private(
    assert_private: PrivacyCheck,
    calls_in_progress_sandbox: FixtureSandbox,
    calls_in_progress_client: CallsInProgressClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The token, numbers and demographics are marked; output, warnings, logs and files are read."""
    people = {"demographics_data": {"display_name_data_append": "Wei Lindqvist", "carrier_data_append": "Carrier One"}}
    call = calls_in_progress_sandbox.start_call(ACME, calling_phone_number=NUMBER, custom_data=people)
    calls_in_progress_sandbox.change_call(ACME, call, calling_phone_number="+18055550143")
    calls_in_progress_sandbox.end_call(ACME, call)
    calls_in_progress_sandbox.plan_call(ACME, 9, "start", "B", calling_phone_number="+18055550144", custom_data=[])
    calls_in_progress_sandbox.plan_call(ACME, 9, "end", "B", calling_phone_number=None)
    marked = ["+18055550142", "Wei Lindqvist", "+18055550143", "+18055550144"]
    assert calls_in_progress_sandbox.private_values() == [calls_in_progress_sandbox.token, *marked]
    (tmp_path / "log.txt").write_text("Carrier One")
    logging.getLogger("app").info("all is well")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn("all is well", stacklevel=1)
    print("all is well")
    assert capsys.readouterr().out == "all is well\n"
    assert assert_private.leaks() == []


@pytest.mark.calls_in_progress_sandbox(calls_per_organization=3, mean_call_seconds=60)
async def test_callers_of_calls_that_have_ended_are_marked(
    calls_in_progress_sandbox: FixtureSandbox,
    calls_in_progress_client: CallsInProgressClient,
    calls_in_progress_clock: VirtualClock,
) -> None:
    """Simulated calls come and go; every call that a response has shown stays private."""
    seen = await calls_in_progress_client.find(ACME)
    await asyncio.sleep(3600)
    await calls_in_progress_client.update(
        ACME, transaction_id=(await calls_in_progress_client.find(ACME))[0].transaction_id, custom_data={"a": "b"}
    )
    shown = [call.calling_phone_number for call in (*seen, *(await calls_in_progress_client.find(ACME)))]
    assert len(shown) > 3
    assert not {*shown} - {*calls_in_progress_sandbox.private_values()}


def test_values_of_the_test_are_marked(assert_private: PrivacyCheck) -> None:
    """The check works in a synchronous test, without a sandbox."""
    assert_private.mark("secret value")
    logging.getLogger("app").info("all is well")
    assert assert_private.leaks() == []


def test_a_synchronous_test_is_refused(request: pytest.FixtureRequest) -> None:
    """The message says what to write."""
    with pytest.raises(pytest.fail.Exception, match="needs an asynchronous test: write `async def test_a_sync"):
        request.getfixturevalue("calls_in_progress_sandbox")
