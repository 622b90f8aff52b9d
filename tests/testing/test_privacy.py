"""A private value is found wherever it leaks, in any encoding, and the redaction of errors is what keeps it in."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from calls_in_progress_async import CallsInProgressClient, CallsInProgressError, Organization
from calls_in_progress_async.testing import ScriptedTransport, run, status
from calls_in_progress_async.testing.privacy import PrivacyCheck
from calls_in_progress_async.transport import redaction

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
        b"\xff8055550142",
        {"extra": NUMBER},
    ],
)
def test_other_spellings_are_read(text: Any) -> None:
    """A number is found with other separators and without its country code, and a cut-off token by its beginning."""
    assert leaks_of(text)


@pytest.mark.parametrize("text", ["", "all is well", "+18055550143", "2024-02-01T12:00:00Z", TOKEN[:6], "Wei", "0142"])
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
    log = logging.getLogger("calls_in_progress_async.somewhere")
    with warnings.catch_warnings(record=True) as caught, check.observing():
        warnings.simplefilter("always")
        log.debug("call from %s", NUMBER)
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
    value = "+1... (12 characters)"
    record = "a log record of calls_in_progress_async.somewhere"
    assert check.leaks() == [
        f"{value} in {record}, as plain",
        f"{value} in the exception of {record}, as plain",
        f"{value} in a warning, as plain",
        f"{value} in stderr, as plain",
        f"{value} in file dump.bin, as hex",
        f"{value} in the name of a file, as plain",
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


BODIES = [
    f'{{"error": "no call from {NUMBER} with {TOKEN}"}}',
    json.dumps({"errors": {"invalid_data": f"{quote(NUMBER)} {TOKEN}", "class": "X"}}),
    json.dumps({"errors": {f"calling {NUMBER}": [f"is invalid for {TOKEN}"]}}),
]


def report_errors() -> PrivacyCheck:
    """Log the errors for responses that hold the caller's number and the token."""
    check = PrivacyCheck()
    check.mark(NUMBER, TOKEN)

    async def main() -> None:
        for body in BODIES:
            transport = ScriptedTransport(status(403, body=body.encode()))
            async with CallsInProgressClient(token=TOKEN, transport=transport) as client:
                try:
                    await client.find(Organization.advertiser(2))
                except CallsInProgressError:
                    logging.getLogger(__name__).exception("find failed")

    with check.observing():
        run(main)
    return check


def test_errors_are_private() -> None:
    """The client's errors hold neither the number nor the token of a response."""
    report_errors().check()


@pytest.mark.parametrize(
    "line",
    [
        "        return _redact_phone_numbers(text) if digits else text",
        '        kinds += "a" if any(first <= start < last for first, last in kept) else _kind(character)',
        "        return {redact(name, token): redact(each, token) for name, each in value.items()}",
    ],
)
def test_a_line_less_of_the_redaction_is_a_leak(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check goes red when one line of transport/redaction.py is taken out."""
    source = inspect.getsource(redaction)
    assert line in source
    without: dict[str, Any] = {"__name__": redaction.__name__}
    exec(
        compile(source.replace(line, line[: len(line) - len(line.lstrip())] + "pass"), "redaction.py", "exec"), without
    )
    monkeypatch.setattr("calls_in_progress_async.transport.operation.redact", without["redact"])
    with pytest.raises(AssertionError, match="private values leaked"):
        report_errors().check()
