"""The ways to ask for the calls of an organization: each gives, for a URL, a function that makes one find.

What is written by hand is kept short, as people write it; what is ours has every safeguard on that the others lack.
"""

# ruff: noqa: PLC0415 - a contender that is not installed is left out

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import aiohttp
import msgspec
import orjson
from yarl import URL

from calls_in_progress_async import Call, CallsInProgressClient, CurrentCalls, Organization, RateLimit

Find = Callable[[], Awaitable[Any]]
PATH = "/api/2022-08-01/calls_in_progress/current_calls.json"
PARAMETERS = {"id": "25", "organization_type": "advertiser"}
TOKEN = "a-token-of-the-usual-length-0123456789"
HEADERS = {"Authorization": TOKEN, "Accept": "application/json"}
ADVERTISER = Organization.advertiser(25)
PLENTY = 1_000_000
"""Requests a second that a limiter allows: so many that it never waits."""


@asynccontextmanager
async def raw_socket(url: str, at_once: int) -> AsyncIterator[Find]:
    """asyncio streams, a prepared request and orjson: what any client costs at the least."""
    host, port = url.removeprefix("http://").split(":")
    request = f"GET {PATH}?id=25&organization_type=advertiser HTTP/1.1\r\nHost: {host}\r\n".encode()
    request += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode() + b"\r\n"
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def find() -> Any:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port), limit=2**20)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head[head.rindex(b"Content-Length: ") + 16 : -4])
        body = await reader.readexactly(length)
        idle.append((reader, writer))
        return orjson.loads(body)

    yield find
    for _, writer in idle:
        writer.close()


@asynccontextmanager
async def aiohttp_tuned(url: str, at_once: int) -> AsyncIterator[Find]:
    """aiohttp with all that can be prepared prepared, and the body left as bytes."""
    target = URL(f"{url}{PATH}?id=25&organization_type=advertiser", encoded=True)
    connector, jar = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
    options: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(), "allow_redirects": False}
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, headers=HEADERS) as session:

        async def find() -> Any:
            async with session.get(target, **options) as response:
                return await response.read()

        yield find


@asynccontextmanager
async def plain(url: str, at_once: int) -> AsyncIterator[Find]:
    """aiohttp and orjson, as people write it."""
    async with aiohttp.ClientSession() as session:

        async def find() -> Any:
            async with session.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                return orjson.loads(await response.read())

        yield find


@asynccontextmanager
async def diy(url: str, at_once: int) -> AsyncIterator[Find]:
    """aiohttp_retry, aiolimiter and ``.json()``."""
    from aiohttp_retry import ExponentialRetry, RetryClient
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(PLENTY, 1)
    options = ExponentialRetry(attempts=3, statuses={429, 500, 502, 503, 504})
    async with RetryClient(raise_for_status=False, retry_options=options) as client:

        async def find() -> Any:
            async with limiter, client.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                return await response.json()

        yield find


@asynccontextmanager
async def tenacity_stack(url: str, at_once: int) -> AsyncIterator[Find]:
    """tenacity's AsyncRetrying, aiolimiter, aiohttp and orjson."""
    from aiolimiter import AsyncLimiter
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    limiter = AsyncLimiter(PLENTY, 1)
    passing = retry_if_exception_type(aiohttp.ClientError)
    wait = wait_random_exponential(0.25, max=20)
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def attempt() -> Any:
            async with limiter, session.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                return orjson.loads(await response.read())

        async def find() -> Any:
            return await AsyncRetrying(stop=stop_after_attempt(3), wait=wait, retry=passing)(attempt)

        yield find


@asynccontextmanager
async def httpx_client(url: str, at_once: int) -> AsyncIterator[Find]:
    """httpx and orjson."""
    import httpx

    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:

        async def find() -> Any:
            response = await client.get(url + PATH, params=PARAMETERS, headers=HEADERS)
            return orjson.loads(response.content)

        yield find


@cache
def pydantic_body() -> Any:
    """A pydantic model of a body, with the fields of `Call`."""
    from pydantic import Field, create_model

    fields: dict[str, Any] = {
        each.name.strip("_"): (each.type, Field(default=None, alias=each.encode_name))
        for each in msgspec.structs.fields(Call)
        if each.name not in ("_origin", "_custom_data")
    }
    call = create_model("Call", **fields)
    return create_model("Body", current_calls=(list[call], ...))  # type: ignore[valid-type]


@asynccontextmanager
async def with_pydantic(url: str, at_once: int) -> AsyncIterator[Find]:
    """aiohttp and a pydantic model of the same fields."""
    model = pydantic_body()
    async with aiohttp.ClientSession() as session:

        async def find() -> Any:
            async with session.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                return model.model_validate_json(await response.read())

        yield find


def our_client(url: str, **settings: Any) -> CallsInProgressClient:
    """Our client with a rate limit, a deadline, a timeout an attempt and retries."""
    return CallsInProgressClient(token=TOKEN, base_url=url, rate_limit=RateLimit(rate=PLENTY), **settings)


@asynccontextmanager
async def ours(url: str, at_once: int) -> AsyncIterator[Find]:
    """`client.find`: rate limit, deadline, timeout, retries, checks, records."""
    async with our_client(url) as client:

        async def find() -> Any:
            return await client.find(ADVERTISER)

        yield find


FIELDS = [each.name for each in msgspec.structs.fields(Call) if not each.name.startswith("_")]


def read_every_field(calls: CurrentCalls) -> None:
    """Look at all there is: each field, the custom data and what is known of the caller."""
    for call in calls:
        for name in FIELDS:
            getattr(call, name)
        call.custom_data, call.demographics_data, call.problems  # noqa: B018


@asynccontextmanager
async def ours_read(url: str, at_once: int) -> AsyncIterator[Find]:
    """The same, and every field of every call looked at, custom data included."""
    async with our_client(url) as client:

        async def find() -> Any:
            calls = await client.find(ADVERTISER)
            read_every_field(calls)
            return calls

        yield find


ALL: dict[str, Callable[[str, int], Any]] = {
    "raw socket + orjson (floor)": raw_socket,
    "aiohttp, tuned, body only": aiohttp_tuned,
    "plain: aiohttp + orjson": plain,
    "DIY: aiohttp_retry + aiolimiter": diy,
    "tenacity + aiolimiter + aiohttp": tenacity_stack,
    "aiohttp + pydantic": with_pydantic,
    "httpx + orjson": httpx_client,
    "ours": ours,
    "ours, every field read": ours_read,
}
OURS, PLAIN, DIY = "ours", "plain: aiohttp + orjson", "DIY: aiohttp_retry + aiolimiter"
