"""Reading the body of a find with the help of the last one, so that what has not changed costs next to nothing.

A body is walked beside the entries of the last: where the same bytes stand at the same point, the entry is the same.
Where they do not, the next known entry is looked for, and only what lies between is parsed. This is exact and not a
guess: the walk starts where a list of calls surely starts, a JSON value has one reading only, and what lies between
two known entries must itself parse as entries. A body that is not plain enough for that is split whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, frozen

from ..records import Call
from ..records.structuring import PayloadError, split, split_tolerantly, structure
from .known import Listed, identity_of

_HEAD = re.compile(rb'\s*\{\s*"(?:current_calls|calls_in_progress)"\s*:\s*\[\s*')
_TAIL = re.compile(rb"\s*\]\s*\}\s*\Z")
_SEPARATOR = re.compile(rb"\s*,\s*")
_LONGEST_TAIL = 64
_LOOK_AHEAD = 4
"""Known entries that are looked for after one that is not where it was: more in a row seldom go or change."""
_WINDOW = 8192
"""Bytes in which they are looked for, beyond the size of the entry."""
_RECOGNIZED = 80
"""Bytes at the beginning of an entry that are enough to look for it; it is compared whole when found."""


@frozen
class Layout:
    """What stands around the entries of a plain body: an object with the list, and nothing else, in it."""

    head: bytes
    separator: bytes
    tail: bytes


@define(eq=False)
class Listing:
    """The entries of one body, in its order."""

    entries: list[Listed]
    layout: Layout | None = None
    """None where the body is not plain: the next one is split whole."""


def read(body: bytes, last: Listing | None, *, strict: bool) -> Listing:
    """Read the body of a find.

    Args:
        body: What the server answered.
        last: The listing of its last answer, if there is one.
        strict: Whether a field that cannot be read makes the whole answer unreadable.

    Returns:
        The very same ``last`` where nothing has changed; else a listing with the same `Listed` for every call that
        has not.

    Raises:
        PayloadError: The body does not say which calls there are.
    """
    if last is not None and last.layout is not None:
        pieces = _walk(body, last.entries, last.layout)
        if pieces is not None:
            entries = _parse_pieces(pieces, last.entries, strict=strict)
            if entries is last.entries:
                return last
            if entries is not None:
                return Listing(entries, last.layout)
    return _read_whole(body, last, strict=strict)


def _walk(body: bytes, entries: list[Listed], layout: Layout) -> list[Listed | bytes] | None:
    """Take a body apart into entries that are known and the bytes between them.

    Returns:
        None where the body is laid out differently.
    """
    separator = layout.separator
    position, end = len(layout.head), len(body) - len(layout.tail)
    if position > end or not (body.startswith(layout.head) and body.endswith(layout.tail)):
        return None
    pieces: list[Listed | bytes] = []
    index = 0
    while position < end and index < len(entries):
        entry = entries[index]
        if not body.startswith(entry.json, position):
            found = _find_next(body, position, entries, index, separator)
            if found is None:
                break
            index, beginning = found
            pieces.append(body[position : beginning - len(separator)])
            position, entry = beginning, entries[index]
        pieces.append(entry)
        index += 1
        position += len(entry.json)
        if position < end:
            if not body.startswith(separator, position):
                return None
            position += len(separator)
            if position >= end:
                return None  # a separator that nothing follows
    if position < end:
        pieces.append(body[position:end])
    return pieces if position <= end else None


def _find_next(
    body: bytes, position: int, entries: list[Listed], index: int, separator: bytes
) -> tuple[int, int] | None:
    """Find the next known entry that still stands further on: its index and where it begins."""
    until = position + len(entries[index].json) * 2 + _WINDOW
    for candidate in range(index, min(index + _LOOK_AHEAD, len(entries))):
        wanted = entries[candidate].json
        found = body.find(separator + wanted[:_RECOGNIZED], position, until)
        if found >= 0 and body.startswith(wanted, found + len(separator)):
            return candidate, found + len(separator)
    return None


def _parse_pieces(pieces: list[Listed | bytes], known: list[Listed], *, strict: bool) -> list[Listed] | None:
    """Parse what is not known; None where it is not a sequence of whole entries."""
    if pieces == known:
        return known
    by_identity = None
    entries: list[Listed] = []
    for piece in pieces:
        if isinstance(piece, Listed):
            entries.append(piece)
            continue
        by_identity = by_identity or _by_identity(known)
        if (found := _parse_piece(piece)) is None:
            return None
        entries += _listed(map(bytes, found), by_identity, "current_calls", strict=strict)
    return entries


def _parse_piece(piece: bytes) -> list[Any] | None:
    # A piece that ends the list and begins another would parse as well.
    if b'"current_calls"' in piece or b'"calls_in_progress"' in piece:
        return None
    try:
        found = split(b'{"current_calls":[%b]}' % piece)
    except PayloadError:
        return None
    return found and found[1]


def _read_whole(body: bytes, last: Listing | None, *, strict: bool) -> Listing:
    found = split_tolerantly(body, strict=strict)
    if found is None:
        raise PayloadError("", "the answer has no list of calls (current_calls)")
    path, raw = found
    payloads = [bytes(each) for each in raw]
    known = {} if last is None else _by_identity(last.entries)
    return Listing(list(_listed(payloads, known, path, strict=strict)), _layout(body, payloads))


def _by_identity(entries: Iterable[Listed]) -> dict[str | None, Listed]:
    return {entry.identity: entry for entry in entries}


def _listed(
    payloads: Iterable[bytes], known: Mapping[str | None, Listed], path: str, *, strict: bool
) -> Iterator[Listed]:
    for index, payload in enumerate(payloads):
        identity = identity_of(payload)
        before = known.get(identity)
        if before is not None and before.json == payload:
            yield before
            continue
        if strict:
            structure(Call, payload, f"{path}[{index}]", strict=True)
        yield Listed(identity, payload)


def _layout(body: bytes, payloads: list[bytes]) -> Layout | None:
    """Say what stands around the entries, if the body is plain."""
    head = _HEAD.match(body)
    tail = _TAIL.search(body, max(0, len(body) - _LONGEST_TAIL))
    if head is None or tail is None:
        return None
    separator = b","
    if len(payloads) > 1:
        between = _SEPARATOR.match(body, head.end() + len(payloads[0]))
        separator = between[0] if between else separator
    layout = Layout(head[0], separator, body[max(tail.start(), head.end()) :])
    plain = layout.head + separator.join(payloads) + layout.tail == body
    return _shared(layout) if plain else None


_layouts: dict[Layout, Layout] = {}


def _shared(layout: Layout) -> Layout:
    """Keep one object for a layout that thousands of organizations have."""
    if len(_layouts) > 64:
        _layouts.clear()
    return _layouts.setdefault(layout, layout)
