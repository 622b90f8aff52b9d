"""Hooks see every operation and every attempt, break nothing, and learn no secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from raw_server import ACME, TOKEN
from transport.pipelines import FIND, rig, write

import calls_in_progress_async as sdk
from calls_in_progress_async import (
    Attempt,
    AttemptInfo,
    CallsInProgressClient,
    CurrentCallsRequest,
    Instrumentation,
    OperationInfo,
    RateLimit,
    RetryPolicy,
)
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.testing import status, virtual_clock


class Diary(Instrumentation):
    """Notes every call."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.infos: list[OperationInfo | AttemptInfo] = []

    @contextmanager
    def operation(self, info: OperationInfo) -> Iterator[None]:
        self.infos.append(info)
        self.notes.append(("begin", info.name, info.method, str(info.organization), info.timeout))
        try:
            yield
        except BaseException as error:
            self.notes.append(("end", type(error).__name__, len(info.attempts)))
            raise
        self.notes.append(("end", None, len(info.attempts)))

    @contextmanager
    def attempt(self, info: AttemptInfo) -> Iterator[None]:
        self.infos.append(info)
        info.headers["traceparent"] = f"00-{info.number}"
        yield
        self.notes.append((info.number, info.status, info.error))

    def on_retry(self, info: OperationInfo, attempt: Attempt, delay: float) -> None:
        self.notes.append(("retry", attempt.status, delay))

    def on_rate_limit_wait(self, info: OperationInfo, seconds: float) -> None:
        self.notes.append(("waited", seconds))

    def on_throttled(self, info: OperationInfo, retry_after: float | None) -> None:
        self.notes.append(("throttled", retry_after))

    def on_token_refresh(self, info: OperationInfo) -> None:
        self.notes.append("refreshed")


def told(*script: Any, request: Any = FIND, timeout: float | None = None, **settings: Any) -> list[Any]:
    """Run one request in virtual time; return the notes of a diary."""

    async def main() -> list[Any]:
        diary = Diary()
        it = rig(*script, instrumentation=[diary], **settings)
        await it.go(request, timeout)
        return diary.notes

    return virtual_clock.run(main)


FIND_BEGINS = ("begin", "find", "GET", "advertiser:25", None)


def test_a_find_that_succeeds_is_one_operation_with_one_attempt() -> None:
    """The attempt is inside the operation."""
    assert told(200) == [FIND_BEGINS, (1, 200, None), ("end", None, 1)]


def test_an_update_has_its_own_name_and_its_timeout() -> None:
    """PUT, in seconds."""
    notes = told(202, request=write(), timeout=5.0)
    assert notes == [("begin", "update", "PUT", "advertiser:25", 5.0), (1, 202, None), ("end", None, 1)]


def test_a_retry_is_told_before_it_is_waited_for() -> None:
    """With the failed attempt, and the delay."""
    assert told(503, sdk.ConnectionLostError("x"), 200) == [
        FIND_BEGINS,
        *[(1, 503, None), ("retry", 503, 0.25)],
        *[(2, None, "ConnectionLostError"), ("retry", None, 0.5)],
        *[(3, 200, None), ("end", None, 3)],
    ]


def test_throttling_and_the_wait_after_it_are_told() -> None:
    """Retry-After in seconds, and the time in the queue of the rate limit."""
    notes = told(status(429, retry_after="3"), 200, rate_limit=RateLimit(rate=0.1, burst=1))
    assert ("throttled", 3.0) in notes
    (waited,) = [note for note in notes if note[0] == "waited"]
    assert waited[1] == pytest.approx(6.75)


def test_a_refreshed_token_is_told() -> None:
    """Only if the callable has another one."""
    tokens = ["old", "new"]
    notes = told(401, 200, token=lambda _: tokens.pop(0))
    assert notes == [FIND_BEGINS, (1, 401, None), "refreshed", (2, 200, None), ("end", None, 2)]
    assert "refreshed" not in told(401, token=lambda _: "same")


@pytest.mark.parametrize(
    ("settings", "timeout", "error"),
    [
        ({"attempt_timeout": 1.0, "retry": RetryPolicy(max_attempts=1)}, None, "RequestTimeoutError"),
        ({"attempt_timeout": None}, 1.0, "DeadlineExceededError"),
    ],
)
def test_an_attempt_that_times_out_has_the_name_of_its_error(settings: Any, timeout: Any, error: str) -> None:
    """`AttemptInfo.error` is `Attempt.error`."""
    notes = told(status(200, seconds=9.0), timeout=timeout, **settings)
    assert notes[1:] == [(1, None, error), ("end", error, 1)]


def test_an_error_of_a_foreign_transport_has_the_name_that_it_is_given() -> None:
    """ConnectionLostError, for any exception of the transport."""
    notes = told(LookupError("x"), retry=RetryPolicy(max_attempts=1))
    assert notes[1:] == [(1, None, "ConnectionLostError"), ("end", "ConnectionLostError", 1)]


def test_a_cancelled_call_ends_its_attempt_and_its_operation() -> None:
    """The attempt has neither a status nor an error."""

    async def main() -> list[Any]:
        diary = Diary()
        task = asyncio.create_task(rig(status(200, seconds=9.0), instrumentation=[diary]).go())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return diary.notes

    assert virtual_clock.run(main)[1:] == [(1, None, None), ("end", "CancelledError", 0)]


def test_headers_that_a_hook_adds_are_sent_with_that_attempt() -> None:
    """Each attempt has its own, beside those of the request."""

    async def main() -> list[Any]:
        it = rig(500, 200, instrumentation=[Diary()])
        FIND.headers = {"X-Own": "1"}
        await it.go(FIND)
        FIND.headers = {}
        return [dict(request.headers) for request in it.transport.requests]

    assert virtual_clock.run(main) == [{"X-Own": "1", "traceparent": f"00-{number}"} for number in (1, 2)]


def test_no_hook_sees_a_caller_or_the_token() -> None:
    """The URL has the organization, and REDACTED for every other value."""
    request = CurrentCallsRequest(
        organization=ACME,
        transaction_id="T-1",
        calling_phone_number="+15305551212",
        destination_phone_number="+18005551212",
    ).wire(WireFormat())

    async def main() -> list[Any]:
        diary = Diary()
        await rig(200, instrumentation=[diary]).go(request)
        return diary.infos

    _, attempt = infos = virtual_clock.run(main)
    assert attempt.url == (
        "https://h/api/2022-08-01/calls_in_progress/current_calls.json?id=25&organization_type=advertiser"
        "&transaction_id=REDACTED&calling_phone_number=REDACTED&destination_phone_number=REDACTED"
    )
    for secret in (TOKEN, "5305551212", "8005551212", "T-1"):
        assert secret not in repr(infos)


class Broken(Instrumentation):
    """Fails wherever it can."""

    def __init__(self, where: str) -> None:
        self.where = where

    def operation(self, info: OperationInfo) -> AbstractContextManager[object]:
        return self._manager("operation")

    def attempt(self, info: AttemptInfo) -> AbstractContextManager[object]:
        return self._manager("attempt")

    def _manager(self, method: str) -> AbstractContextManager[object]:
        if self.where == f"{method} call":
            raise LookupError("broken")
        return self._around(method)

    @contextmanager
    def _around(self, method: str) -> Iterator[None]:
        if self.where == f"{method} enter":
            raise LookupError("broken")
        yield
        if self.where == f"{method} exit":
            raise LookupError("broken")

    def on_retry(self, info: OperationInfo, attempt: Attempt, delay: float) -> None:
        if self.where == "on_retry":
            raise LookupError("broken")


PLACES = ["operation call", "operation enter", "operation exit", "attempt call", "attempt enter", "attempt exit"]


@pytest.mark.parametrize("where", [*PLACES, "on_retry"])
def test_a_hook_that_fails_breaks_nothing_and_is_logged_once(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """The other hooks are told all the same."""

    async def main() -> None:
        diary = Diary()
        it = rig(*[500, 200] * 3, instrumentation=[Broken(where), diary], retry=RetryPolicy(initial=0))
        for _ in range(3):
            assert await it.go() == 200
        assert len(diary.notes) == 3 * 5

    virtual_clock.run(main)
    logged = [record for record in caplog.records if record.exc_info]
    assert [(record.name, record.levelno) for record in logged] == [("calls_in_progress_async", logging.WARNING)]
    assert f"Broken.{where.split(maxsplit=1)[0]} failed" in logged[0].getMessage()


CALLBACKS = [name for name in vars(Instrumentation) if name.startswith("on_")]


def names_told(*before: Any) -> list[str]:
    """Run requests with every kind of event; return the callbacks of the last hook."""
    told: list[str] = []
    tokens = ["old", "new"]

    class Last:
        def __getattr__(self, name: str) -> Any:
            if name not in CALLBACKS:
                raise AttributeError(name)
            return lambda *_: told.append(name)

    async def main() -> None:
        retry = RetryPolicy(max_attempts=9, initial=0, budget=2, organization_budget=2, budget_refill=0.0)
        settings = {"rate_limit": RateLimit(rate=0.1, burst=1), "retry": retry}
        hooks = [*before, Last()]
        it = rig(401, 500, 429, 500, instrumentation=hooks, token=lambda _: tokens.pop(0), **settings)
        assert await it.go() == 500
        for _ in range(2):
            CallsInProgressClient(token=TOKEN, instrumentation=hooks).watch([ACME])

    virtual_clock.run(main)
    return told


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_that_fails_breaks_nothing_and_is_logged_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Later hooks are told everything all the same."""

    def fail(*_: object) -> None:
        raise LookupError("broken")

    expected = names_told()
    assert set(expected) == set(CALLBACKS)
    caplog.clear()
    assert names_told(type("Failing", (), {name: fail})()) == expected
    logged = [record.getMessage() for record in caplog.records if record.exc_info]
    clients = 2 if name in ("on_client", "on_watch") else 1
    assert logged == [f"Failing.{name} failed; the request goes on, and further failures are not logged"] * clients


def test_a_hook_that_inherits_every_method_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of the base class fails."""
    assert names_told(type("Nothing", (Instrumentation,), {})()) == names_told()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["operation", "attempt"])
@pytest.mark.parametrize("returned", [None, 5, "manager", object()])
def test_a_hook_without_a_context_manager_breaks_nothing(
    method: str, returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook without a context manager returns None; anything else is a failure of the hook."""
    hook = type("Odd", (), {method: lambda *_: returned})()

    async def main() -> None:
        it = rig(500, 200, instrumentation=[hook])
        assert await it.go() == 200

    virtual_clock.run(main)
    assert len([record for record in caplog.records if record.exc_info]) == (returned is not None)


def test_a_hook_may_have_a_part_of_the_methods() -> None:
    """For any class."""

    class Counter:
        count = 0

        def on_retry(self, *_: object) -> None:
            self.count += 1

    counter = Counter()
    told_to = [counter, Instrumentation.__new__(type("Nothing", (Instrumentation,), {}))]

    tokens = ["old", "new"]

    async def main() -> None:
        settings = {"rate_limit": RateLimit(rate=0.1, burst=1), "retry": RetryPolicy(max_attempts=4)}
        it = rig(401, 500, 429, 200, instrumentation=told_to, token=lambda _: tokens.pop(0), **settings)
        assert await it.go() == 200

    virtual_clock.run(main)
    assert counter.count == 2


class Shouting:
    """A hook with an error of its own in place of the caller's."""

    @contextmanager
    def operation(self, _: OperationInfo) -> Iterator[None]:
        try:
            yield
        except Exception:
            raise LookupError("not yours") from None


def test_the_caller_gets_its_own_error() -> None:
    """A hook can neither replace nor swallow it."""

    async def main() -> None:
        it = rig(sdk.TlsError("TLS failed"), instrumentation=[Shouting()])
        assert type(await it.go()) is sdk.TlsError

    virtual_clock.run(main)


class Raising:
    """A hook with a context manager that raises the caller's own error again."""

    def operation(self, _: OperationInfo) -> Any:
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            raise error


def test_a_hook_that_raises_the_callers_error_again_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged."""

    async def main() -> None:
        it = rig(sdk.TlsError("TLS failed"), instrumentation=[Raising()])
        assert type(await it.go()) is sdk.TlsError

    virtual_clock.run(main)
    assert caplog.records == []


@pytest.mark.parametrize("wrong", [5, "hooks", [5], [Diary], Diary()])
def test_hooks_are_checked(wrong: Any) -> None:
    """A list of objects with at least one of the methods."""
    with pytest.raises(sdk.InvalidRequestError, match=r"^instrumentation must be a list of Instrumentation") as raised:
        CallsInProgressClient(token=TOKEN, instrumentation=wrong)
    assert raised.value.parameter == "instrumentation"
