"""A scripted transport plays its script under a real client, and records the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, Organization, RetryPolicy
from calls_in_progress_async.testing import (
    ScriptedResponse,
    ScriptedTransport,
    SentRequest,
    UnexpectedRequestError,
    calls,
    hang,
    html,
    lost_after_write,
    make_call,
    refused,
    run,
    status,
    truncated,
)

ACME = Organization.advertiser(25)
ONCE = RetryPolicy(max_attempts=1)
CALL = make_call(transaction_id="ABCD-1")

Operation = Callable[[CallsInProgressClient], Awaitable[Any]]


async def find(client: CallsInProgressClient) -> Any:
    return await client.find(ACME)


async def update(client: CallsInProgressClient) -> Any:
    return await client.update(ACME, transaction_id="ABCD-1", custom_data={"note": "x"}, method="POST")


def play(transport: ScriptedTransport, operation: Operation = find, **settings: Any) -> Any:
    """Run one operation of a client in virtual time."""

    async def main() -> Any:
        async with CallsInProgressClient(token="secret", transport=transport, **settings) as client:
            return await operation(client)

    return run(main)


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        (500, sdk.ServerError, "HTTP 500"),
        (404, sdk.NotFoundError, "HTTP 404"),
        (401, sdk.AuthenticationError, "NotAuthorized"),
        (status(429, retry_after=3), sdk.RateLimitedError, "HTTP 429"),
        (status(403, body=b'{"errors": {"id": ["is invalid"]}}'), sdk.RequestRejectedError, "id"),
        (status(302, headers={"Location": "https://example.com"}), sdk.RedirectRefusedError, "HTTP 302"),
        (html(), sdk.UnexpectedResponseError, "not JSON"),
        (html("<html>", code=502), sdk.ServerError, "HTTP 502"),
        (refused(), sdk.ConnectionFailedError, "the script refuses it"),
        (lost_after_write(), sdk.ConnectionLostError, "drops it after the write"),
        (truncated(), sdk.ConnectionLostError, "cuts the body short"),
        (hang(), sdk.RequestTimeoutError, "10 s"),
    ],
)
def test_a_failure_is_the_clients_own_error(response: Any, error: type[Exception], text: str) -> None:
    """Each scripted failure raises the error of the real one."""
    with pytest.raises(error, match=text):
        play(ScriptedTransport(response), retry=ONCE)


@pytest.mark.parametrize(
    ("response", "applied"), [(refused(), False), (lost_after_write(), True), (truncated(), True), (hang(), True)]
)
def test_an_update_is_in_doubt_after_the_write(response: Any, applied: bool) -> None:
    """A refused connection is certain; everything later may have been applied."""
    with pytest.raises(sdk.TransportError) as caught:
        play(ScriptedTransport(response), update, retry=ONCE)
    assert caught.value.may_have_been_applied is applied


@pytest.mark.parametrize(("response", "count"), [(200, 0), (calls(), 0), (calls(CALL), 1), (calls({"a": 1}, CALL), 2)])
def test_calls_are_listed(response: Any, count: int) -> None:
    """A find returns the scripted calls, unknown fields included."""
    assert len(play(ScriptedTransport(response))) == count


def test_an_update_reads_an_empty_body() -> None:
    """A 202 has no body, as the API's own."""
    assert play(ScriptedTransport(202), update).calls == ()


def test_requests_are_recorded() -> None:
    """A test reads the operation, the query, the body, the token and the time of each request."""
    transport = ScriptedTransport(status(429, retry_after=7), calls(CALL, seconds=0.5))
    play(transport, update)
    first, second = transport.requests
    assert (first.operation, first.method, first.path) == (
        "update",
        "POST",
        "/api/2022-08-01/calls_in_progress.json",
    )
    assert first.query == {"id": "25", "organization_type": "advertiser", "transaction_id": "ABCD-1"}
    assert first.json == {"call_in_progress": {"custom_data": [{"name": "note", "value": "x"}]}}
    assert first.token == "secret"
    assert "secret" not in repr(first)
    assert second.time - first.time >= 7
    assert transport.closed
    transport.assert_done()


def test_a_function_chooses_the_response() -> None:
    """A function gets the request, at once or later; with repeat_last it responds to every request from then on."""
    live = {ACME: [CALL], Organization.network(7): [CALL, CALL]}
    opened = asyncio.Event()

    def listed(request: SentRequest) -> ScriptedResponse:
        return calls(*live[request.organization])

    async def refuse_later(request: SentRequest) -> int:
        await opened.wait()
        return 503

    async def find_both(client: CallsInProgressClient) -> list[int]:
        asyncio.get_running_loop().call_later(3, opened.set)
        return [len(await client.find(each)) for each in live]

    transport = ScriptedTransport(refuse_later, listed, repeat_last=True)
    assert play(transport, find_both, organization_type_case="capitalized") == [1, 2]
    assert transport.requests[1].time - transport.requests[0].time >= 3
    assert [str(each.organization) for each in transport.requests] == ["advertiser:25"] * 2 + ["network:7"]


def test_a_get_has_no_body() -> None:
    """The field is None, and not an empty text."""
    transport = ScriptedTransport(200)
    play(transport)
    assert transport.requests[0].json is None


def test_an_unexpected_request_is_readable() -> None:
    """The message counts the script and lists the requests; the client does not retry."""
    transport = ScriptedTransport(200)

    async def two(client: CallsInProgressClient) -> None:
        await client.find(ACME)
        await client.find(ACME, transaction_id="ABCD-1")

    with pytest.raises(UnexpectedRequestError) as caught:
        play(transport, two)
    line = "GET current_calls.json for advertiser:25"
    assert str(caught.value) == (
        f"unexpected request: the script has 1 responses, add one; requests:\n  1. {line}\n  2. {line}"
    )
    assert isinstance(caught.value, AssertionError)


def test_unused_responses_fail_the_test() -> None:
    """assert_done says how many requests are missing."""
    transport = ScriptedTransport(200)
    transport.add(503)
    assert transport.unused == 2
    with pytest.raises(AssertionError, match=r"^expected 2 requests, got 0$"):
        transport.assert_done()
    play(transport)
    assert transport.unused == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ScriptedTransport("503"), "script must be a status, an exception or a response"),
        (lambda: ScriptedTransport(True), "script must be a status, an exception or a response"),
        (lambda: ScriptedTransport(sdk.ServerError), "script must be a status, an exception or a response"),
        (lambda: play(ScriptedTransport(lambda _: None)), "script must be a status, an exception or a response"),
        (lambda: ScriptedTransport(99), "code must be a status from 200 to 599"),
        (lambda: status(True), "code must be a status from 200 to 599"),
        (lambda: status("503"), "code must be a status from 200 to 599"),
        (lambda: calls(seconds=-1), "seconds"),
        (lambda: make_call(start_time="yesterday"), "start_time"),
    ],
)
def test_a_mistake_is_named(make: Callable[[], Any], text: str) -> None:
    """A wrong script fails when it is written, and a wrong response of a function at the request."""
    with pytest.raises(sdk.InvalidRequestError, match=text):
        make()


def test_a_call_has_the_fields_of_the_test() -> None:
    """Fields replace the defaults, None leaves a field out, and custom data has a short form."""
    made = make_call(custom_data={"channel": "SEM", "site": {"value": "x", "source": "y"}}, city="Austin", new=1)
    assert (made.call_status, made.city, made.extra) == ("bridged", "Austin", {"new": 1})
    assert (made.custom_value("channel"), made.custom_value("site")) == ("SEM", "x")
    assert make_call(calling_phone_number=None).calling_phone_number is None
    assert play(ScriptedTransport(calls(made)))[0] == made


def test_headers_are_found_in_any_case() -> None:
    """A transport's headers are a mapping without regard to case."""

    async def main() -> Any:
        request = sdk.WireRequest(method="GET", target="/")
        return await ScriptedTransport(status(503, retry_after=1)).send(request, "t", sdk.SendState())

    headers = run(main).headers
    assert (headers["RETRY-AFTER"], list(headers), len(headers)) == ("1", ["retry-after"], 1)


def test_an_exception_is_raised_anew_each_time() -> None:
    """A failure of the connection is retried, and the attempts' tracebacks do not add up in the script's exception."""
    lost = sdk.ConnectionLostError("the cable was cut")
    transport = ScriptedTransport(lost, lost, calls())
    assert len(play(transport)) == 0
    assert lost.__traceback__ is None
    with pytest.raises(sdk.ConnectionLostError, match="The transport failed: LookupError"):
        play(ScriptedTransport(LookupError("a bug"), repeat_last=True))


def test_the_last_response_can_be_repeated() -> None:
    """Further requests get the last response; responses added later come next."""

    async def main() -> None:
        transport = ScriptedTransport(503, calls(make_call()), repeat_last=True)
        async with CallsInProgressClient(token="t", transport=transport) as client:
            assert [len(await client.find(ACME)) for _ in range(3)] == [1, 1, 1]
            assert (len(transport.requests), transport.unused) == (4, 0)
            transport.assert_done()
            transport.add(calls(), calls(make_call()))
            assert [len(await client.find(ACME)) for _ in range(1)] == [0]
            with pytest.raises(AssertionError, match=r"^expected 6 requests, got 5"):
                transport.assert_done()

    run(main)


def test_nothing_cannot_be_repeated() -> None:
    """An empty script has no response."""
    with pytest.raises(UnexpectedRequestError, match="the script has 0 responses, add one"):
        play(ScriptedTransport(repeat_last=True))
