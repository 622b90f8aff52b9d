"""The public API as a user would write it; mypy and pyright read this, nobody runs it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from aiohttp import ClientSession

from calls_in_progress_async import (
    Attempt,
    AttemptInfo,
    Call,
    CallsInProgressClient,
    CallsInProgressError,
    CallUpdate,
    CurrentCalls,
    CurrentCallsRequest,
    CustomDataField,
    Endpoint,
    Instrumentation,
    InvalidRequestError,
    OperationInfo,
    Organization,
    Problem,
    RateLimit,
    RateLimitedError,
    RequestRejectedError,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    SendState,
    ServerError,
    TokenSource,
    Transport,
    UnexpectedResponseError,
    UpdateCallRequest,
    WireRequest,
    WireResponse,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat


def token_of(organization: Organization) -> str:
    return f"token of {organization.type} {organization.id}"


async def token_later(organization: Organization) -> str:
    return token_of(organization)


def clients(session: ClientSession) -> Sequence[CallsInProgressClient]:
    return [
        CallsInProgressClient(token="secret"),
        CallsInProgressClient(token=token_of, network="acme", organization_type_case="capitalized"),
        CallsInProgressClient(token=token_later, session=session),
        CallsInProgressClient(
            token="secret",
            base_url="https://invoca.net",
            api_version="2022-08-01",
            default_region="GB",
            validate_phone_numbers="valid",
            strict=True,
            retry=RetryPolicy(max_attempts=5, initial=0.1, maximum=5, multiplier=3, max_retry_after=60),
            rate_limit=RateLimit(rate=10, burst=20),
            timeout=None,
            attempt_timeout=5,
            connect_timeout=1.5,
            max_connections=10,
            max_response_size=2**20,
            proxy="http://proxy.example:3128",
            trust_env=True,
        ),
        CallsInProgressClient(token="secret", rate_limit=RateLimit.adaptive(initial=5.0)),
        CallsInProgressClient.from_env(strict=True),
    ]


def wrong_ones() -> None:
    CallsInProgressClient("secret")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    CallsInProgressClient(token=b"secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CallsInProgressClient(token="a", organization_type_case="upper")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RetryPolicy(max_attempts="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def find() -> None:
    acme = Organization.advertiser(25)
    assert_type(acme, Organization)
    assert_type([Organization.network("1"), Organization.parse("network:1")], list[Organization])
    assert_type((acme.id, acme.type, str(acme)), tuple[int, str, str])
    async with CallsInProgressClient(token="secret") as client:
        assert_type(client.base_url, str)
        found = await client.find(acme, transaction_id="ABCD1234", external_unique_id=None, timeout=5)
        assert_type(found, CurrentCalls)
        assert_type(found[0], Call)
        assert_type(found[0:2], tuple[Call, ...])
        assert_type(len(found), int)
        assert_type(found.problems, tuple[Problem, ...])
        assert_type(found.attempts, tuple[Attempt, ...])
        calls: Sequence[Call] = found
        for call in calls:
            read(call)
        await client.find(
            acme, calling_phone_number="(530) 999-9999", destination_phone_number="855-559-5599", timeout=None
        )
        await client.find("advertiser:25")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def read(call: Call) -> None:
    assert_type(call.transaction_id, str | None)
    assert_type(call.start_time, datetime | None)
    assert_type(call.repeat_calling_phone_number, bool | None)
    assert_type(call.keypresses, str | list[Any] | None)
    assert_type(call.custom_data, Mapping[str, CustomDataField] | None)
    assert_type(call.demographics_data, Mapping[str, str | bool | None] | None)
    assert_type(call.custom_value("utm_source"), str | None)
    assert_type(call.bridged_at, datetime | None)
    assert_type(call.duration(datetime.now(UTC)), timedelta | None)
    assert_type(call.problems, tuple[Problem, ...])
    assert_type(call.extra, Mapping[str, Any])
    assert_type(call.raw, dict[str, Any])
    call.city = "Santa Barbara"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def update(client: CallsInProgressClient, acme: Organization) -> None:
    done = await client.update(
        acme, transaction_id="ABCD1234", new_external_unique_id="mine", custom_data={"a": "b"}, method="POST"
    )
    assert_type(done, CallUpdate)
    assert_type((done.accepted_only, done.calls), tuple[bool, tuple[Call, ...]])
    assert_type(await client.send(CurrentCallsRequest(organization=acme)), CurrentCalls)
    request = UpdateCallRequest(organization=acme, external_unique_id="mine", custom_data={"a": "b"})
    assert_type(await client.send(request, timeout=1.0), CallUpdate)
    await client.close(drain=5)


async def failing(client: CallsInProgressClient, acme: Organization) -> None:
    try:
        await client.update(acme, transaction_id="ABCD1234", custom_data={"a": "b"})
    except InvalidRequestError as error:
        assert_type(error.parameter, str)
    except RequestRejectedError as error:
        assert_type(error.field_errors, Mapping[str, Sequence[str]])
    except RateLimitedError as error:
        assert_type(error.retry_after, float | None)
    except ServerError as error:
        assert_type(error.error_handle, str | None)
    except UnexpectedResponseError as error:
        assert_type(error.path, str | None)
    except ResponseError as error:
        assert_type((error.status, error.request_id), tuple[int, str | None])
    except RequestTimeoutError as error:
        timeout: TimeoutError = error
        raise timeout from None
    except CallsInProgressError as error:
        assert_type((error.attempts, error.may_have_been_applied), tuple[tuple[Attempt, ...], bool])


class CountRequest:
    """An endpoint of one's own."""

    organization = Organization.advertiser(25)

    def wire(self, wire_format: WireFormat) -> WireRequest:
        return WireRequest(method="GET", target=wire_format.target("count", self.organization, {}))

    def read(self, response: WireResponse, wire_format: WireFormat, attempts: tuple[Attempt, ...]) -> int:
        return len(response.body)


async def third_endpoint(client: CallsInProgressClient) -> None:
    assert_type(await client.send(CountRequest()), int)
    request: Endpoint[int] = CountRequest()
    assert_type(await client.send(request), int)


class Echo:
    """A transport of one's own."""

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        state.may_have_been_sent = False
        return WireResponse(200, {}, request.body or b"")

    async def close(self) -> None: ...


class Spans(Instrumentation):
    """Hooks of one's own."""

    @contextmanager
    def operation(self, info: OperationInfo) -> Generator[None]:
        assert_type((info.name, info.organization, info.timeout), tuple[str, Organization, float | None])
        yield
        assert_type(info.attempts, tuple[Attempt, ...])

    @contextmanager
    def attempt(self, info: AttemptInfo) -> Generator[None]:
        info.headers["traceparent"] = "00-..."
        yield
        assert_type((info.number, info.url, info.status, info.error), tuple[int, str, int | None, str | None])

    def on_retry(self, info: OperationInfo, attempt: Attempt, delay: float) -> None:
        assert_type(times(attempt), float)


def seams() -> CallsInProgressClient:
    transport: Transport = Echo()
    token: TokenSource = token_later
    return CallsInProgressClient(token=token, transport=transport, instrumentation=[Spans()])


def times(attempt: Attempt) -> float:
    assert_type((attempt.status, attempt.error), tuple[int | None, str | None])
    return attempt.rate_limit_wait + attempt.pool_wait + attempt.network + attempt.backoff
