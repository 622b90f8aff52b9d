"""Secrets never leave: the token, callers' numbers, query strings, and a hostile server's control characters."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import pickle
import re
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from faults.test_bad_servers import FAULTS, Fault
from raw_server import ACME, NO_CALLS, TOKEN, Act, RawServer, reply, say, say_and_close, say_and_hang

import calls_in_progress_async as sdk
from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization, RateLimit, RetryPolicy
from calls_in_progress_async.transport.operation import Operation
from calls_in_progress_async.transport.redaction import redact
from calls_in_progress_async.transport.wire import WireRequest, WireResponse

PHONE = "+15309991234"
OTHER = "+18555595599"
SECRET_ID = "secret-external-id"


def find(client: CallsInProgressClient) -> Any:
    return client.find(ACME, calling_phone_number=PHONE, destination_phone_number=OTHER, external_unique_id=SECRET_ID)


def update(client: CallsInProgressClient) -> Any:
    return client.update(ACME, external_unique_id=SECRET_ID, custom_data={"Caller": PHONE})


def said(error: BaseException) -> list[str]:
    """Collect the texts of an error for a log, a report or an unpickling process."""
    return [
        *(str(error), repr(error), repr(error.args), repr(vars(error)), repr(getattr(error, "__notes__", []))),
        *(repr(pickle.dumps(error)), repr(error.__cause__), repr(error.__context__)),
        "".join(traceback.format_exception(error)),
    ]


def our_locals(error: BaseException) -> list[str]:
    """The local variables of our own frames, as an error reporter shows them."""
    return [
        f"{frame.f_code.co_qualname}: {name}={value!r}"
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "calls_in_progress_async" in frame.f_globals.get("__name__", "")
        for name, value in frame.f_locals.items()
    ]


def escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


ECHOES = {
    "error": lambda t: reply(400, json.dumps({"error": f"bad key {t}"})),
    "error class": lambda t: reply(500, json.dumps({"errors": {"class": t, "invalid_data": f"x{t}y"}})),
    "field error": lambda t: reply(422, json.dumps({"errors": {"id": [f"{t} is bad"], t: ["is unknown"]}})),
    "escaped in JSON": lambda t: reply(403, f'{{"error": "{"".join(map(escaped, t))}"}}'),
    "cut off": lambda t: reply(400, json.dumps({"error": "x" * 190 + t})),
    "text": lambda t: reply(401, t),
    "request id": lambda t: reply(503, b"", f"X-Request-Id: {t}"),
    "retry after": lambda t: reply(503, b"", f"Retry-After: {t}"),
    "location": lambda t: reply(302, b"", f"Location: http://127.0.0.1/?{t}"),
    "reason phrase": lambda t: f"HTTP/1.1 500 {t}\r\nContent-Length: 0\r\n\r\n".encode(),
    "header name": lambda t: reply(400, b"", f"{t}: x"),
    "broken header": lambda t: reply(200, b"", f"{t} x"),
    "broken status line": lambda t: f"HTTP/1.1 {t}\r\n\r\n".encode(),
    "no HTTP": lambda t: f"{t}\r\n\r\n".encode(),
    "content encoding": lambda t: reply(200, t, f"Content-Encoding: {t}"),
    "bad gzip": lambda t: reply(200, t, "Content-Encoding: gzip"),
    "chunk": lambda t: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{t}\r\n".encode(),
    "200 that is not JSON": lambda t: reply(200, t),
    "200 without a list": lambda t: reply(200, json.dumps({t: t})),
    "200 with a bad list": lambda t: reply(200, json.dumps({"current_calls": t})),
    "200 with a bad call": lambda t: reply(200, json.dumps({"current_calls": [{"start_time": t}]})),
    "too large": lambda t: reply(200, t * 500),
}


@pytest.fixture
async def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All loggers at the lowest level, and the loop in its debug mode."""
    caplog.set_level(logging.NOTSET)
    for name in ("asyncio", "aiohttp.client", "aiohttp.internal", "aiohttp", "charset_normalizer"):
        caplog.set_level(logging.NOTSET, logger=name)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0  # every step is "slow", and is logged
    return caplog


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join([*(record.getMessage() for record in caplog.records), caplog.text, repr(caplog.record_tuples)])


@pytest.mark.parametrize("act", [find, update])
@pytest.mark.parametrize("where", ECHOES)
async def test_an_echoed_token_reaches_no_error_and_no_log(
    where: str, act: Any, everything_logged: pytest.LogCaptureFixture
) -> None:
    """Any part of the response may echo it, for a strict client and for every kind of request."""
    script = [say_and_close(ECHOES[where](TOKEN))]
    settings = {"strict": True, "max_response_size": 8000, "retry": RetryPolicy(max_attempts=2, initial=0)}
    async with RawServer(script) as server, server.client(**settings) as client:
        try:
            await act(client)
        except CallsInProgressError as error:
            for text in [*said(error), *our_locals(error)]:
                assert TOKEN not in text
                assert TOKEN[:8] not in text
        else:
            assert act is update
            assert where.startswith("200")
        assert server.seen
    assert everything_logged.records  # there was something to look at
    for secret in (TOKEN, PHONE[1:], SECRET_ID, "%2B1530"):
        assert secret not in logged(everything_logged)


@pytest.mark.parametrize("act", [find, update])
@pytest.mark.parametrize(
    "row", [pytest.param(each, id=each.name) for each in FAULTS if each.error and not each.settings]
)
async def test_no_fault_brings_a_secret_into_an_error(
    row: Fault, act: Any, everything_logged: pytest.LogCaptureFixture
) -> None:
    """Neither the token nor the query string, a number or an id of the request is in its error or in a log."""
    async with RawServer([row.act or say()], at_connect=row.at_connect) as server, server.client() as client:
        try:
            await act(client)
        except CallsInProgressError as error:
            for text in said(error):
                for secret in (TOKEN, PHONE[1:], OTHER[1:], SECRET_ID, "organization_type="):
                    assert secret not in text
            for text in our_locals(error):
                assert TOKEN not in text
    for secret in (TOKEN, PHONE[1:], OTHER[1:], SECRET_ID):
        assert secret not in logged(everything_logged)


@pytest.mark.parametrize("settings", [{"attempt_timeout": 0.01}, {"timeout": 0.01}])
@pytest.mark.parametrize("act", [find, update])
async def test_no_timeout_error_holds_a_secret(act: Any, settings: Any) -> None:
    """RequestTimeoutError and DeadlineExceededError hold neither the token nor the query."""
    settings = {"retry": RetryPolicy(max_attempts=1), **settings}
    async with RawServer([say_and_hang()]) as server, server.client(**settings) as client:
        with pytest.raises(sdk.RequestTimeoutError) as raised:
            await act(client)
    for text in [*said(raised.value), *our_locals(raised.value)]:
        assert TOKEN not in text
    for text in said(raised.value):
        assert PHONE[1:] not in text
        assert SECRET_ID not in text


async def test_no_repr_shows_a_token() -> None:
    """The client's and its parts', at rest and while a request runs; nor the exported state's."""
    async with RawServer([say_and_hang()]) as server, server.client(rate_limit=RateLimit.adaptive()) as client:
        task = asyncio.create_task(update(client))
        await server.until(lambda: server.seen)
        delivery = client._pipeline
        things = [client, delivery, delivery._tokens, delivery._settings, client._transport, client._limiter, task]
        things += [client._limiter.snapshot(), client._limiter.export_state(), *delivery._lifetime.scopes]
        things += [frame.f_locals for frame in task.get_stack()]
        assert TOKEN not in repr(things)
        assert TOKEN not in json.dumps(client._limiter.export_state())
        task.cancel()


def test_no_repr_shows_wire_contents() -> None:
    """Neither a request's target and body nor a response's headers and body appear: they may hold numbers."""
    request = WireRequest(method="PUT", target=f"/?n={PHONE}", body=PHONE.encode(), ordering_keys=((SECRET_ID,),))
    response = WireResponse(200, {"X-Echo": TOKEN}, PHONE.encode())
    for secret in (PHONE, SECRET_ID, TOKEN):
        assert secret not in repr((request, response))


async def test_the_token_is_in_no_url() -> None:
    """The request line never holds the token, for any arguments."""
    async with RawServer([say(NO_CALLS)]) as server, server.client() as client:
        await find(client)
        await update(client)
    for request in server.seen:
        assert TOKEN not in request.head.split(b"\r\n")[0].decode()
        assert request.text.count(TOKEN) == 1


async def test_tokens_of_a_callable_reach_no_error() -> None:
    """Neither the callable's first token nor the next one appears in an error."""
    tokens = ["first-secret-token", "second-secret-token"]

    def ask(_: Organization) -> str:
        return tokens.pop(0)

    async def echo(exchange: Any) -> None:
        token = exchange.request.head.decode().split("Authorization: ")[1].split("\r\n")[0]
        await exchange.send(reply(401, json.dumps({"error": token})))

    async with RawServer([echo]) as server, server.client(token=ask) as client:
        with pytest.raises(sdk.AuthenticationError) as raised:
            await client.find(ACME)
        assert len(server.seen) == 2
    for text in [*said(raised.value), *our_locals(raised.value)]:
        assert "secret-token" not in text


async def test_a_slow_token_callable_does_not_get_its_token_into_the_debug_log(
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    """Asyncio's debug mode logs a task with a slow step, and its result."""

    async def ask(_: Organization) -> str:
        await asyncio.sleep(0)
        return "first-secret-token"

    async with RawServer([say(NO_CALLS)]) as server, server.client(token=ask) as client:
        await asyncio.gather(client.find(ACME), client.find(ACME))
    assert "Executing" in logged(everything_logged)
    assert "secret-token" not in logged(everything_logged)


HOSTILE = "\x1b[31m\x1b]0;title\x07 \r\n2026-01-01 ERROR forged\u2028line\x85\u202ereversed\x00\ud800 é"
PAYLOADS: list[bytes] = [
    reply(400, json.dumps({"error": HOSTILE})),
    reply(422, json.dumps({"errors": {HOSTILE: [HOSTILE]}})),
    reply(500, json.dumps({"errors": {"class": HOSTILE, "invalid_data": HOSTILE}})),
    reply(503, b"", "X-Request-Id: a\x1b[31mb"),
    reply(200, json.dumps({"current_calls": HOSTILE})),
    reply(200, json.dumps({HOSTILE: 1})),
    b"HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("payload", [pytest.param(each, id=str(n)) for n, each in enumerate(PAYLOADS)])
async def test_a_payload_cannot_inject_into_a_log(payload: bytes, everything_logged: pytest.LogCaptureFixture) -> None:
    """An error is one printable ASCII line, and so are the texts it has as attributes; nothing of it is logged."""
    settings = {"retry": RetryPolicy(max_attempts=1)}
    async with RawServer([say(payload)]) as server, server.client(**settings) as client:
        with pytest.raises(sdk.ResponseError) as raised:
            await client.find(ACME)
    error = raised.value
    texts = [str(error), error.request_id or ""]
    texts += [text for each in getattr(error, "field_errors", {}).values() for text in each]
    for text in texts:
        assert text.isascii()
        assert text == "" or text.isprintable()
    assert "\x1b" not in logged(everything_logged)
    assert "forged" not in logged(everything_logged)


NUMBERS: list[tuple[Act, str]] = [
    (say(reply(400, json.dumps({"error": "no call from 5309991234 now"}))), "HTTP 400: no call from [digits] now"),
    (say(reply(422, json.dumps({"errors": {"calling": [f"{PHONE} is bad"]}}))), "HTTP 422: calling: +[digits] is bad"),
    (say(reply(403, json.dumps({"errors": {"5309991234": ["bad"]}}))), "HTTP 403: [digits]: bad"),
    (
        say(reply(500, json.dumps({"errors": {"invalid_data": "refer to error handle 1228118400 for 5309991234"}}))),
        "HTTP 500: refer to error handle 1228118400 for [digits]",
    ),
    (say(reply(404, json.dumps({"error": "id 123456 of 1234567"}))), "HTTP 404: id 123456 of [digits]"),
    (say(reply(400, json.dumps({"error": "(530) 999-1234 is busy"}))), "HTTP 400: ([digits] is busy"),
]


@pytest.mark.parametrize(("act", "text"), NUMBERS)
async def test_a_phone_number_in_a_servers_text_is_not_passed_on(act: Act, text: str) -> None:
    """Seven digits in a row or more are redacted, except an error handle for the vendor's support."""
    async with RawServer([act]) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(sdk.ResponseError) as raised:
            await client.find(ACME)
    assert str(raised.value) == text
    assert "5309991234" not in str(said(raised.value))


GROUPED = {
    "(530) 999-9999": "([digits]",
    "+1 530-999-9999": "+[digits]",
    "+1 (530) 999-9999": "+[digits]",
    "1-530-999-9999": "[digits]",
    "530.999.9999": "[digits]",
    "530 999 9999": "[digits]",
    "5 3 0 9 9 9 9 9 9 9": "[digits]",
    "999-9999": "[digits]",
    "+49 (0) 30 1234567": "+[digits]",
    "530-999-9999 x12": "[digits] x12",
    "530/999/9999": "[digits]",
    "530_999_9999": "[digits]",
    "530,999,9999": "[digits]",
    "5, 3, 0, 9, 9, 9, 9, 9": "[digits]",
    "530 - - - - - - 999 ------ 9999": "[digits]",
    "530%20999%209999": "[digits]",
    "%2B1530%2D999%2D9999": "%2B[digits]",
    "530&nbsp;999&#8209;9999": "[digits]",
    "5x3x0x9x9x9x1x2x3x4": "[digits]",
    "530x999x1234": "[digits]",
    "530 dot 999 dot 1234": "[digits]",
    "530</b><b>999</b><b>1234": "[digits]",
    "530%78999%781234": "[digits]",
    "530<br/>999<br>1234": "[digits]",
    "area_code=530&exchange=999&number=1234": "area_code=[digits]",
    "area: 530, prefix: 999, line: 1234": "area: [digits]",
    "1 (530) ext999 no. 1234": "1 ([digits]",
}
KEPT = [
    "ABCD1234-ABCD1234",
    "HTTP 404",
    "HTTP 400, 401 or 403",
    "error handle 1228118400",
    "The body is larger than 33554432 bytes.",
    "123456",
    "530-999",
    "ids 1 to 2, 3 to 4, 5 to 6, 7 to 8",
    "2022-08",
    "3f9a8b7c-1d2e-4f5a-8b9c-0d1e2f3a4b5c",
    "v1x2x3 or 4",
    "a530 b9999 c1234",
    "v1x2x3 of 12345",
]


@pytest.mark.parametrize("number", GROUPED)
async def test_a_phone_number_is_redacted_in_any_grouping(number: str) -> None:
    """The text and the field errors, names and values alike, hold no digits of it."""
    assert redact(f"{number} is bad", "") == f"{GROUPED[number]} is bad"
    body = json.dumps({"errors": {"calling_phone_number": [f"{number} is bad"], number: ["unknown"]}})
    async with RawServer([say(reply(422, body))]) as server, server.client() as client:
        with pytest.raises(sdk.RequestRejectedError) as raised:
            await client.find(ACME)
    masked = GROUPED[number]
    assert raised.value.field_errors == {"calling_phone_number": (f"{masked} is bad",), masked: ("unknown",)}
    assert str(raised.value) == f"HTTP 422: calling_phone_number: {masked} is bad, {masked}: unknown"


DASHES = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Pd"]
SPACES = [
    chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp", "Cf")
]
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, all of it": lambda text: "".join(f"%{octet:02x}" for octet in text.encode()),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, all of it": lambda text: "".join(map(escaped, text)),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(character):x};" for character in text),
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "made printable": lambda text: re.sub(r"[^ -~]", "?", text),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_phone_number_is_redacted_with_any_separator(how: str) -> None:
    """Every dash and space of Unicode counts, and so do invisible characters."""
    for separator in [*DASHES, *SPACES, "/", "_", ",", "\u00a0\u2011", " \u2013 ", "\ufe0f\u20e3"]:
        if how == "JSON, all of it" and max(separator) > "\uffff":
            continue
        number = WRITTEN[how](separator.join(["530", "999", "12", "34"]))
        assert redact(f"of {number}.", "") == "of [digits].", ascii(separator)


ZEROS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.decimal(chr(code), None) == 0]


@pytest.mark.parametrize("how", [how for how in WRITTEN if how != "made printable"])
def test_a_phone_number_is_redacted_in_the_digits_of_any_script(how: str) -> None:
    """Arabic, Devanagari, fullwidth, mathematical, superscript and circled ones, however they are written."""
    numbers = ["".join(chr(ord(zero) + int(digit)) for digit in "5309991234") for zero in ZEROS]
    for number in [*numbers, "⁵³⁰⁹⁹⁹¹²³⁴", "①③⑤⑦⑨①③⑤⑦"]:
        if how == "JSON, all of it" and max(number) > "\uffff":
            continue
        assert redact(f"of {WRITTEN[how](number)}.", "") == "of [digits].", ascii(number)


def test_malformed_escapes_are_read_unchanged() -> None:
    """Escapes cut off, invalid UTF-8 and code points beyond Unicode do not fail the redaction."""
    for text in ["%", "%f", "%ff%", "%e2%80", "\\ud801", "\\ud801\\ud801", "&#9999999;", "&#xffffff;", "&amp"]:
        assert redact(f"{text} 1234567 {text}", "") == f"{text} [digits] {text}"
        assert redact(text, "") == text


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_phone_number_is_left(text: str) -> None:
    """Ids with letters, statuses, sizes, the error handle, and fewer than seven digits."""
    assert redact(f"x: {text}", "") == f"x: {text}"
    assert redact(text, "") == text


async def test_what_support_asks_for_is_kept() -> None:
    """request_id and error_handle keep their digits."""
    body = json.dumps({"errors": {"invalid_data": "refer to error handle 1228118400"}})
    script = [say(reply(500, body, "X-Request-Id: 98765432109"))]
    async with RawServer(script) as server, server.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(sdk.ServerError) as raised:
            await client.find(ACME)
    assert (raised.value.request_id, raised.value.error_handle) == ("98765432109", "1228118400")


SHORT_TOKENS = ["t", "a1", "k9x", "a+b", "(z|", ".*", "s3cr3"]
WORDS: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: f"the key {t} is bad",
    "quoted": lambda t: f"bad key: '{t}'",
    "at the ends": lambda t: t,
    "in a query": lambda t: f"/x?key={t}&b=1",
    "in JSON": lambda t: json.dumps({"key": t}),
    "in JSON that is in JSON": lambda t: json.dumps(json.dumps({"key": t})),
    "in JSON with all escaped": lambda t: "".join(map(escaped, t)),
    "in JSON with all escaped, in capitals": lambda t: "".join(map(escaped, t)).upper().replace("U", "u"),
    "percent-encoded": lambda t: f"/x?key={quote(t, safe='')}",
    "percent-encoded twice": lambda t: f"/x?key={quote(quote(t, safe=''), safe='')}",
    "all of it percent-encoded": lambda t: "key%20" + "".join(f"%{ord(each):02x}" for each in t),
    "after an encoded space": lambda t: f"key%20{t}%20bad",
    "after an escaped line end": lambda t: f"key:\\n{t}\\nbad",
    "after an escaped letter": lambda t: f"key\\u003d{t}\\u0020bad",
    "in HTML": lambda t: f"<b>{html.escape(t)}</b>",
    "in HTML with all escaped": lambda t: "".join(f"&#{ord(each)};" for each in t),
    "in HTML with all escaped in hexadecimal": lambda t: "".join(f"&#x{ord(each):X};" for each in t),
    "in Python": lambda t: "key='" + "".join(f"\\x{ord(each):02x}" for each in t),
}


@pytest.mark.parametrize("where", WORDS)
@pytest.mark.parametrize("token", [*SHORT_TOKENS, "a+b/c=.$^{d}", "abcdef", '"quoted"&<angled>'])
def test_a_token_of_any_length_is_found_however_it_is_written(token: str, where: str) -> None:
    """Written plainly, percent-encoded, or escaped as in JSON, HTML or Python, with special characters of `re`."""
    text = redact(WORDS[where](token), token)
    assert "[token]" in text
    for form in (token, quote(token, safe=""), json.dumps(token)[1:-1], html.escape(token)):
        assert not re.search(rf"(?<![\w%\\]){re.escape(form)}(?!\w)", text.replace("[token]", ""))


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("t", "the text, it can't: t-shirts, left_t, 10%t20"),
        ("n", "no new line\\n in"),
        ("test", "the latest testing of test_data and pre-test-run"),
        ("+", "a b+c %20"),
        ("", "no token was sent"),
        ("abcdef", "abcde bcdef"),
    ],
)
def test_a_short_token_is_redacted_as_a_whole_word_only(token: str, text: str) -> None:
    """A short token inside a longer word is left alone."""
    assert redact(text, token) == text


def test_a_long_token_is_redacted_if_cut_off_or_inside_a_word() -> None:
    """Its first six characters are enough, and the rest up to a space goes too."""
    assert redact("xabcdefgh-i rest", "abcdefgh") == "x[token] rest"
    assert redact("cut off: abcdef", "abcdefgh") == "cut off: [token]"
    assert redact("xabcdefy", "abcdef") == "x[token]"
    assert redact("xabcdey", "abcde") == "xabcdey"
    assert redact(("abcdefgh", 5, {"abcdefgh": ["abcdefgh"]}), "abcdefgh") == (
        *("[token]", 5), {"[token]": ["[token]"]})  # fmt: skip


SHORT_ECHOES: dict[str, Callable[[str], bytes]] = {
    name: ECHOES[name]
    for name in (
        *("error", "field error", "escaped in JSON", "text", "request id", "retry after", "location", "reason phrase"),
        *("header name", "broken header", "broken status line", "no HTTP", "content encoding", "chunk"),
        *("200 that is not JSON", "200 without a list", "200 with a bad list", "200 with a bad call"),
    )
} | {
    "error handle": lambda t: reply(500, json.dumps({"errors": {"invalid_data": f"error handle {t}", "class": t}})),
    "a field with a note": lambda t: reply(400, json.dumps({"errors": {"organization_type": [t], t: [t]}})),
    "path": lambda t: reply(200, json.dumps({"current_calls": [{t: t, "start_time": {t: t}}, t]})),
}


@pytest.mark.parametrize("act", [find, update])
@pytest.mark.parametrize("where", SHORT_ECHOES)
@pytest.mark.parametrize("token", ["k9x", "a+9", "s3cr3"])
async def test_a_short_token_reaches_no_error(token: str, where: str, act: Any) -> None:
    """request_id, error_handle, field_errors, path and the notes hold no short token."""
    script = [say_and_close(SHORT_ECHOES[where](token))]
    settings = {"strict": True, "retry": RetryPolicy(max_attempts=2, initial=0)}
    async with RawServer(script) as server, server.client(token=token, **settings) as client:
        try:
            await act(client)
        except CallsInProgressError as error:
            for text in said(error):
                assert token not in text
        else:
            assert act is update


def test_notes_and_attributes_are_redacted() -> None:
    """Texts in a list of notes, a tuple or a mapping; a number stays."""
    operation = Operation(WireRequest(method="GET", target="/"), ACME, float, 0.0, None, token="k9x")
    facts = {"request_id": "k9x 12345678", "error_handle": "k9x", "path": "k9x[0].5309991234", "status": 500}
    error = sdk.ServerError("k9x", field_errors={"k9x": ("k9x", "5309991234")}, **facts)
    error.add_note("k9x 5309991234")
    operation.annotate(error)
    assert "k9x" not in str(said(error))
    assert error.__notes__ == ["[token] [digits]"]
    assert vars(error)["field_errors"] == {"[token]": ("[token]", "[digits]")}
    assert (error.request_id, error.status) == ("[token] 12345678", 500)
    assert vars(error)["path"] == "[token][[digits]"


async def test_a_large_update_is_no_warning() -> None:
    """A body above 1 MiB goes out as any other: aiohttp's own payload would warn, with the payload in hand."""
    async with RawServer([say(reply(202))]) as server, server.client() as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            done = await client.update(ACME, transaction_id="T", custom_data={"a": "b" * 2**21})
        assert done.accepted_only
        assert len(server.seen[0].body) > 2**21
