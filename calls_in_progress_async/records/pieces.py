"""Bodies of any size, in pieces small enough for one step of a parser.

A parser in C holds the whole process, whichever thread it runs in. So a large body is cut into runs of whole entries,
and each run is parsed by itself. The cut is exact: a run starts where an entry is known to start, and a JSON value has
one reading only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import lenient_json
from .codec import BoundsError, Json, PayloadError, decode, try_decode

PIECE = 2**19
"""Bytes for one step of a parser, which takes 25 milliseconds for the worst of them. An entry is no longer."""
MAX_ENTRIES = 20_000
"""Entries of a list."""
_KEYS = (b'"current_calls"', b'"calls_in_progress"')
_OPENING = re.compile(rb"[ \t\r\n]{0,99}:[ \t\r\n]{0,99}\[")
_BETWEEN = re.compile(rb"\}[ \t\r\n]{0,99},[ \t\r\n]{0,99}(?=\{)")
"""The end of one object and the beginning of another: of two entries, nearly always."""
_NEAR = 2**16
"""Bytes at the end of a piece to search first for the last entry."""
_TRIES = 4
"""Ends of objects to try: the last ones may be within an entry."""
_WHITE_SPACE = re.compile(rb"[ \t\r\n]{0,65536}")


class Run(NamedTuple):
    """Consecutive entries of a list."""

    json: bytes
    """The JSON of a list with these entries alone."""
    entries: list[Any]
    """The JSON of each entry, as objects with the buffer interface."""


def cut(
    body: bytes, split: Callable[[bytes], tuple[str, list[Any]] | None], *, strict: bool
) -> tuple[str, list[Run]] | None:
    """Cut a large body into the runs of its list of calls.

    Args:
        body: A body of more than `PIECE` bytes, without a byte order mark.
        split: Splits the rest of the body, which has an empty list in place of the runs.
        strict: True to reject loose JSON.

    Returns:
        The key of the list and the runs; None if the body has no list of calls.

    Raises:
        PayloadError: The body is not JSON.
        BoundsError: There are too many entries, or an entry or the rest of the body is too large.
    """
    name, start = _find_list(body)
    runs: list[Run] = []
    end = _skip(body, start)
    for run, following in _runs(body, end, name, strict=strict):
        runs.append(run)
        end = following
        check_number(name, sum(len(each.entries) for each in runs))
    if start + len(body) - end > PIECE:
        raise BoundsError("", f"the body has more than {PIECE:,} bytes beside its list of calls")
    found = split(body[:start] + body[end:])
    if found is None or found == (name, []):
        return found and (name, runs)
    key, entries = found  # the body has another list, which displaces this one
    return key, [Run(b"[%b]" % b",".join(map(bytes, entries)), entries)]


def check_number(key: str, count: int) -> None:
    """Raise a `BoundsError` if a list has too many entries."""
    if count > MAX_ENTRIES:
        raise BoundsError(key, f"has more than {MAX_ENTRIES:,} entries")


def _find_list(body: bytes) -> tuple[str, int]:
    """Return the key of the list of calls, and the position of its first entry or end."""
    places = [(place, key) for key in _KEYS if (place := body.find(key)) >= 0]
    place, key = min(places, default=(0, b""))
    opening = _OPENING.match(body, place + len(key))
    if opening is None:
        raise BoundsError("", f"the body has no list of calls, but more than {PIECE:,} bytes")
    return key.strip(b'"').decode(), opening.end()


def _runs(body: bytes, position: int, key: str, *, strict: bool) -> Iterator[tuple[Run, int]]:
    """Yield each run of entries, and the position after the run: of the next entry, or of the list's end."""
    while body[position : position + 1] != b"]":
        window = body[position : position + PIECE]
        run, size = _plain_run(window) or _any_run(window, key, is_last=position + PIECE >= len(body), strict=strict)
        position = _skip(body, position + size)
        if body[position : position + 1] == b"]" and window[:size].rstrip().endswith(b","):
            raise PayloadError("", "the body is not JSON")
        yield run, position


def _skip(body: bytes, position: int) -> int:
    """Skip white space, however much."""
    while (end := _WHITE_SPACE.match(body, position).end()) > position:  # type: ignore[union-attr]
        position = end
    return position


def _plain_run(window: bytes) -> tuple[Run, int] | None:
    """Take the objects in plain JSON at the beginning of a window, and the comma after them; None if there are none."""
    ends = list(_BETWEEN.finditer(window, max(0, len(window) - _NEAR))) or list(_BETWEEN.finditer(window))
    for between in reversed(ends[-_TRIES:]):
        json = b"[%b]" % window[: between.start() + 1]
        if (entries := try_decode(list[Json], json)) is not None:
            return Run(json, entries), between.end()
    return None


def _any_run(window: bytes, key: str, *, is_last: bool, strict: bool) -> tuple[Run, int]:
    """Take the entries at the beginning of a window one by one, and the comma after them."""
    try:
        entries, size = lenient_json.cut_entries(window, MAX_ENTRIES + 1)
    except RecursionError:
        raise PayloadError("", "the body is nested too deeply") from None
    if not entries:
        if is_last:
            raise PayloadError("", "the body is not JSON")
        raise BoundsError(key, f"has an entry that is not JSON, or of more than {PIECE:,} bytes")
    json = b"[%b]" % b",".join(entries)
    return Run(json, decode(list[Json], json) if strict else entries), size
