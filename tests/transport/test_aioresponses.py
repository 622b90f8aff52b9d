"""Users who test with aioresponses pass ``session=``; each mocked response then needs the `MockedResponse` below.

aioresponses 0.7.9 alone does not work with aiohttp 3.14: its responses lack the ``stream_writer`` aiohttp requires
since. With ``response_class=MockedResponse`` for each URL it works. A client without ``session=`` sends through
aiohttp's pool, and aioresponses does not replace the pool; pass ``transport=`` to test without any HTTP library.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from raw_server import TOKEN, RawServer

from calls_in_progress_async import (
    CallNotFoundError,
    CallsInProgressClient,
    CallsInProgressError,
    Organization,
    RetryPolicy,
    ServerError,
)

ACME = Organization.advertiser(25)
CALLS = re.compile(r"^https://invoca\.net/api/2022-08-01/calls_in_progress/current_calls\.json\?")
CALL = re.compile(r"^https://invoca\.net/api/2022-08-01/calls_in_progress\.json\?")


class MockedResponse(aiohttp.ClientResponse):
    """A response as aioresponses makes it, with the stream writer that aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"stream_writer": Mock(output_size=0), **settings})


@pytest.fixture
def invoca() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def client() -> AsyncIterator[CallsInProgressClient]:
    async with aiohttp.ClientSession() as session, CallsInProgressClient(token=TOKEN, session=session) as client:
        yield client


# The application under test.


async def hang_up(client: CallsInProgressClient, transaction_id: str) -> str:
    """Note a disposition on a call, if it is still there."""
    for call in await client.find(ACME, transaction_id=transaction_id):
        await client.update(
            ACME, transaction_id=call.transaction_id, custom_data={"Call Disposition": "CUSTOMER_HANGUP"}
        )
        return f"{call.advertiser_name}: noted"
    return "gone"


async def test_an_application_that_finds_and_updates(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """The mock responds to both requests and keeps them."""
    payload = {"current_calls": [{"transaction_id": "ABCD1234", "advertiser_name": "Acme"}]}
    invoca.get(CALLS, payload=payload, response_class=MockedResponse)
    invoca.put(CALL, status=202, response_class=MockedResponse)
    assert await hang_up(client, "ABCD1234") == "Acme: noted"
    (method, url), (put, _) = invoca.requests
    assert (method, put, url.query["transaction_id"]) == ("GET", "PUT", "ABCD1234")


async def test_an_application_that_finds_nothing(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """The mock responds with an empty list."""
    invoca.get(CALLS, payload={"current_calls": []}, response_class=MockedResponse)
    assert await hang_up(client, "ABCD1234") == "gone"


async def test_an_application_whose_call_has_ended(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """The mock responds 404 to an update, as the server does after the call."""
    invoca.get(CALLS, payload={"current_calls": [{"transaction_id": "ABCD1234"}]}, response_class=MockedResponse)
    invoca.put(CALL, status=404, payload={"error": "RecordNotFound"}, response_class=MockedResponse)
    with pytest.raises(CallNotFoundError):
        await hang_up(client, "ABCD1234")


async def test_an_application_that_meets_a_failing_server(invoca: aioresponses) -> None:
    """The mock sees every retry."""
    invoca.get(CALLS, status=503, repeat=True, response_class=MockedResponse)
    async with aiohttp.ClientSession() as session:  # noqa: SIM117
        async with CallsInProgressClient(token=TOKEN, session=session, retry=RetryPolicy(initial=0)) as client:
            with pytest.raises(ServerError) as raised:
                await hang_up(client, "ABCD1234")
    assert len(raised.value.attempts) == 3


async def test_aioresponses_alone_does_not_work(invoca: aioresponses, client: CallsInProgressClient) -> None:
    """Without `MockedResponse` a find raises, so the workaround can go when this test fails."""
    invoca.get(CALLS, payload={"current_calls": []}, repeat=True)
    with pytest.raises(CallsInProgressError, match="TypeError"):
        await client.find(ACME)


async def test_a_client_without_a_session_is_not_mocked(invoca: aioresponses) -> None:
    """The pool sends requests over the network, though aiohttp's sessions are replaced."""
    invoca.get(re.compile(".*"), payload={"current_calls": [{}]}, response_class=MockedResponse)
    async with RawServer() as server, server.client() as client:
        assert (len(await client.find(ACME)), len(server.seen)) == (0, 1)


async def test_a_mock_that_begins_and_ends_while_a_client_is_open(invoca: aioresponses) -> None:
    """The mock responds from when it begins to when it ends; before and after, the network does."""
    invoca.stop()
    async with RawServer() as server, aiohttp.ClientSession() as session, server.client(session=session) as client:
        await client.find(ACME)
        invoca.start()
        invoca.get(re.compile(".*"), payload={"current_calls": [{}]}, response_class=MockedResponse)
        assert (len(await client.find(ACME)), len(server.seen)) == (1, 1)
        invoca.stop()
        assert (len(await client.find(ACME)), len(server.seen)) == (0, 2)
        invoca.start()


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_mocked_loss_leaves_an_update_in_doubt(
    method: Any, invoca: aioresponses, client: CallsInProgressClient
) -> None:
    """The mock tells nothing about sending, so an update that failed may have been applied."""
    getattr(invoca, method.lower())(CALL, exception=aiohttp.ServerDisconnectedError(), repeat=True)
    with pytest.raises(CallsInProgressError) as raised:
        await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method, timeout=0.5)
    assert raised.value.may_have_been_applied
