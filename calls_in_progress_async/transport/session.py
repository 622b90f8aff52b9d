"""One exchange through an `aiohttp.ClientSession`: the user's own, or one that a test tool answers for."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from ..errors import WrongLoopError
from .pooled import MOST_UNSENT, read_body
from .protocol import SendState
from .wire import WireRequest


def is_patched() -> bool:
    """Whether something else, such as aioresponses, stands in the place of what aiohttp's sessions send with."""
    sends = aiohttp.ClientSession._request
    return type(sends) is not FunctionType or sends.__code__.co_filename != aiohttp.client.__file__


async def exchange(
    session: aiohttp.ClientSession, url: str, request: WireRequest, state: SendState, *, limit: int, **options: Any
) -> tuple[int, Mapping[str, str], bytes | None]:
    """Send one request, at most once, and read its answer.

    Args:
        session: Sends it.
        url: Host, path and query, percent-encoded.
        request: Method and body.
        state: Is told when the request may have left.
        limit: Bytes of the answer's decoded body.
        **options: Of ``ClientSession.request``, headers among them.

    Returns:
        The status, the headers, and the body; None where that is longer than ``limit``.

    Raises:
        WrongLoopError: The session was made in another event loop.
    """
    if getattr(session, "_loop", loop := asyncio.get_running_loop()) is not loop:
        raise WrongLoopError("The aiohttp session passed as session= belongs to another event loop; make one in each.")
    body = None if request.body is None else _WatchedBody(request.body, state)
    state.may_have_been_sent = body is None  # nothing tells when a request without a body leaves
    middlewares = (_send_once, *getattr(session, "_middlewares", ()))  # those of a request displace the session's
    response = received = None
    try:
        response = await session.request(
            request.method, URL(url, encoded=True), data=body, middlewares=middlewares, **options
        )
        received = await read_body(response.content, limit)
    finally:
        if response is not None and not response.closed:
            response.close()  # 101: what follows is not HTTP
        if body is not None and (received is None or body.size > MOST_UNSENT):
            body.abort()
    return response.status, response.headers, received


class _WatchedBody(Payload):
    """A body that tells when it begins to be written: aiohttp holds the headers back until then."""

    def __init__(self, body: bytes, state: SendState) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body
        self._state = state
        self._transport: asyncio.WriteTransport | None = None

    @property
    def size(self) -> int:
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._state.may_have_been_sent = True
        self._transport = getattr(writer, "transport", None)
        await writer.write(self._body)

    def abort(self) -> None:
        """Send nothing more of it: aiohttp would first send what is left, be there a newer update or not."""
        if self._transport is not None:
            self._transport.abort()


class Lost(Exception):
    """A connection that was lost, in a form that aiohttp does not answer by sending the request again."""


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending an idempotent request again by itself after a lost connection."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # aiohttp does not repeat it
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as reason:
        lost = Lost(say(reason))
    raise lost


def say(reason: BaseException) -> str:
    """The class of an exception, and the system's message where there is one: nothing of the request."""
    if isinstance(reason, Lost):
        return str(reason)
    system = reason.os_error if isinstance(reason, aiohttp.ClientConnectorError) else reason
    words = None
    if isinstance(system.__cause__, ssl.SSLError):
        words = system.__cause__.reason
    elif isinstance(system, ssl.SSLError | socket.gaierror):
        words = system.strerror
    elif isinstance(system, OSError) and system.errno:  # its own text may name the URL, query and all
        words = os.strerror(system.errno)
    return f"{type(reason).__name__}{f' ({words})' if words else ''}"
