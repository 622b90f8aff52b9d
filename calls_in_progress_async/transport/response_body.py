"""Reading the body of a response up to a limit, from aiohttp's stream."""

from __future__ import annotations

import aiohttp

MAX_UNSENT = 2**16
"""Bytes. Of a longer request, some may not have left when the response arrives; a TLS transport does not tell."""
_READ_BUFFER = 2**18
"""Bytes to read ahead. With 64 KiB, aiohttp's default, a body of 200 calls pauses and resumes four times."""


def read_buffer(limit: int) -> int:
    """Return how many bytes to read ahead: an eighth of ``limit`` at most, since aiohttp holds several times that."""
    return max(1, min(_READ_BUFFER, limit // 8))


async def read_body(content: aiohttp.StreamReader, limit: int) -> bytes | None:
    """Read a body whole; return None if it is longer than ``limit`` bytes."""
    if content.is_eof():  # a small body arrives with its head
        body = content.read_nowait()
        return body if len(body) <= limit else None
    chunks = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
