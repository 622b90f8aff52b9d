"""The error tree: the error of each response, the attributes of each error, and the absence of secrets."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import ssl
import traceback
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme
from aiohttp import ClientSession, TraceConfig
from raw_server import ACME, AT_ONCE, DONE, NO_CALLS, ONCE, TOKEN, RawServer, hang, reply, say_and_close

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, CurrentCallsRequest, UpdateCallRequest
from calls_in_progress_async.endpoints.wire_format import WireFormat
from calls_in_progress_async.transport.wire import WireResponse

PHONE = "+15309991234"
FIND = CurrentCallsRequest(organization=ACME)
FILTERED = CurrentCallsRequest(organization=ACME, transaction_id="T")
UPDATE = UpdateCallRequest(organization=ACME, transaction_id="T", new_external_unique_id="x")
FORMAT = WireFormat()


def rejected(request: Any, status: int, body: Any = b"", **headers: str) -> Any:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(CallsInProgressError) as raised:
        request.read(WireResponse(status, headers, body), FORMAT, ())
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    return raised.value


def class_of(status: int, *, update: bool) -> type[sdk.ResponseError]:
    """The table of docs/errors.md, spelled out."""
    match status:
        case 400 | 422:
            return sdk.RequestRejectedError
        case 401:
            return sdk.AuthenticationError
        case 403:
            return sdk.PermissionDeniedError
        case 404:
            return sdk.CallNotFoundError if update else sdk.NotFoundError
        case 429:
            return sdk.RateLimitedError
        case 301 | 302 | 303 | 307 | 308:
            return sdk.RedirectRefusedError
        case _:
            return sdk.ServerError if status >= 500 else sdk.UnexpectedResponseError


async def test_every_status_is_the_error_that_says_what_to_do() -> None:
    """200 to 599, with an empty body, for a find and an update, from a real socket."""
    async with RawServer() as server, server.client(retry=ONCE) as client:
        for status in range(200, 600):
            for request in (FIND, FILTERED, UPDATE):
                server.script = [
                    reply(status, Retry_After="0", **{"Connection": "close"} if status in (204, 304) else {})
                ]
                if request is UPDATE and status < 300:
                    done = await client.send(UPDATE)
                    assert (done.accepted_only, done.calls, done.problems) == (status == 202, (), ())
                    continue
                with pytest.raises(CallsInProgressError) as raised:
                    await client.send(request)
                error = raised.value
                assert type(error) is class_of(status, update=request is UPDATE)
                assert isinstance(error, sdk.ResponseError)
                assert (error.status, [attempt.status for attempt in error.attempts]) == (status, [status])
                assert f"HTTP {status}" in str(error)
        assert len(server.seen) == 1200


TREE: list[tuple[type[BaseException], type[BaseException]]] = [
    (sdk.InvalidRequestError, ValueError),
    (sdk.InvalidRequestError, CallsInProgressError),
    (sdk.ClientClosedError, sdk.ClientStateError),
    (sdk.WrongLoopError, sdk.ClientStateError),
    (sdk.ConnectionFailedError, sdk.TransportError),
    (sdk.ConnectionLostError, sdk.TransportError),
    (sdk.RequestTimeoutError, sdk.TransportError),
    (sdk.RequestTimeoutError, TimeoutError),
    (sdk.DeadlineExceededError, sdk.RequestTimeoutError),
    (sdk.TlsError, sdk.TransportError),
    (sdk.CallNotFoundError, sdk.NotFoundError),
    (sdk.ResponseTooLargeError, sdk.UnexpectedResponseError),
    (sdk.RedirectRefusedError, sdk.UnexpectedResponseError),
    *(
        (kind, sdk.ResponseError)
        for kind in (
            sdk.AuthenticationError,
            sdk.PermissionDeniedError,
            sdk.RequestRejectedError,
            sdk.NotFoundError,
            sdk.RateLimitedError,
            sdk.ServerError,
            sdk.UnexpectedResponseError,
        )
    ),
]


@pytest.mark.parametrize(("kind", "parent"), TREE)
def test_the_tree_is_the_documented_one(kind: type, parent: type) -> None:
    """Catching a branch catches its leaves."""
    assert issubclass(kind, parent)


CLASSES = [each for each in vars(sdk).values() if isinstance(each, type) and issubclass(each, CallsInProgressError)]


def test_every_error_has_one_root() -> None:
    """All 24 public error classes are in the tree."""
    assert len(CLASSES) == 24
    assert {name for name in sdk.__all__ if name.endswith("Error")} == {each.__name__ for each in CLASSES}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("duplicate", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_every_error_pickles_with_all_its_attributes(kind: type[CallsInProgressError], duplicate: Any) -> None:
    """Text, attempts, notes and attributes survive a process pool; defaults are there without being set."""
    bare = duplicate(kind("text"))
    assert (bare.attempts, bare.may_have_been_applied) == ((), False)
    error = kind("text", status=503, request_id="r", field_errors={"id": ("bad",)}, retry_after=1.5, path="a[0].b")
    error.attempts = (sdk.Attempt(status=503, backoff=1.0), sdk.Attempt(error="ConnectionLostError"))
    error.may_have_been_applied = True
    error.add_note("a note")
    again = duplicate(error)
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert (str(again), again.message, again.__notes__) == ("text", "text", ["a note"])
    assert again.attempts == error.attempts


def test_an_error_without_text_has_an_empty_message() -> None:
    """An error made without arguments has an empty message."""
    assert sdk.TlsError().message == ""


# Bodies of the API reference.


def test_a_403_that_lists_fields_is_a_rejected_request() -> None:
    """{"errors": {"<field>": ["can't be blank"]}} has the complaints by field."""
    error = rejected(UPDATE, 403, {"errors": {"id": ["can't be blank", "is odd"], "organization": ["is\nbad"]}})
    assert type(error) is sdk.RequestRejectedError
    assert error.field_errors == {"id": ("can't be blank", "is odd"), "organization": ("is?bad",)}
    assert str(error) == "HTTP 403: id: can't be blank; is odd, organization: is?bad"


@pytest.mark.parametrize("status", [400, 422])
def test_a_400_lists_fields_as_well(status: int) -> None:
    """field_errors is filled for any status with errors by field."""
    assert rejected(FIND, status, {"errors": {"id": ["bad"]}}).field_errors == {"id": ("bad",)}
    assert rejected(FIND, status).field_errors == {}


def test_a_404_of_an_update_explains_itself() -> None:
    """The message holds the server's words, if there are any."""
    assert (
        str(rejected(UPDATE, 404, {"error": "RecordNotFound"}))
        == "HTTP 404: RecordNotFound (no such call is in progress)"
    )
    assert str(rejected(UPDATE, 404, {"error": ""})) == "HTTP 404 (no such call is in progress)"
    assert str(rejected(FIND, 302)) == "HTTP 302 (redirects are not followed: set base_url or network)"


def test_a_403_may_name_its_fields_without_a_list() -> None:
    """Text is as good as a list of one; class and invalid_data are no fields."""
    error = rejected(UPDATE, 403, {"errors": {"id": "is\nbad", "class": "X", "invalid_data": "no"}})
    assert (type(error), error.field_errors) == (sdk.RequestRejectedError, {"id": ("is?bad",)})
    assert str(error) == "HTTP 403: X, no, id: is?bad"
    assert type(rejected(UPDATE, 403, {"errors": {"class": "X", "invalid_data": "no"}})) is sdk.RequestRejectedError
    for neither in ({"id": 5}, {"id": None}, {"class": ["X"]}):
        error = rejected(UPDATE, 403, {"errors": neither})
        assert type(error) is sdk.PermissionDeniedError


def test_a_401_says_what_to_look_at() -> None:
    """NotAuthorized, and the two usual causes."""
    error = rejected(FIND, 401, {"error": "NotAuthorized"})
    assert str(error) == "HTTP 401: NotAuthorized (is the token right, and for this organization?)"


@pytest.mark.parametrize(
    "body",
    [{"error": "RecordNotFound"}, {"errors": {"invalid_data": "Could not find ...", "class": "RecordNotFound"}}],
)
def test_only_a_find_with_a_filter_takes_a_404_for_no_calls(body: Any) -> None:
    """RecordNotFound on a filter is an empty result; without one, and on an update, it is an error."""
    found = FILTERED.read(WireResponse(404, {}, json.dumps(body).encode()), FORMAT, ())
    assert (list(found), found.problems) == ([], ())
    assert type(rejected(FIND, 404, body)) is sdk.NotFoundError
    assert type(rejected(UPDATE, 404, body)) is sdk.CallNotFoundError


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"error": "NotFound"}', b'{"errors": "RecordNotFound"}', b"[]"]
)
def test_a_404_of_something_else_is_never_no_calls(body: bytes) -> None:
    """A wrong host or path also responds with 404."""
    assert type(rejected(FILTERED, 404, body)) is sdk.NotFoundError


def test_a_500_has_the_handle_for_support() -> None:
    """The number in "refer to error handle 1228118400", and when to come back."""
    body = {"errors": {"invalid_data": "refer to error handle 1228118400", "class": "InternalServiceError"}}
    error = rejected(FIND, 500, body, **{"X-Request-Id": "abc-1", "Retry-After": "7"})
    assert (error.error_handle, error.request_id, error.retry_after) == ("1228118400", "abc-1", 7.0)
    assert str(error) == "HTTP 500: InternalServiceError, refer to error handle 1228118400"
    assert rejected(FIND, 502, {"errors": {"invalid_data": None}}).error_handle is None


def test_a_429_says_when_to_come_back() -> None:
    """retry_after in seconds, None if the server does not say."""
    assert rejected(FIND, 429, b"", **{"Retry-After": "2.5"}).retry_after == 2.5
    assert rejected(FIND, 429).retry_after is None


@pytest.mark.parametrize("status", [408, 425, 418, 404, 503])
def test_every_error_status_has_retry_after(status: int) -> None:
    """retry_after is read for every status, not only for a 429."""
    assert rejected(FIND, status, b"", **{"Retry-After": "4000"}).retry_after == 4000


def test_the_words_of_a_server_about_hundreds_of_fields_are_cut() -> None:
    """The message stays short enough to log; field_errors has all of it."""
    error = rejected(UPDATE, 400, {"errors": {f"field{number}": ["is odd"] for number in range(500)}})
    assert (len(str(error)) < 2100, len(error.field_errors)) == (True, 500)


@pytest.mark.parametrize("request_", [FIND, UPDATE])
def test_a_name_in_a_payload_is_harmless_text(request_: Any) -> None:
    """The key is part of the path, without control characters for a terminal or a log."""
    name = "\x1b]0;pwned\x07\x1b[31m\nERROR forged\u202e" + "\\" * 100_000
    body = json.dumps({"current_calls": [{"custom_data": {name: 5}}]}).encode()
    with pytest.raises(sdk.UnexpectedResponseError) as raised:
        request_.read(WireResponse(200, {}, body), WireFormat(strict=True))
    for text in (str(raised.value), raised.value.path or ""):
        assert text.isascii()
        assert text.isprintable()
        assert "custom_data.?]0;pwned??[31m?ERROR forged?" in text
        assert len(text) < 500


@pytest.mark.parametrize("request_id", ["x" * 1000, "a\x1b[31mb", "é"])
def test_a_request_id_is_harmless_text(request_id: str) -> None:
    """Short, and without control characters for a terminal."""
    error = rejected(FIND, 500, b"", **{"X-Request-Id": request_id})
    assert error.request_id.isprintable()
    assert error.request_id.isascii()
    assert len(error.request_id) <= 200


@pytest.mark.parametrize("status", [400, 403, 404, 422, 499])
@pytest.mark.parametrize("request_", [FIND, UPDATE])
def test_a_4xx_about_the_organization_type_names_the_setting(request_: Any, status: int) -> None:
    """A 4xx about organization_type has a note about organization_type_case; others do not."""
    (note,) = rejected(request_, status, {"errors": {"organization_type": ["is not included in the list"]}}).__notes__
    assert "organization_type_case" in note
    assert "\n" not in note
    assert rejected(request_, status, {"error": "Organization_Type is bad"}).__notes__
    assert not hasattr(rejected(request_, status, {"errors": {"id": ["bad"]}}), "__notes__")
    assert not hasattr(rejected(request_, 500, {"errors": {"organization_type": ["x"]}}), "__notes__")


ODD_BODIES = [
    b"", b"null", b"[]", b"5", b'"x"', b"{", b"\xff\xfe", b"<html>\x1b[31m", b'{"errors": []}', b'{"errors": {"a": 5}}',
    b'{"errors": {"a": [null, {"b": [1]}, NaN]}}', b'{"error": {"a": 1}}', b'{"error": "a\\nb\\u001b[2J"}',
    b'{"errors": {"invalid_data": ' + b"9" * 5000 + b"}}", b'{"errors": {"invalid_data": [1], "class": 5}}',
    b'{"error": "' + b"x" * 100_000 + b'"}', b'{"errors": {"a\\n": ["\\ud800"]}}', b"[" * 100_000,
    *(b'{"errors": {"invalid_data": ' + b"[" * n + b"]" * n + b"}}" for n in range(100, 1100, 50)),
]  # fmt: skip


@pytest.mark.parametrize("body", [pytest.param(body, id=str(n)) for n, body in enumerate(ODD_BODIES)])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503, 301])
def test_no_error_body_hides_the_status(status: int, body: bytes) -> None:
    """Any body leaves an error of the status's class, in one printable line."""
    for request in (FIND, FILTERED, UPDATE):
        error = rejected(request, status, body)
        assert error.status == status
        assert str(error).isprintable()
        assert len(str(error)) < 1000


# May it have been applied?

APPLIED: list[Any] = [
    *((status, {}, True) for status in (500, 501, 502, 503, 504, 599)),
    *((status, {}, False) for status in (400, 401, 403, 404, 408, 409, 425, 429, 499)),
    (503, {"Retry_After": "0"}, False),
    (503, {"Retry_After": "soon"}, True),
    (500, {"Retry_After": "0"}, True),
    (302, {}, True),
]


@pytest.mark.parametrize(("status", "headers", "applied"), APPLIED)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_may_have_been_applied_is_false_only_after_a_rejection(
    method: Any, status: int, headers: Any, applied: bool
) -> None:
    """Only a response to the contrary makes it False."""
    async with RawServer([reply(status, **headers)]) as server, server.client(retry=ONCE) as client:
        with pytest.raises(CallsInProgressError) as raised:
            await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method=method)
        assert raised.value.may_have_been_applied is applied


@pytest.mark.parametrize(("status", "headers", "applied"), APPLIED)
async def test_a_find_applies_nothing(status: int, headers: Any, applied: bool) -> None:
    """may_have_been_applied is False for any response to a find."""
    async with RawServer([reply(status, **headers)]) as server, server.client(retry=ONCE) as client:
        with pytest.raises(CallsInProgressError) as raised:
            await client.find(ACME)
        assert raised.value.may_have_been_applied is False


async def test_may_have_been_applied_stays_true_after_a_later_rejection() -> None:
    """A later rejection does not undo an earlier attempt."""
    async with RawServer([None, reply(429, Retry_After="0"), reply(403)]) as server, server.client() as client:
        with pytest.raises(sdk.PermissionDeniedError) as raised:
            await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
        assert raised.value.may_have_been_applied
        assert [(a.status, a.error) for a in raised.value.attempts] == [
            (None, "ConnectionLostError"), (429, None), (403, None)]  # fmt: skip


async def test_an_unreadable_response_to_an_update_may_follow_its_application() -> None:
    """A 200 with HTML, or with too large a body, comes after the fact."""
    async with RawServer([reply(200, "<html>")]) as server, server.client(max_response_size=100) as client:
        for response, kind in [("<html>", sdk.UnexpectedResponseError), ("[" * 101, sdk.ResponseTooLargeError)]:
            server.script = [reply(200, response)]
            with pytest.raises(kind) as raised:
                await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
            assert raised.value.may_have_been_applied
            assert len(raised.value.attempts) == 1


# No error carries a secret.

Act = Callable[[CallsInProgressClient], Awaitable[object]]


async def find(client: CallsInProgressClient) -> object:
    return await client.find(
        ACME, calling_phone_number=PHONE, destination_phone_number=PHONE, external_unique_id="secret-id"
    )


async def update(client: CallsInProgressClient) -> object:
    return await client.update(ACME, external_unique_id="secret-id", custom_data={"Caller": PHONE})


def reachable(error: BaseException) -> list[Any]:
    """Collect an error's chain, arguments, attributes and notes, with their contents, but without frames."""
    leaves = (type, types.ModuleType, types.FrameType, types.TracebackType, types.FunctionType, types.CodeType)
    found: list[Any] = []
    known: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        each = queue.pop()
        if id(each) in known or isinstance(each, leaves):
            continue
        known.add(id(each))
        found.append(each)
        if isinstance(each, BaseException):
            queue += [each.args, vars(each), each.__cause__, each.__context__]
        elif not isinstance(each, str | bytes):
            queue += gc.get_referents(each)
    return found


def seen_by_a_crash_reporter(error: BaseException) -> str:
    """Collect the variables of our own frames, as crash reporters show them."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if sdk.__name__ in frame.f_code.co_filename]
    assert own
    return "".join(repr(value) for frame in own for value in frame.f_locals.values())


def harmless(error: CallsInProgressError, *, echoed: bool = False) -> None:
    assert echoed or TOKEN not in seen_by_a_crash_reporter(error)  # an echo is in the response's body
    things = reachable(error)
    assert not [each for each in things if type(each).__module__.partition(".")[0] in ("aiohttp", "yarl", "multidict")]
    assert (error.__cause__, error.__context__) == (None, None)
    for said in [*things, str(error), repr(error), pickle.dumps(error)]:
        for secret in (TOKEN, PHONE, PHONE[1:], "%2B", "secret-id", "id=25"):
            assert not (isinstance(said, str) and secret in said)
            assert not (isinstance(said, bytes) and secret.encode() in said)


FAILURES: list[Any] = [
    (reply(401, '{"error": "NotAuthorized"}'), {}, sdk.AuthenticationError),
    (reply(500), {}, sdk.ServerError),
    (reply(302, Location="https://example.com"), {}, sdk.RedirectRefusedError),
    (reply(200, "<html>"), {}, sdk.UnexpectedResponseError),
    (reply(200, "[" * 999), {"max_response_size": 998}, sdk.ResponseTooLargeError),
    (None, {}, sdk.ConnectionLostError),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{", {}, sdk.ConnectionLostError),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n", {}, None),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", {}, sdk.UnexpectedResponseError),
    (b"SSH-2.0-OpenSSH\r\n\r\n", {}, sdk.UnexpectedResponseError),
    (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", {}, sdk.UnexpectedResponseError),
    (hang, {"attempt_timeout": 0.1}, sdk.RequestTimeoutError),
    (hang, {"timeout": 0.1}, sdk.DeadlineExceededError),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", {"attempt_timeout": 0.1}, sdk.RequestTimeoutError),
]


@pytest.mark.parametrize("act", [find, update])
@pytest.mark.parametrize(("response", "settings", "kind"), FAILURES)
async def test_no_failure_carries_a_secret(response: Any, settings: Any, kind: Any, act: Act) -> None:
    """No error holds aiohttp's exception, the token, the query string or a phone number, wherever one looks."""
    async with RawServer([response]) as server, server.client(retry=ONCE, **settings) as client:
        with pytest.raises(kind or CallsInProgressError) as raised:
            await act(client)
        error = raised.value
        assert kind is None or type(error) is kind
        assert len(error.attempts) == 1
        assert error.may_have_been_applied is (act is update and kind is not sdk.AuthenticationError)
        harmless(error)


@pytest.mark.parametrize("act", [find, update])
@pytest.mark.parametrize(
    "body",
    [
        {"errors": {"calling_phone_number": [f"{PHONE} is invalid"], "token": [f"no {TOKEN}"]}},
        {"errors": {PHONE: ["is invalid"], TOKEN: ["is invalid"]}},
        {"error": f"{TOKEN} may not see {PHONE}"},
        {"errors": {"invalid_data": f"Could not find {PHONE} for {TOKEN}", "class": "NotThere"}},
        {"error": "x" * 190 + TOKEN},
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_what_the_server_repeats_is_taken_out(act: Act, body: Any, status: int) -> None:
    """A token or a phone number in its own words reaches neither the error's text nor its attributes."""
    response = reply(status, json.dumps(body), X_Request_Id=f"for-{TOKEN}", Retry_After="0")
    async with RawServer([response]) as server, server.client(retry=ONCE) as client:
        with pytest.raises(sdk.ResponseError) as raised:
            list(await act(client))  # type: ignore[call-overload]
        harmless(raised.value, echoed=True)
        assert TOKEN[:7] not in str(raised.value)


async def test_the_handle_for_support_is_kept() -> None:
    """The digits of an error handle are no phone number, so they are not redacted."""
    body = '{"errors": {"invalid_data": "refer to error handle 1228118400", "class": "InternalServiceError"}}'
    async with (
        RawServer([reply(500, body, X_Request_Id="1234567890123")]) as server,
        server.client(retry=ONCE) as client,
    ):
        with pytest.raises(sdk.ServerError, match="error handle 1228118400") as raised:
            await client.find(ACME)
        assert (raised.value.error_handle, raised.value.request_id) == ("1228118400", "1234567890123")


@pytest.mark.parametrize("act", [find, update])
async def test_a_host_that_is_not_there_was_never_reached(act: Act, unused_tcp_port: int) -> None:
    """ConnectionFailedError, after every attempt, and nothing applied."""
    async with CallsInProgressClient(
        token=TOKEN, base_url=f"http://127.0.0.1:{unused_tcp_port}", retry=sdk.RetryPolicy(initial=0)
    ) as client:
        with pytest.raises(sdk.ConnectionFailedError, match=r"^No connection was made: .*3 attempts\)$") as raised:
            await act(client)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)
        harmless(raised.value)


@pytest.mark.parametrize("act", [find, update])
async def test_an_untrusted_certificate_is_a_tls_error(act: Act) -> None:
    """It is not retried, nothing was applied; with the authority known, all is well."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with RawServer([NO_CALLS if act is find else DONE], ssl=context) as server:
        async with server.client() as client:
            with pytest.raises(sdk.TlsError) as raised:
                await act(client)
            assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (1, False)
            harmless(raised.value)
        assert server.seen == []
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with server.client(ssl=trusting) as client:
            await act(client)
        assert len(server.seen) == 1


@pytest.mark.parametrize("act", [find, update])
async def test_a_host_that_does_not_speak_tls_is_a_tls_error(act: Act) -> None:
    """https:// to a port of plain HTTP."""
    async with (
        RawServer(at_connect=say_and_close(reply(400))) as plain,
        plain.client(base_url=f"https://127.0.0.1:{plain.port}") as client,
    ):
        with pytest.raises(sdk.TlsError) as raised:
            await act(client)
        assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (1, False)
        harmless(raised.value)


@pytest.mark.parametrize("act", [find, update])
async def test_an_error_of_an_injected_session_is_ours_too(act: Act) -> None:
    """A timeout raised within the user's own session is a RequestTimeoutError."""

    async def give_up(*_: Any) -> None:
        raise TimeoutError

    config = TraceConfig()
    config.on_request_start.append(give_up)
    async with RawServer() as server, ClientSession(trace_configs=[config]) as session:  # noqa: SIM117
        async with server.client(retry=ONCE, session=session) as client:
            with pytest.raises(sdk.RequestTimeoutError) as raised:
                await act(client)
            assert not raised.value.may_have_been_applied
            harmless(raised.value)


@pytest.mark.parametrize("act", [find, update])
async def test_a_connection_that_is_not_made_in_time_failed(act: Act) -> None:
    """connect_timeout covers TLS; nothing was sent, and it is tried again."""
    # The server waits for a request, and never responds to the TLS greeting.
    async with RawServer() as server:  # noqa: SIM117
        async with CallsInProgressClient(
            token=TOKEN, base_url=f"https://127.0.0.1:{server.port}", connect_timeout=0.01, retry=AT_ONCE
        ) as client:
            with pytest.raises(sdk.ConnectionFailedError, match="connect_timeout") as raised:
                await act(client)
            assert (len(raised.value.attempts), raised.value.may_have_been_applied) == (3, False)
            harmless(raised.value)
