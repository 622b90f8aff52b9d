"""What a check of one step comes to, and the checks of the network: name, connection, TLS."""

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
    """What was found of one step."""

    step: str
    said: str
    next: str = ""
    """What to do about it."""
    code: ExitCode = ExitCode.OK

    @property
    def ok(self) -> bool:
        """Whether the step went well."""
        return self.code is ExitCode.OK


async def check_network(scheme: str, host: str, port: int) -> AsyncIterator[Finding]:
    """Check a host step by step, up to the first that fails."""
    found = await _check_name(host, port)
    yield found
    if found.ok:
        found = await _check_connection(host, port)
        yield found
    if found.ok and scheme == "https":
        yield await _check_tls(host, port)


async def _check_name(host: str, port: int) -> Finding:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        return Finding(
            step="host name",
            said=f"{host} does not resolve: {_say(error)}",
            next="is --network or --base-url spelled right, and does this machine reach the name service?",
            code=ExitCode.FAILED,
        )
    shown = sorted({str(address[4][0]) for address in addresses})
    return Finding(step="host name", said=f"{host} is {', '.join(shown)}")


async def _check_connection(host: str, port: int) -> Finding:
    try:
        await _connect(host, port, tls=None)
    except OSError as error:
        return Finding(
            step="connection",
            said=f"no connection to {host} port {port}: {_say(error)}",
            next="does a firewall or a proxy stand between, or is the server down? Is the port right?",
            code=ExitCode.FAILED,
        )
    return Finding(step="connection", said=f"{host} takes connections at port {port}")


async def _check_tls(host: str, port: int) -> Finding:
    try:
        await _connect(host, port, tls=ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        said = f"the certificate of {host} is not to be trusted: {error.verify_message}"
        remedy = "is the host right? A company's proxy needs its certificate in SSL_CERT_FILE; an old system, new ones"
    except OSError as error:
        said = f"TLS failed: {_say(error)}"
        remedy = "does the server speak https:// at this port? A proxy may stand between"
    else:
        return Finding(step="TLS", said=f"the certificate of {host} is valid")
    return Finding(step="TLS", said=said, next=remedy, code=ExitCode.FAILED)


async def _connect(host: str, port: int, *, tls: ssl.SSLContext | None) -> None:
    async with asyncio.timeout(_PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=tls)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _say(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_PATIENCE:g} seconds"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror | ssl.SSLError):
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return getattr(error, "strerror", None) or str(error)
