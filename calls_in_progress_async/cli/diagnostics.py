"""The result of a check, and the checks of the network: name, connection, TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

from attrs import frozen

from .exit_codes import ExitCode

_PATIENCE = 5.0  # seconds for each step


@frozen(kw_only=True)
class Finding:
    """The result of one step."""

    step: str
    message: str
    remedy: str = ""
    """The next thing to do; nothing after a success."""
    code: ExitCode = ExitCode.OK

    @property
    def ok(self) -> bool:
        """True if the step went well."""
        return self.code is ExitCode.OK


async def check_network(scheme: str, host: str, port: int) -> AsyncIterator[Finding]:
    """Check a host step by step, up to the first failure."""
    finding = await _check_name(host, port)
    yield finding
    if finding.ok:
        finding = await _check_connection(host, port)
        yield finding
    if finding.ok and scheme == "https":
        yield await _check_tls(host, port)


async def _check_name(host: str, port: int) -> Finding:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        return Finding(
            step="host name",
            message=f"{host} does not resolve: {describe_error(error)}",
            remedy="is --network or --base-url spelled right, and does this machine reach the name service?",
            code=ExitCode.FAILED,
        )
    shown = sorted({str(address[4][0]) for address in addresses})
    return Finding(step="host name", message=f"{host} is {', '.join(shown)}")


async def _check_connection(host: str, port: int) -> Finding:
    try:
        await _connect(host, port, tls=None)
    except OSError as error:
        return Finding(
            step="connection",
            message=f"no connection to {host} port {port}: {describe_error(error)}",
            remedy="is a firewall or a proxy in the way, or is the server down? Is the port right?",
            code=ExitCode.FAILED,
        )
    return Finding(step="connection", message=f"{host} takes connections at port {port}")


async def _check_tls(host: str, port: int) -> Finding:
    try:
        await _connect(host, port, tls=ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        message = f"the certificate of {host} is not trusted: {error.verify_message}"
        remedy = "is the host right? A company's proxy needs its certificate in SSL_CERT_FILE; an old system, new ones"
    except OSError as error:
        message = f"TLS failed: {describe_error(error)}"
        remedy = "does the server speak https:// at this port? A proxy may be in the way"
    else:
        return Finding(step="TLS", message=f"the certificate of {host} is valid")
    return Finding(step="TLS", message=message, remedy=remedy, code=ExitCode.FAILED)


async def _connect(host: str, port: int, *, tls: ssl.SSLContext | None) -> None:
    async with asyncio.timeout(_PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=tls)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def describe_error(error: Exception) -> str:
    """Return the reason of a failure, without the address."""
    if isinstance(error, TimeoutError):
        return f"no response within {_PATIENCE:g} seconds"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror | ssl.SSLError):
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return getattr(error, "strerror", None) or str(error)
