"""Descriptions of exceptions name neither the URL nor anything in it."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp
import pytest

from calls_in_progress_async.transport.translation import describe_error

HOST: Any = None
"""The connection key of aiohttp's errors."""
SECRET = "http://127.0.0.1/api?calling_phone_number=%2B15309999999"


def rejected_by_tls(error: Exception) -> Exception:
    error.__cause__ = cause = ssl.SSLError(1, SECRET)
    cause.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


TOLD: list[tuple[Exception, str]] = [
    (aiohttp.ClientOSError(f"Can not write request body for {SECRET}"), "ClientOSError"),
    (
        aiohttp.ClientOSError(104, f"Can not write request body for {SECRET}"),
        "ClientOSError (Connection reset by peer)",
    ),
    (aiohttp.ClientConnectionError(f"Cannot write to {SECRET}"), "ClientConnectionError"),
    (aiohttp.InvalidURL(SECRET), "InvalidURL"),
    (OSError(111, "Connection refused"), "ConnectionRefusedError (Connection refused)"),
    (ValueError(SECRET), "ValueError"),
    (
        aiohttp.ClientConnectorDNSError(HOST, socket.gaierror(-2, "Name or service not known")),
        "ClientConnectorDNSError (Name or service not known)",
    ),
    (
        aiohttp.ClientConnectorSSLError(HOST, ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")),
        "ClientConnectorSSLError ([SSL: WRONG_VERSION_NUMBER] wrong version number)",
    ),
    (rejected_by_tls(aiohttp.ClientOSError(1, SECRET)), "ClientOSError (TLSV13_ALERT_CERTIFICATE_REQUIRED)"),
    (
        rejected_by_tls(aiohttp.ClientConnectionError(SECRET)),
        "ClientConnectionError (TLSV13_ALERT_CERTIFICATE_REQUIRED)",
    ),
]


@pytest.mark.parametrize(("error", "text"), TOLD, ids=lambda each: type(each).__name__)
def test_a_description_names_no_url(error: Exception, text: str) -> None:
    """The description has the class and the system's message only."""
    assert describe_error(error) == text
