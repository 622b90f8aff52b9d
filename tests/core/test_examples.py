"""Every example published by the vendor goes through the client unharmed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from raw_server import ACME, ONCE, TOKEN

from calls_in_progress_async import (
    AuthenticationError,
    Call,
    CallsInProgressClient,
    CurrentCallsRequest,
    UnexpectedResponseError,
    UpdateCallRequest,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat

DATA = Path(__file__).parent.parent / "data"
RESPONSES = sorted(DATA.rglob("*.response-200.json"))
PRINTED = sorted(DATA.rglob("*.as-published.txt"))
REQUESTS = sorted(DATA.rglob("*.request.json"))
STRICTNESS = pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
_FILTERS = {
    "phone_number": {"calling_phone_number": "+15559999999", "destination_phone_number": "855-559-5599"},
    "external_unique_id": {"external_unique_id": "mycalls00001"},
    "transaction_id": {"transaction_id": "ABCD1234-ABCD1234"},
}


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def files(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=label)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve the file for each request; the API version in the path is its number.

    The sandbox makes up calls. These are the vendor's own.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        number = int(request.path.split("/")[2][:4])
        path = [*RESPONSES, *PRINTED, *sorted(DATA.rglob("*.response-40*.json"))][number]
        status = re.search(r"response-(\d+)", path.name)
        assert status is not None
        return web.Response(status=int(status[1]), body=path.read_bytes(), content_type="application/json")

    runner = web.ServerRunner(web.Server(respond), shutdown_timeout=0.001)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def ask(url: str, path: Path, *, strict: bool) -> Any:
    number = [*RESPONSES, *PRINTED, *sorted(DATA.rglob("*.response-40*.json"))].index(path)
    async with CallsInProgressClient(
        token=TOKEN, base_url=url, api_version=f"{number:04}-01-01", strict=strict, retry=ONCE
    ) as client:
        if path.name.startswith("update"):
            return await client.update(ACME, transaction_id="ABCD1234", new_external_unique_id="mycalls00001")
        filters = next((each for name, each in _FILTERS.items() if f"by_{name}" in path.name), {})
        return await client.find(ACME, **filters)


def test_the_examples_are_there() -> None:
    """An empty folder would pass every test below."""
    assert (len(RESPONSES), len(PRINTED), len(REQUESTS)) == (33, 5, 12)


def payloads(path: Path) -> list[dict[str, Any]]:
    body = json.loads(path.read_bytes())
    (value,) = body.values()
    return value if isinstance(value, list) else [value]


def expected(value: Any) -> Any:
    return None if value == "" else value


def same(call: Call, payload: dict[str, Any]) -> None:
    """Check that every documented field is an attribute with the value of the JSON."""
    for key, value in payload.items():
        name = "keypresses" if key == "key presses" else key
        if key == "custom_data":
            continue
        read = getattr(call, name)
        if isinstance(read, datetime):
            assert read == datetime.fromisoformat(value)
            assert read.utcoffset() is not None
        else:
            assert read == expected(value), key


def same_custom_data(call: Call, custom: Any) -> None:
    fields = call.custom_data or {}
    if isinstance(custom, list):
        custom = {each["name"]: each for each in custom}
    custom = dict(custom or {})
    demographics = custom.pop("demographics_data", None)
    assert {name: (each.value, each.source) for name, each in fields.items()} == {
        name: (expected(each.get("value")), expected(each.get("source"))) for name, each in custom.items()
    }
    assert call.demographics_data == (
        None if demographics is None else {key: expected(value) for key, value in demographics.items()}
    )


@STRICTNESS
@files(RESPONSES)
async def test_a_published_response_is_read_whole(url: str, path: Path, strict: bool) -> None:
    """Each call keeps its payload, has no unknown or unreadable field, and each attribute has the value of the JSON."""
    found = await ask(url, path, strict=strict)
    calls = found.calls if path.name.startswith("update") else list(found)
    assert [call.raw for call in calls] == payloads(path)
    assert calls
    for call, payload in zip(calls, payloads(path), strict=True):
        assert call.problems == ()
        assert call.extra == {}
        same(call, payload)
        same_custom_data(call, payload.get("custom_data"))
    assert found.problems == ()
    assert [attempt.status for attempt in found.attempts] == [200]


@STRICTNESS
@files(PRINTED)
async def test_the_vendors_invalid_json_is_rejected_clearly(url: str, path: Path, strict: bool) -> None:
    """The vendor's invalid JSON raises UnexpectedResponseError with the reason, never an empty list."""
    with pytest.raises(UnexpectedResponseError, match=r"^HTTP 200: the body is not JSON$"):
        await ask(url, path, strict=strict)


@STRICTNESS
@files(sorted(DATA.rglob("*.response-404.json")))
async def test_the_published_404_of_a_find_means_no_calls(url: str, path: Path, strict: bool) -> None:
    """RecordNotFound in response to a find with a filter is an empty result."""
    assert list(await ask(url, path, strict=strict)) == []


@files(sorted(DATA.rglob("*.response-401.json")))
async def test_the_published_401_is_an_authentication_error(url: str, path: Path) -> None:
    """NotAuthorized is told in the error's text."""
    with pytest.raises(AuthenticationError, match="NotAuthorized"):
        await ask(url, path, strict=False)


@files(REQUESTS)
def test_a_published_request_body_is_what_is_sent(path: Path) -> None:
    """The body of an update equals the vendor's example."""
    published = json.loads(path.read_bytes())
    changes = published["call_in_progress"]
    custom = {each["name"]: each["value"] for each in changes.get("custom_data", [])}
    request = UpdateCallRequest(
        organization=ACME,
        transaction_id="ABCD1234-ABCD1234",
        new_external_unique_id=changes.get("external_unique_id"),
        custom_data=custom,
    )
    assert json.loads(request.wire(WireFormat()).body or b"") == published


def test_the_published_query_is_what_is_sent() -> None:
    """A find by phone number has the seed's parameters, in its order."""
    request = CurrentCallsRequest(organization=ACME, **_FILTERS["phone_number"])
    assert request.wire(WireFormat()).target == (
        "/api/2022-08-01/calls_in_progress/current_calls.json?id=25&organization_type=advertiser"
        "&calling_phone_number=%2B15559999999&destination_phone_number=%2B18555595599"
    )
