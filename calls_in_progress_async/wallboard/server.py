"""Serves a wallboard at an address of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from ..accepting import finish_accepting

_GRACE = 2.0
"""Seconds that open requests have to end when the server stops."""


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application while the block runs.

    Args:
        app: The application.
        host: The address to listen at.
        port: The port to listen at; any free one if 0.

    Yields:
        The address of the page, such as ``http://127.0.0.1:8080/``.

    Raises:
        OSError: The address cannot be listened at.
    """
    runner = web.AppRunner(app, shutdown_timeout=_GRACE, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address, bound = runner.addresses[0][:2]
        yield f"http://[{address}]:{bound}/" if ":" in address else f"http://{address}:{bound}/"
    finally:
        try:
            await finish_accepting()
        finally:
            await runner.cleanup()
