"""Reading the body of a response up to a limit, from aiohttp's stream."""

from __future__ import annotations

import asyncio

import aiohttp

MAX_UNSENT = 2**16
"""Bytes. Of a longer request, some may not have left when the response arrives; a TLS transport does not tell."""
_READ_BUFFER = 2**18
"""Bytes to read ahead. With 64 KiB, aiohttp's default, a body of 200 calls pauses and resumes four times."""

_STEP = 2**22
"""Bytes to read in one step of the event loop: aiohttp decompresses them in 10 ms."""


def read_buffer(limit: int) -> int:
    """Return how many bytes to read ahead: an eighth of ``limit`` at most, since aiohttp holds several times that."""
    return max(1, min(_READ_BUFFER, limit // 8))


async def read_body(content: aiohttp.StreamReader, limit: int) -> bytes | None:
    """Read a body whole; return None if it is longer than ``limit`` bytes."""
    if content.is_eof():  # a small body arrives with its head
        body = content.read_nowait()
        return body if len(body) <= limit else None
    chunks = []
    size = step = 0
    while chunk := await content.readany():  # does not wait while compressed bytes are at hand
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if size // _STEP > step:
            step = size // _STEP
            await asyncio.sleep(0)
    return b"".join(chunks)
