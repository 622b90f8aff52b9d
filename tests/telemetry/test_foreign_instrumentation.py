"""Tracing libraries see no phone number: they do not see our requests, or see them without their query."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial, partialmethod
from typing import Any

import aiohttp
import pytest
import sentry_sdk
from attrs import define, field
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.trace import SpanKind
from raw_server import ACME, DONE, NO_CALLS, TOKEN, RawServer, reply
from sentry_sdk.integrations.aiohttp import AioHttpIntegration
from sentry_sdk.transport import Transport
from telemetry.recording import Recording

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, CurrentCallsRequest, RetryPolicy
from calls_in_progress_async.transport import pooled

CALLER = "+18665551234"
SECRETS = ["8665551234", TOKEN]
KINDS = ["pooled", "fallback", "injected"]


@asynccontextmanager
async def client_of(
    server: RawServer, kind: str, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Any]:
    """Make a client that sends through the pool, a session of its own, or an injected session."""
    if kind == "fallback":
        monkeypatch.setattr(pooled, "is_supported", lambda: False)
    session = aiohttp.ClientSession() if kind == "injected" else None
    async with server.client(**{"session": session, "retry": RetryPolicy(max_attempts=1), **settings}) as client:
        yield client
    if session is not None:
        await session.close()


async def find_and_update(client: CallsInProgressClient) -> None:
    await client.find(ACME, calling_phone_number=CALLER, destination_phone_number="+18005550000")
    await client.update(ACME, transaction_id="T", custom_data={"phone": CALLER})


# Any trace hooks.


@define
class Hooks:
    """Trace hooks, as an instrumentation adds them to every session."""

    seen: list[str] = field(factory=list)

    def config(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        for signal in (config.on_request_start, config.on_request_end, config.on_request_exception):
            signal.append(self._note)
        return config

    async def _note(self, _: Any, __: Any, details: Any) -> None:
        self.seen.append(str(details.url))


@pytest.mark.parametrize("kind", KINDS)
async def test_trace_hooks_of_every_session_see_no_query(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They see nothing of the client's own connections, and the path alone in a session of the user's."""
    hooks = Hooks()
    make = aiohttp.ClientSession.__init__
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", partialmethod(make, trace_configs=[hooks.config()]))
    async with RawServer([NO_CALLS, DONE]) as server, client_of(server, kind, monkeypatch) as client:
        await find_and_update(client)
        assert "8665551234" in server.seen[0].target
    assert len(hooks.seen) == (4 if kind == "injected" else 0)
    assert not any("?" in each for each in hooks.seen)


async def test_hooks_on_the_request_as_sent_see_it_whole() -> None:
    """A user's own hooks for it, on a session of the user's, get URL and headers as they leave."""
    sent: list[Any] = []
    ended: list[Any] = []

    async def note_sent(_: Any, __: Any, details: aiohttp.TraceRequestHeadersSentParams) -> None:
        sent.append(details)

    async def note_end(_: Any, __: Any, details: aiohttp.TraceRequestEndParams) -> None:
        ended.append(details)

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(note_sent)
    config.on_request_end.append(note_end)
    async with (
        RawServer([NO_CALLS]) as server,
        aiohttp.ClientSession(trace_configs=[config]) as session,
        server.client(session=session) as client,
    ):
        await client.find(ACME, calling_phone_number=CALLER, destination_phone_number="+18005550000")
    assert "8665551234" in str(sent[0].url)
    assert sent[0].headers["Authorization"] == TOKEN
    assert not ended[0].url.query_string
    assert not ended[0].response.url.query_string
    assert "8665551234" in str(ended[0].response.request_info.url)


async def test_a_session_without_hooks_gets_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test tools match on the query, so the query is hidden only from hooks."""
    urls, send = [], aiohttp.ClientSession._request

    async def note(session: Any, method: str, url: Any, **options: Any) -> Any:
        urls.append(str(url))
        return await send(session, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", note)
    async with RawServer([NO_CALLS, DONE]) as server, aiohttp.ClientSession() as session:
        session.trace_configs.clear()  # Sentry's, if it is still active
        async with server.client(session=session) as client:
            await find_and_update(client)
    assert ["?" in each for each in urls] == [True, True]


# OpenTelemetry.


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Instrument aiohttp's sessions with OpenTelemetry, and return the recording of their spans."""
    recording = Recording()
    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=recording.tracers, meter_provider=recording.meters)
    yield recording
    instrumentor.uninstrument()


@pytest.mark.parametrize("kind", KINDS)
async def test_opentelemetry_has_no_span_of_our_requests(
    kind: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its HTTP spans would hold the phone number in ``url.full``; other requests of the program are still traced."""
    async with RawServer([NO_CALLS, DONE, NO_CALLS]) as server, client_of(server, kind, monkeypatch) as client:
        await find_and_update(client)
        assert recording.spans == []
        assert b"traceparent" not in server.seen[0].head.lower()
        async with aiohttp.ClientSession() as session, session.get(server.url):
            pass
    assert len(recording.spans) == 1


async def test_the_suppression_ends_with_the_request(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a request that fails or is cancelled, the program's own requests are traced again."""
    async with RawServer([None, NO_CALLS]) as server, client_of(server, "injected", monkeypatch) as client:
        with pytest.raises(Exception, match="lost"):
            await client.find(ACME)
        async with aiohttp.ClientSession() as session, session.get(server.url):
            pass
    assert len(recording.spans) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_beside_our_own_hooks_nothing_is_doubled(
    kind: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is one CLIENT span and one duration, and the server gets one context, of that span."""
    settings = {"instrumentation": [recording.hooks], "retry": RetryPolicy(initial=0)}
    script = [reply(503), NO_CALLS, DONE, NO_CALLS]
    async with RawServer(script) as server, client_of(server, kind, monkeypatch, **settings) as client:
        await find_and_update(client)
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/somebody-elses"):
            pass
        contexts = [seen.header("traceparent") or "" for seen in server.seen]
    assert recording.story() == [
        *("calls_in_progress.find", "  GET", "  GET", "calls_in_progress.update", "  PUT", "GET"),
    ]
    requests = [span for span in recording.spans if span.kind is SpanKind.CLIENT]
    assert [each.split("-")[2] for each in contexts] == [f"{span.context.span_id:016x}" for span in requests]
    durations = recording.points("http.client.request.duration").values()
    assert sum(each.count for each in durations) == 3
    assert "somebody-elses" in recording.text()
    assert [secret for secret in [*SECRETS, "8005550000"] if secret in recording.text()] == []


@pytest.mark.parametrize("module", [None, object()])
async def test_an_opentelemetry_without_the_key_is_left_alone(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry, or with one that names the key otherwise, requests go out all the same."""
    if module is None:
        monkeypatch.delitem(sys.modules, "opentelemetry.context", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "opentelemetry.context", module)
    async with RawServer([NO_CALLS, DONE]) as server, client_of(server, "injected", monkeypatch) as client:
        await find_and_update(client)
    assert "opentelemetry.context" not in sys.modules or module is not None


# Sentry.


@pytest.fixture(scope="module")
def sentry_envelopes() -> Iterator[list[str]]:
    """Initialize Sentry with its aiohttp integration, and return the texts it would send."""
    sent: list[str] = []

    class Kept(Transport):  # type: ignore[misc]
        def capture_envelope(self, envelope: Any) -> None:
            sent.append(envelope.serialize().decode("utf-8", "replace"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aiohttp.ClientSession, "__init__", aiohttp.ClientSession.__init__)  # Sentry's patch ends here
        patched.setattr(aiohttp.web.Application, "_handle", aiohttp.web.Application._handle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            sentry_sdk.init(
                dsn="https://key@sentry.example/1",
                transport=Kept,
                traces_sample_rate=1.0,
                send_default_pii=True,
                default_integrations=False,
                auto_enabling_integrations=False,
                integrations=[AioHttpIntegration()],
            )
        yield sent
        sentry_sdk.init()


@pytest.mark.parametrize("kind", KINDS)
async def test_sentry_learns_no_phone_number(
    kind: str, sentry_envelopes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither breadcrumbs nor spans of Sentry's aiohttp integration hold the query or the token."""
    sentry_envelopes.clear()
    with sentry_sdk.start_transaction(name="test"):
        async with RawServer([NO_CALLS, DONE, NO_CALLS]) as server, client_of(server, kind, monkeypatch) as client:
            await find_and_update(client)
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/somebody-elses"):
                pass
    sentry_sdk.capture_message("afterwards")
    sentry_sdk.flush()
    sent = "".join(sentry_envelopes)
    assert "somebody-elses" in sent
    assert [secret for secret in SECRETS if secret in sent] == []
    assert ("current_calls.json" in sent) is (kind == "injected")


NUMBERS = {"calling_phone_number": CALLER, "destination_phone_number": "+18665551234"}
ASKING: dict[str, Any] = {
    "find": partial(CallsInProgressClient.find, organization=ACME, **NUMBERS),
    "a shared find": partial(CallsInProgressClient.find, organization=ACME, max_age=1.0, **NUMBERS),
    "wait_for_call": partial(CallsInProgressClient.wait_for_call, organization=ACME, timeout=0.05, **NUMBERS),
    "send": partial(CallsInProgressClient.send, request=CurrentCallsRequest(organization=ACME, **NUMBERS)),
    "update": partial(CallsInProgressClient.update, organization=ACME, transaction_id="T", custom_data={"a": CALLER}),
}


@pytest.mark.parametrize("response", [reply(422, b'{"errors": {"id": ["+18665551234"]}}'), reply(200, "x"), None])
@pytest.mark.parametrize("asking", ASKING)
async def test_an_error_reported_to_sentry_holds_no_phone_number(
    asking: str, response: bytes | None, sentry_envelopes: list[str]
) -> None:
    """Sentry sends the local variables of every frame of a traceback: none of ours holds an argument's number."""
    sentry_envelopes.clear()
    async with RawServer([response]) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(CallsInProgressError) as failed:
            await ASKING[asking](client)
    sentry_sdk.capture_exception(failed.value.with_traceback(failed.tb.tb_next))  # without the frame of this test
    sentry_sdk.flush()
    sent = "".join(sentry_envelopes)
    assert '"module":"calls_in_progress_async.client"' in sent
    assert [secret for secret in SECRETS if secret in sent] == []


async def test_sentry_and_opentelemetry_and_our_hooks_learn_no_phone_number(
    sentry_envelopes: list[str], recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three side by side, with a retry, a failure, and its error in a message to Sentry."""
    sentry_envelopes.clear()
    settings = {"instrumentation": [recording.hooks], "retry": RetryPolicy(max_attempts=2, initial=0)}
    script = [reply(500, '{"errors": {"class": "+18665551234"}}'), None, DONE]
    with sentry_sdk.start_transaction(name="test"):
        async with RawServer(script) as server, client_of(server, "injected", monkeypatch, **settings) as client:
            with pytest.raises(CallsInProgressError, match="lost") as failed:
                await find_and_update(client)
            sentry_sdk.capture_message(repr(failed.value))
            await client.update(ACME, external_unique_id="E", custom_data={"phone": CALLER})
    sentry_sdk.flush()
    assert recording.story() == [
        *("calls_in_progress.find", "  GET", "  GET", "calls_in_progress.update", "  PUT"),
    ]
    sent = "".join(sentry_envelopes) + recording.text()
    assert "ConnectionLostError" in sent
    assert [secret for secret in [*SECRETS, "8005550000"] if secret in sent] == []
