"""Logs tell of faults with their facts, say nothing while all is well, and hold no secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from typing import Any

import pytest
from timing import passes
from transport.pipelines import FIND, rig, write
from watch.scripted_calls import ACME, ScriptedCalls, call

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, Organization, RateLimit, RetryPolicy, ServerError
from calls_in_progress_async.sandbox import SandboxServer
from calls_in_progress_async.testing import status, virtual_clock

PACKAGE = "calls_in_progress_async"


def records_of(caplog: pytest.LogCaptureFixture, *script: Any, request: Any = FIND, **settings: Any) -> list[Any]:
    caplog.set_level(logging.DEBUG, "calls_in_progress_async")

    async def main() -> None:
        it = rig(*script, **settings)
        await asyncio.gather(it.go(request), it.go(request))

    virtual_clock.run(main)
    return caplog.records


def test_nothing_is_logged_while_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    """At any level; a wait of up to a second is well."""
    assert records_of(caplog, 200, rate_limit=RateLimit(rate=1, burst=1)) == []


def test_a_retry_is_logged_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    """In the text, and as attributes of the record."""
    record, _ = records_of(caplog, 500, 500, 200)
    assert record.getMessage() == "Retrying find in 0.25 s: attempt 1 ended with HTTP 500"
    assert (record.operation, record.organization, record.attempt, record.delay, record.status, record.error) == (
        *("find", "advertiser:25", 1, 0.25, 500, None),
    )


def test_a_wait_of_more_than_a_second_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its length."""
    (record,) = records_of(caplog, 200, rate_limit=RateLimit(rate=0.5, burst=1))
    assert record.getMessage() == "Waited 2 s for the rate limit before find"
    assert (record.levelno, record.delay) == (logging.INFO, pytest.approx(2.0))


@pytest.mark.parametrize(("headers", "said"), [({}, "absent"), ({"Retry-After": "2"}, "2 s")])
def test_throttling_is_a_warning(headers: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the server's Retry-After."""
    records = records_of(caplog, status(429, headers=headers), 200)
    (record,) = [each for each in records if each.levelno == logging.WARNING]
    assert record.getMessage() == f"Throttled: HTTP 429 for find, Retry-After {said}"


def test_no_log_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the written values, at any level."""
    tokens = iter(["old-secret", "new-secret"])
    records = records_of(
        caplog,
        *(401, 429, sdk.ConnectionLostError("x"), 500, 202),
        request=write(custom_data={"Caller": "+15305551212"}),
        token=lambda _: next(tokens),
        rate_limit=RateLimit(rate=0.1, burst=1),
    )
    text = "".join(repr(vars(record)) + record.getMessage() for record in records)
    assert len(records) > 5
    for secret in ("secret", "530555", "Caller"):
        assert secret not in text


def test_a_spent_budget_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """With the failed attempt."""
    policy = RetryPolicy(budget=1, organization_budget=1, budget_refill=0.0)
    *_, record = records_of(caplog, 500, retry=policy)
    assert record.getMessage() == "No retry of find: the retry budget is spent"
    assert (record.levelno, record.attempt, record.status) == (logging.WARNING, 2, 500)


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Once each, with the error's class and status, and with the gap in seconds."""
    caplog.set_level(logging.DEBUG, PACKAGE)

    async def main() -> None:
        server = ScriptedCalls()
        server.calls[ACME] = [call("A")]
        async with server.watch(ACME, interval=5.0):
            await passes(6)
            server.errors[ACME] = ServerError("+15305551212", status=503)
            await passes(60)
            del server.errors[ACME]
            await passes(60)

    virtual_clock.run(main)
    failed, recovered = caplog.records
    assert failed.getMessage() == "Polls of advertiser:25 have begun to fail with ServerError"
    assert (failed.name, failed.levelno) == (f"{PACKAGE}.watch", logging.WARNING)
    assert (failed.organization, failed.error, failed.status) == ("advertiser:25", "ServerError", 503)
    assert recovered.getMessage().startswith("Polls of advertiser:25 succeed again after a gap of ")
    assert (recovered.levelno, recovered.organization) == (logging.INFO, "advertiser:25")
    assert 60 < recovered.gap < 130


def test_an_outage_of_a_removed_organization_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Its last poll may still be running."""

    async def main() -> None:
        server = ScriptedCalls()
        server.gates[ACME] = asyncio.Event()
        async with server.watch(ACME) as watch:
            await passes(1)
            server.errors[ACME] = 503
            watch.remove(ACME)
            server.gates[ACME].set()
            await passes(60)

    virtual_clock.run(main)
    assert caplog.records == []


CALLER = "+18055550123"
SECRETS = {
    "token": "lively-secret-token",
    "caller": CALLER[1:],
    "destination": "8665550199",
    "transaction id": "LIVELY-ID",
    "external id": "lively-external",
    "custom value": "gold member",
    "name": "Zebediah",
    "demographic": "55-64 years",
}


async def live(client: CallsInProgressClient, sandbox: SandboxServer, *, faults: bool) -> None:
    """Find, update, wait and watch for some minutes."""
    organization = Organization.advertiser(2)
    sandbox.start_call(
        organization,
        transaction_id=SECRETS["transaction id"],
        calling_phone_number=CALLER,
        destination_phone_number="+18665550199",
        first_name=SECRETS["name"],
        demographics_data={"age_range": SECRETS["demographic"]},
    )
    numbers = {"calling_phone_number": CALLER, "destination_phone_number": "866-555-0199"}
    async with client.watch([organization], interval=5.0) as watch:
        follower = asyncio.create_task(follow(watch))
        for kind in ("status", "disconnect", "truncate", "garbage", "hang", "disconnect-after"):
            for status in (429, 503, 401):
                if faults:
                    sandbox.fail_next(4, kind=kind, status=status, body=repr(SECRETS).encode())
                with contextlib.suppress(sdk.CallsInProgressError):
                    await client.find(organization, **numbers)
                with contextlib.suppress(sdk.CallsInProgressError):
                    await client.find(organization, max_age=1, external_unique_id=SECRETS["external id"])
                with contextlib.suppress(sdk.CallsInProgressError):
                    await client.update(
                        organization,
                        transaction_id=SECRETS["transaction id"],
                        new_external_unique_id=SECRETS["external id"],
                        custom_data={"tier": SECRETS["custom value"]},
                    )
                with contextlib.suppress(sdk.CallsInProgressError, TimeoutError):
                    await client.wait_for_call(organization, **numbers, timeout=3)
        await asyncio.sleep(60)
        follower.cancel()


async def follow(watch: sdk.Watch) -> None:
    async for event in watch:
        assert event.organization


def run_lively(*, faults: bool, **settings: Any) -> None:
    async def main() -> None:
        async with (
            SandboxServer(organizations=2, token=SECRETS["token"], rate_limit=50 if not faults else 2) as sandbox,
            CallsInProgressClient(base_url=sandbox.url, token=lambda _: SECRETS["token"], **settings) as client,
        ):
            await live(client, sandbox, faults=faults)

    virtual_clock.run(main)


def test_nothing_is_logged_at_info_in_a_lively_hour_without_faults(caplog: pytest.LogCaptureFixture) -> None:
    """Finds, updates, waits and polls are silent."""
    caplog.set_level(logging.INFO)
    run_lively(faults=False)
    assert [each for each in caplog.records if each.name.partition(".")[0] == PACKAGE] == []


def test_no_log_of_a_lively_hour_with_faults_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a message nor a fact of any logger at DEBUG has the token, a number, an id or a field of a call."""
    caplog.set_level(logging.DEBUG)
    run_lively(faults=True, rate_limit=RateLimit(rate=1, burst=1))
    records = caplog.records
    messages = [each.getMessage() for each in records if each.name.partition(".")[0] == PACKAGE]
    for said in ("Retrying", "Waited", "Throttled", "No retry", "begun to fail", "succeed again"):
        assert any(said in message for message in messages), said
    text = "".join(logging.Formatter().format(each) + repr(vars(each)) for each in records)
    assert [name for name, secret in SECRETS.items() if secret in text] == []


SILENT = """
import asyncio
from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.testing import ScriptedTransport

async def main():
    client = CallsInProgressClient(token="t", transport=ScriptedTransport(429), retry=RetryPolicy(max_attempts=1))
    async with client:
        try:
            await client.find(Organization.network(1))
        except Exception as error:
            print(type(error).__name__)

asyncio.run(main())
"""


def test_a_program_without_logging_gets_nothing_on_stderr() -> None:
    """Python prints warnings of a logger without a handler, so the package's logger has one."""
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("RateLimitedError\n", "")
