"""Exceptions of aiohttp, the system and foreign code, translated once into the errors of this package.

Only class names and the system's own words are kept: the texts of aiohttp's exceptions may hold the URL with its phone
numbers, and their frames hold the token.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import aiohttp

from ..errors import (
    CallsInProgressError,
    ConnectionFailedError,
    ConnectionLostError,
    RequestTimeoutError,
    ResponseTooLargeError,
    TlsError,
    UnexpectedResponseError,
)


def translate(reason: Exception, *, sent: bool) -> CallsInProgressError:
    """Translate an exception.

    Args:
        reason: Raised by aiohttp, by the system, or by a connector, resolver, middleware or trace hook of the user's.
        sent: False if surely no byte of the request has left.
    """
    if isinstance(reason, CallsInProgressError):
        return reason.with_traceback(None)
    described = describe_error(reason)
    before = _tls_error(reason, described) or _connect_error(reason, described)
    if before is not None:
        return before
    if _is_malformed_http(reason):
        return UnexpectedResponseError(f"The response is not HTTP that can be read: {described}", status=0)
    if isinstance(reason, TimeoutError):
        return RequestTimeoutError("The session's own timeout passed.")
    if not sent and not isinstance(reason, aiohttp.ClientError):
        return ConnectionFailedError(f"No connection was made: {described}")
    return ConnectionLostError(f"The connection was lost: {described}")


def _tls_error(reason: Exception, described: str) -> TlsError | None:
    if isinstance(reason, aiohttp.ServerFingerprintMismatch):
        return TlsError("The server's certificate does not have the fingerprint that was passed as ssl=.")
    # With TLS 1.3 the other side rejects a certificate after the handshake (RFC 8446, section 4.4.2.4).
    if isinstance(reason, ssl.SSLError) or "_ALERT_" in described:
        return TlsError(f"TLS failed: {described}")
    return None


def _connect_error(reason: Exception, described: str) -> CallsInProgressError | None:
    if isinstance(reason, aiohttp.ConnectionTimeoutError):
        return ConnectionFailedError("No connection was made within connect_timeout.")
    if isinstance(reason, aiohttp.ClientHttpProxyError):
        return _rejected_by_proxy(reason.status)
    if isinstance(reason, aiohttp.ClientConnectorError):
        return ConnectionFailedError(f"No connection was made: {described}")
    return None


def body_too_large(status: int, limit: int) -> ResponseTooLargeError:
    """Make the error for a response whose decoded body is longer than ``limit`` bytes."""
    return ResponseTooLargeError(f"The body is larger than {limit} bytes.", status=status)


def describe_error(reason: BaseException) -> str:
    """Describe an exception by its class and the system's message: nothing of the request."""
    words = _system_message(reason) or _exceeded_limit(reason)
    return f"{type(reason).__name__}{f' ({words})' if words else ''}"


def _system_message(reason: BaseException) -> str | None:
    system = reason.os_error if isinstance(reason, aiohttp.ClientConnectorError) else reason
    if isinstance(system.__cause__, ssl.SSLError):
        return system.__cause__.reason
    if isinstance(system, ssl.SSLError | socket.gaierror):
        return system.strerror
    if isinstance(system, OSError) and isinstance(system.errno, int):
        return os.strerror(system.errno)  # the exception's own text may name the URL, query and all
    return None


def _exceeded_limit(reason: BaseException) -> str | None:
    """Name the limit of aiohttp's parser that a header exceeds; None if the reason is another one."""
    for each in _causes(reason):
        match type(each).__name__, each.args:
            case "LineTooLong", (_, int() | str() as limit, *_) if str(limit).isdigit():
                return f"a header or status line is longer than aiohttp's limit of {limit} bytes"
            case "BadHttpMessage", (str() as text, *_) if text.startswith("Too many headers"):
                return "there are more headers than aiohttp's limit of 128"
    return None


def _is_malformed_http(reason: BaseException) -> bool:
    # By name, because aiohttp does not export the exceptions of its parser.
    if isinstance(reason, aiohttp.ClientPayloadError):
        return "ContentEncodingError" in _class_names(reason.__cause__)
    return isinstance(reason, aiohttp.ClientResponseError) or "HttpProcessingError" in _class_names(reason)


def _rejected_by_proxy(status: int) -> CallsInProgressError:
    if 400 <= status < 500:  # 407 above all: the same request gets the same response
        return UnexpectedResponseError(f"The proxy refused to connect: HTTP {status}.", status=status)
    return ConnectionFailedError(f"No connection was made: the proxy responded HTTP {status}.")


def _causes(reason: BaseException | None) -> Iterator[BaseException]:
    while reason is not None:
        yield reason
        reason = reason.__cause__


def _class_names(reason: BaseException | None) -> list[str]:
    return [each.__name__ for each in type(reason).__mro__]
