"""The header lines of a request."""

from __future__ import annotations

from collections.abc import Mapping

from .. import validation


def format_headers(headers: Mapping[str, str]) -> str:
    """Format headers as lines, each with its line end (RFC 9112, section 5).

    Raises:
        InvalidRequestError: A name or value is not printable ASCII; a line end would begin another header.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise validation.invalid("headers", "hold a character that is not printable ASCII")
    return "".join(f"{line}\r\n" for line in lines)
