"""A private value is found wherever it leaks, in any encoding, and the redaction of errors is what keeps it in."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization
from calls_in_progress_async.opentelemetry import OpenTelemetry
from calls_in_progress_async.testing import ScriptedTransport, calls, make_call, run, status
from calls_in_progress_async.testing.privacy import PrivacyCheck
from calls_in_progress_async.transport import operation, redaction
from calls_in_progress_async.transport.operation import Operation

NUMBER = "+18055550142"
TOKEN = "Zk3-secret-token-91"
NAME = "Wei Lindqvist"


def leaks_of(value: Any) -> list[str]:
    check = PrivacyCheck()
    check.mark(NUMBER, TOKEN, NAME)
    check.look_at("here", value)
    return [leak.rpartition(" as ")[2] for leak in check.leaks()]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("private", [NUMBER, TOKEN, NAME])
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("plain", str),
        ("plain", lambda text: repr([text])),
        ("plain", str.upper),
        ("percent", lambda text: "".join(f"%{byte:02x}" for byte in text.encode())),
        ("percent", lambda text: quote("".join(f"%{byte:02X}" for byte in text.encode()))),
        ("repr", lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode())),
        ("repr", lambda text: "".join(f"\\u{ord(each):04x}" for each in text)),
        ("html", lambda text: "".join(f"&#{ord(each)};" for each in text)),
        ("base64", encoded),
        ("base64", lambda text: encoded(f"a{text}")),
        ("base64", lambda text: encoded(f"ab{text}b")),
        ("base64", lambda text: f"/x{encoded(json.dumps({'value': text}))}"),
        ("base64", lambda text: base64.urlsafe_b64encode(f"?>{text}".encode()).decode()),
        ("hex", lambda text: text.encode().hex()),
        ("hex", lambda text: text.encode().hex(":").upper()),
        ("hex", lambda text: f"0x{text.encode().hex()}"),
        ("hex", lambda text: f"a{text.encode().hex()}b"),
    ],
)
def test_every_encoding_is_read(private: str, encoding: str, encode: Callable[[str], str]) -> None:
    """A private value is found in the middle of a text, whatever its encoding."""
    assert encoding in leaks_of(f"before {encode(private)} after")


@pytest.mark.parametrize(
    "text",
    [
        "805-555-0142",
        "(805) 555 0142",
        "+1.805.555.0142",
        "?name=Wei+Lindqvist",
        TOKEN[:14],
        TOKEN[-14:],
        b"\xff8055550142",
        {"extra": NUMBER},
    ],
)
def test_other_spellings_are_read(text: Any) -> None:
    """A number is found with other separators or without its country code, and a token by its beginning or end."""
    assert leaks_of(text)


@pytest.mark.parametrize(
    "text", ["", "all is well", "+18055550143", "2024-02-01T12:00:00Z", TOKEN[:6], "Wei", "0142", TOKEN[-6:], NAME[4:]]
)
def test_other_texts_are_no_leaks(text: str) -> None:
    """Other numbers, and the visible digits of a masked one, pass."""
    assert leaks_of(text) == []


def test_a_value_split_over_a_chain_is_read() -> None:
    """Causes, contexts, notes and members of a group belong together."""
    error = ValueError(NUMBER[:6])
    error.__cause__ = TypeError(NUMBER[6:])
    error.__cause__.__context__ = error  # a cycle ends
    assert leaks_of(error) == ["plain"]
    backwards = ValueError(NUMBER[6:])
    backwards.__context__ = TypeError(NUMBER[:6])
    assert leaks_of(backwards) == ["plain"]
    assert leaks_of(ExceptionGroup("several", [KeyError(1), ValueError(NAME)])) == ["plain"]
    noted = ValueError("x")
    noted.add_note(f"while reading {NUMBER}")
    assert leaks_of(noted) == ["plain"]


def test_what_is_put_out_is_read(tmp_path: Path) -> None:
    """Logs of every level, their extras and exceptions, warnings, output, files and their names are read."""
    check = PrivacyCheck()
    check.mark(NUMBER, "")
    log, other = logging.getLogger("calls_in_progress_async.somewhere"), logging.getLogger("app")
    level = logging.getLogger().level
    with warnings.catch_warnings(record=True) as caught, check.observing():
        warnings.simplefilter("always")
        log.debug("call from %s", NUMBER)
        other.debug("call from %s", NUMBER)
        log.info("found", extra={"caller": NUMBER})
        try:
            raise ValueError(NUMBER)
        except ValueError:
            log.exception("failed")
        warnings.warn(f"call from {NUMBER}", stacklevel=1)
    check.look_at_output("", NUMBER.encode())
    assert len(caught) == 1
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / NUMBER).write_text("x")
    (tmp_path / "dump.bin").write_bytes(b"\x00" + NUMBER.encode().hex().encode())
    check.look_at_files(tmp_path)
    log.warning("after the block: %s", NUMBER)
    assert logging.getLogger().level == level
    value = "+1... (12 characters)"
    record = "a log record of calls_in_progress_async.somewhere"
    assert check.leaks() == [
        f"{value} in {record}, as plain",
        f"{value} in a log record of app, as plain",
        f"{value} in the exception of {record}, as plain",
        f"{value} in a warning, as plain",
        f"{value} in stderr, as plain",
        f"{value} in the name of a file, as plain",
        f"{value} in file dump.bin, as hex",
    ]
    with pytest.raises(AssertionError, match="private values leaked:"):
        check.check()


def test_spans_are_read() -> None:
    """Spans of the global tracer provider are read when the SDK is there."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    check = PrivacyCheck()
    check.mark(NUMBER)
    with pytest.MonkeyPatch.context() as patch:
        provider = sdk.TracerProvider()
        patch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
        with check.observing(), provider.get_tracer("t").start_as_current_span("find") as span:
            span.set_attribute("caller", NUMBER)
    assert check.leaks() == ["+1... (12 characters) in span find, as plain"]


SHORT_TOKEN = "k9x"
MATHEMATICAL = "".join(chr(0x1D7CE + int(digit)) for digit in NUMBER[1:])
FULL_WIDTH = "".join(chr(0xFF10 + int(digit)) for digit in NUMBER[1:])


def as_json(text: str) -> str:
    """Escape every character, as JSON may."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def as_octets(text: str, prefix: str = "%") -> str:
    return "".join(f"{prefix}{byte:02x}" for byte in text.encode())


def as_html(text: str, form: str = "&#{};") -> str:
    return "".join(form.format(ord(character)) for character in text)


def in_turns(text: str, *forms: str) -> str:
    """Write characters in several forms, so that no two separators in a row are the same."""
    return "".join(forms[at % len(forms)].format(ord(character)) for at, character in enumerate(text))


ECHOES: dict[str, Any] = {
    "a number": f"no call from {NUMBER}",
    "a number with separators": "no call from (80) 5555-0142",
    "a number in lines": r"no call from 80\n5555\t0142",
    "a number with named separators": "no call from 80&nbsp;5555&ensp;0142",
    "a number in percent": as_octets(NUMBER),
    "a number in percent, twice": as_octets(NUMBER, "%25"),
    "a number in octets": in_turns(NUMBER, r"\x{:x}", r"\\x{:x}"),
    "a number in JSON": as_json(NUMBER),
    "a number in HTML": as_html(NUMBER),
    "a number in hexadecimal HTML": in_turns(NUMBER, "&#x{:x};", "&#X{:x};"),
    "digits of full width in percent": as_octets(
        "".join(FULL_WIDTH[at] if at % 2 else NUMBER[at + 1] for at in range(11))
    ),
    "mathematical digits in JSON": as_json(MATHEMATICAL),
    "a number in a list": {"errors": {"id": [f"not {NUMBER}"]}},
    "a number as a name": {"errors": {NUMBER: ["is unknown"]}},
    "a token": f"wrong: {TOKEN}",
    "a token that is cut off": f"wrong: {TOKEN[:8]}",
    "a token in percent": as_octets(TOKEN),
    "a token in percent, twice": as_octets(TOKEN, "%25"),
    "a token in octets": as_octets(TOKEN, r"\x"),
    "a token in JSON": as_json(TOKEN),
    "a token in HTML": as_html(TOKEN),
    "a token in hexadecimal HTML": as_html(TOKEN, "&#x{:x};"),
    "a token in a list": {"errors": {"id": [f"not {TOKEN}"]}},
    "a short token": f"wrong: {SHORT_TOKEN}",
    "a short token after percent": f"wrong:%20{SHORT_TOKEN}",
    "a short token after JSON": rf"wrong:\u0020{SHORT_TOKEN}",
    "a short token after a tab": rf"wrong:\t{SHORT_TOKEN}",
}


def report(echo: Any) -> PrivacyCheck:
    """Log the error of a find for a response that repeats the caller's number or the token."""
    token = SHORT_TOKEN if SHORT_TOKEN in str(echo) else TOKEN
    check = PrivacyCheck()
    check.mark(NUMBER, token, TOKEN[:8], TOKEN[8:])
    body = json.dumps(echo if isinstance(echo, dict) else {"error": echo})

    async def main() -> None:
        transport = ScriptedTransport(status(422, body=body.encode()))
        async with CallsInProgressClient(token=token, transport=transport) as client:
            try:
                await client.find(Organization.advertiser(2), external_unique_id="call 1")
            except CallsInProgressError:
                logging.getLogger(__name__).exception("find failed")

    with check.observing():
        run(main)
    return check


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_errors_are_private(echo: Any) -> None:
    """The client's errors hold neither the number nor the token of a response."""
    report(echo).check()


WEAKER = [
    ("""_token_pattern(token).sub("[token]", value) if token else value""", "value"),
    ("_redact_phone_numbers(text) if digits else text", "text"),
    ("{redact(name, token): redact(each, token)", "{name: redact(each, token)"),
    ("{redact(name, token): redact(each, token)", "{redact(name, token): each"),
    ("type(value)(redact(each, token) for each in value) if", "value if"),
    ("0(?: *0)", "0(?:0)"),
    (r"(?:%(?:25)*|\\+x)(?P<octet>", r"(?:%(?:25)*)(?P<octet>"),
    (r"(?:%(?:25)*|\\+x)(?P<octet>", r"(?:\\+x)(?P<octet>"),
    (r"\\+u(?P<json>", r"(?!)(?P<json>"),
    ("&#[xX](?P<html>", "(?!)(?P<html>"),
    ("|&[a-z]{2,8};", ""),
    (r"|\\[abfnrtv]", ""),
    ("""        return "0"\n""", "        pass\n"),
    ("return end, octets.decode()", "return match.end(), chr(octets[0])"),
    ("code = int(decimal)", """return end, "a" """),
    ("code = int(digits, 16)", """return end, "a" """),
    ("""return end, " " """, "return end, chr(97 + end % 26)"),
    ("code = 0x10000 +", "code +"),
    ("(?<![\\w\\\\])(?<!\\w['-])", "(?!)"),
    ("(?<=%[0-9A-Fa-f]{2})", "(?!)"),
    (r"(?<=\\u[0-9A-Fa-f]{4})", "(?!)"),
    (r"(?<=\\[a-z])", "(?!)"),
    ("in token[:_MIN_PREFIX]", "in token"),
    ("{written}\\S*", "{written}"),
    ("|%(?:25)*{as_hex}", ""),
    ("%(?:25)*{as_hex}", "%{as_hex}"),
    (r"|\\+u00{as_hex}", ""),
    (r"|\\+x{as_hex}", ""),
    ("&#(?:0*{code}|[xX]0*{as_hex});", "&#(?:[xX]0*{as_hex});"),
    ("&#(?:0*{code}|[xX]0*{as_hex});", "&#(?:0*{code});"),
]
"""Parts of transport/redaction.py that keep a number or a token in, each with less of it."""


@pytest.mark.parametrize(("part", "less"), WEAKER)
def test_less_redaction_is_a_leak(part: str, less: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes red when a part of transport/redaction.py is taken out."""
    source = inspect.getsource(redaction)
    assert part in source
    weaker: dict[str, Any] = {"__name__": redaction.__name__}
    exec(compile(source.replace(part, less), "redaction.py", "exec"), weaker)
    monkeypatch.setattr("calls_in_progress_async.transport.operation.redact", weaker["redact"])
    assert any(report(echo).leaks() for echo in ECHOES.values())


@pytest.mark.parametrize(
    ("line", "less"),
    [
        ("error.args = (redact(message, self.token),)", "error.args = (message,)"),
        (
            """vars(error)[name] = redact(value, self.token, digits=name not in ("request_id", "error_handle"))""",
            "pass",
        ),
    ],
)
def test_an_error_left_alone_is_a_leak(line: str, less: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes red when the message or the attributes of an error are not redacted."""
    source = textwrap.dedent(inspect.getsource(Operation.annotate))
    assert line in source
    weaker = {**vars(operation)}
    exec(source.replace(line, less), weaker)
    monkeypatch.setattr(Operation, "annotate", weaker["annotate"])
    assert any(report(echo).leaks() for echo in ECHOES.values())


async def find_and_log() -> PrivacyCheck:
    """Find a call by the caller's number, log the call, and record the spans."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    check, provider = PrivacyCheck(), sdk.TracerProvider(shutdown_on_exit=False)
    check.mark(NUMBER)
    call = make_call(calling_phone_number=NUMBER)
    hooks = OpenTelemetry(tracer_provider=provider)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
        with check.observing():
            client = CallsInProgressClient(
                token=TOKEN, transport=ScriptedTransport(calls(call)), instrumentation=[hooks]
            )
            found = await client.find(
                Organization.advertiser(2), calling_phone_number=NUMBER, destination_phone_number="+18555595599"
            )
            logging.getLogger(__name__).info("found %s", found[0])
    return check


async def test_spans_and_records_are_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes red when the URL of a span, or the repr of a call, is not redacted."""
    (await find_and_log()).check()
    with monkeypatch.context() as patch:
        patch.setattr(
            "calls_in_progress_async.transport.reports.redact_url", lambda base_url, target: base_url + target
        )
        assert [leak.rpartition(" in ")[2] for leak in (await find_and_log()).leaks()] == ["span GET, as plain"]
    monkeypatch.setattr("calls_in_progress_async.records.call.masked", repr)
    assert [leak.rpartition(" as ")[2] for leak in (await find_and_log()).leaks()] == ["plain"]
