"""Ways to fetch the calls of an organization. Each takes a URL and yields a function that makes one find.

Hand-written contenders are short, the way people write them. Ours has all its safeguards on; the others have none.
"""

# ruff: noqa: PLC0415 - skip a contender that is not installed

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any

import aiohttp
import fields as fields_of_a_call
import orjson
from yarl import URL

from calls_in_progress_async import CallsInProgressClient, CurrentCalls, Organization, RateLimit

Find = Callable[[], Awaitable[Any]]
PATH = "/api/2022-08-01/calls_in_progress/current_calls.json"
PARAMETERS = {"id": "25", "organization_type": "advertiser"}
TOKEN = "a-token-of-the-usual-length-0123456789"
HEADERS = {"Authorization": TOKEN, "Accept": "application/json"}
ADVERTISER = Organization.advertiser(25)
PLENTY = 1_000_000
"""Requests per second of every limiter, so many that no request waits."""


@asynccontextmanager
async def raw_socket(url: str, at_once: int) -> AsyncIterator[Find]:
    """Write a prepared request to asyncio streams and parse with orjson: the floor of any client."""
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
    """Send with aiohttp, everything prepared beforehand, and leave the body as bytes."""
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
    """Send with aiohttp and parse with orjson, the way people write it."""
    async with aiohttp.ClientSession() as session:

        async def find() -> Any:
            async with session.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                return orjson.loads(await response.read())

        yield find


@asynccontextmanager
async def diy(url: str, at_once: int) -> AsyncIterator[Find]:
    """Combine aiohttp_retry, aiolimiter and ``.json()``."""
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
    """Combine tenacity's AsyncRetrying, aiolimiter, aiohttp and orjson."""
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
async def _httpx(library: Any, url: str) -> AsyncIterator[Find]:
    limits = library.Limits(max_connections=100, max_keepalive_connections=100)
    async with library.AsyncClient(limits=limits, timeout=None) as client:

        async def find() -> Any:
            response = await client.get(url + PATH, params=PARAMETERS, headers=HEADERS)
            return orjson.loads(response.content)

        yield find


@asynccontextmanager
async def httpx_client(url: str, at_once: int) -> AsyncIterator[Find]:
    """Send with httpx, parse with orjson."""
    import httpx

    async with _httpx(httpx, url) as find:
        yield find


@asynccontextmanager
async def httpx2_client(url: str, at_once: int) -> AsyncIterator[Find]:
    """Send with httpx2, parse with orjson."""
    import httpx2

    async with _httpx(httpx2, url) as find:
        yield find


@cache
def pydantic_body() -> Any:
    """Make a pydantic model of a body, with the same fields as a call and its custom data as a dict."""
    from pydantic import Field, create_model

    fields: dict[str, Any] = dict.fromkeys(fields_of_a_call.TEXTS, (str | None, None))
    fields |= dict.fromkeys(fields_of_a_call.TIMES, (datetime | None, None))
    fields[fields_of_a_call.KEYPRESSES] = (str | None, Field(default=None, alias=fields_of_a_call.KEYPRESSES_IN_JSON))
    fields[fields_of_a_call.FLAG] = (bool | None, None)
    fields["custom_data"] = (dict[str, Any] | None, None)
    call = create_model("Call", **fields)
    return create_model("Body", current_calls=(list[call], ...))  # type: ignore[valid-type]


def read_every_field_of_models(body: Any) -> None:
    """Read each field of each pydantic model, each custom value and the demographics."""
    for call in body.current_calls:
        fields_of_a_call.read_all(call)
        for name, field in (call.custom_data or {}).items():
            if name != "demographics_data":
                field["value"]


@asynccontextmanager
async def pydantic_read(url: str, at_once: int) -> AsyncIterator[Find]:
    """Send with aiohttp, decode into pydantic models, and read every field of every call."""
    model = pydantic_body()
    async with aiohttp.ClientSession() as session:

        async def find() -> Any:
            async with session.get(url + PATH, params=PARAMETERS, headers=HEADERS) as response:
                body = model.model_validate_json(await response.read())
            read_every_field_of_models(body)
            return body

        yield find


def our_client(url: str, **settings: Any) -> CallsInProgressClient:
    """Make our client with a rate limit, a deadline, an attempt timeout and retries."""
    return CallsInProgressClient(token=TOKEN, base_url=url, rate_limit=RateLimit(rate=PLENTY), **settings)


@asynccontextmanager
async def ours(url: str, at_once: int) -> AsyncIterator[Find]:
    """Call `client.find` with rate limit, deadline, timeouts, retries, checks and records."""
    async with our_client(url) as client:

        async def find() -> Any:
            return await client.find(ADVERTISER)

        yield find


def read_every_field(calls: CurrentCalls) -> None:
    """Read each field of each call, each custom value and the demographics."""
    for call in calls:
        fields_of_a_call.read_all(call)
        for field in (call.custom_data or {}).values():
            field.value  # noqa: B018 - reading is the measured work
        call.demographics_data  # noqa: B018


@asynccontextmanager
async def ours_read(url: str, at_once: int) -> AsyncIterator[Find]:
    """Call `client.find` and read every field of every call, custom data included."""
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
    "httpx + orjson": httpx_client,
    "httpx2 + orjson": httpx2_client,
    "aiohttp + pydantic, every field read": pydantic_read,
    "ours": ours,
    "ours, every field read": ours_read,
}
OURS, PLAIN, DIY = "ours", "plain: aiohttp + orjson", "DIY: aiohttp_retry + aiolimiter"
OURS_READ, PYDANTIC_READ = "ours, every field read", "aiohttp + pydantic, every field read"
SLOW = ("httpx + orjson", "httpx2 + orjson")
"""Contenders with a tenth of the repetitions."""
