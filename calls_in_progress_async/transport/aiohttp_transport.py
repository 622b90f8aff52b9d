"""AiohttpTransport: chooses between the two ways to send through aiohttp, once, when it is opened."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from collections.abc import AsyncGenerator

import aiohttp
from aiohttp import ClientSession as ClientSession  # noqa: PLC0414 - re-exported for the client's type hints
from aiohttp import Fingerprint as Fingerprint  # noqa: PLC0414 - re-exported for the client's type hints

from .. import validation
from . import pooled
from .http_settings import HttpSettings as HttpSettings  # noqa: PLC0414 - re-exported for the client
from .protocol import SendState
from .session import SessionTransport, reject_proxies_of
from .wire import WireRequest, WireResponse

_logger = logging.getLogger("calls_in_progress_async")


class AiohttpTransport:
    """Sends requests through aiohttp, without the features this API does not need.

    Cookies, redirects, aiohttp's own resending and its connection limit are off. Requests go out on connections of a
    pool, without a session. They go through a session if one is passed, if there is a proxy, or if this aiohttp
    lacks an internal of the pool's; a line at level INFO then says why.

    Args:
        settings: Host, limits, TLS and proxy.
        session: A session of the user's own to send with. It is never closed here.

    Raises:
        InvalidRequestError: ``session`` is not a session, or a proxy cannot be used.
    """

    def __init__(self, settings: HttpSettings, session: aiohttp.ClientSession | None = None) -> None:
        if not isinstance(session, aiohttp.ClientSession | None):
            raise validation.unexpected("session", "an aiohttp.ClientSession or None", session)
        if session is not None:
            reject_proxies_of(session, settings)
        settings.choose_proxy()  # raises now, rather than at the first request
        self._settings = settings
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the open connections."""
        self._opened: pooled.PooledTransport | SessionTransport | None = None
        self._closing: AsyncGenerator[None] | None = None

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Put one request on the wire, at most once, and read its response whole.

        Raises:
            CallsInProgressError: A `TransportError`, or a response that is not HTTP or too large.
        """
        if self._opened is None or self._loop is None or self._loop.is_closed():
            state.may_have_been_sent = False
            await self._open()
        return await self._opened.send(request, token, state)  # type: ignore[union-attr]

    async def _open(self) -> None:
        await self._forget_closed_loop()
        _warn_without_c_parser()
        self._loop = asyncio.get_running_loop()
        self._opened = self._choose()
        self._closing = _close_with_loop(self._opened)
        await anext(self._closing)

    def _choose(self) -> pooled.PooledTransport | SessionTransport:
        reason = self._reason_for_session()
        if reason is None:
            return pooled.PooledTransport(self._settings)
        _logger.info("Requests go through an aiohttp session: %s.", reason, extra={"reason": reason})
        return SessionTransport(self._settings, self._session)

    def _reason_for_session(self) -> str | None:
        if self._session is not None:
            return "one was passed as session="
        if self._settings.choose_proxy() is not None:
            return "there is a proxy"
        if not pooled.is_supported():
            missing = ", ".join(pooled.missing_internals())
            return f"aiohttp {aiohttp.__version__} lacks internals of the faster way ({missing})"
        return None

    async def _forget_closed_loop(self) -> None:
        """Drop the connections of an event loop closed without closing its asynchronous generators.

        Nothing can be ended gently in a closed loop: the garbage collector closes the sockets. Its warnings are
        silenced, because the user can do nothing about them.
        """
        opened, self._opened, closing, self._closing = self._opened, None, self._closing, None
        if opened is None or getattr(closing, "ag_frame", None) is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            await opened.close()
            del opened, closing
            gc.collect()

    async def close(self) -> None:
        """Close the connections. An injected session stays open."""
        if self._loop is not None and self._loop.is_closed():
            await self._forget_closed_loop()
        closing, self._closing = self._closing, None
        if closing is not None:
            await closing.aclose()


def _warn_without_c_parser() -> None:
    parser = getattr(getattr(aiohttp, "http", None), "HttpResponseParser", None)
    if getattr(parser, "__module__", "") == "aiohttp.http_parser":
        text = "aiohttp runs without its C parser: slower, and it accepts HTTP that it should reject."
        warnings.warn(text, RuntimeWarning, stacklevel=2)


async def _close_with_loop(transport: pooled.PooledTransport | SessionTransport) -> AsyncGenerator[None]:
    """Close a transport when this generator is closed.

    The event loop closes its asynchronous generators before it ends, and when they are garbage. So even a client
    without a call of close() leaves no connection open.
    """
    try:
        yield
    finally:
        await transport.close()
