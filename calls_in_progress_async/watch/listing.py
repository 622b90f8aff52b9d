"""Reading the body of a find with the help of the last one, so that what has not changed costs next to nothing.

A body is walked beside the entries of the last: where the same bytes stand at the same point, the entry is the same.
Where they do not, the next known entry is looked for, and only what lies between is parsed. This is exact and not a
guess: the walk starts where a list of calls surely starts, a JSON value has one reading only, and what lies between
two known entries must itself parse as entries. A body that is not plain enough for that is split whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..records import Call
from ..records.codec import PayloadError, split, split_tolerantly, structure
from .call_state import ListedCall, identities_of, identity_of, identity_of_object

_HEAD = re.compile(rb'\s*\{\s*"(?:current_calls|calls_in_progress)"\s*:\s*\[\s*')
_TAIL = re.compile(rb"\s*\]\s*\}\s*\Z")
_SEPARATOR = re.compile(rb"\s*,\s*")
_LONGEST_TAIL = 64
_LOOK_AHEAD = 6
"""CallState entries that are looked for after one that is not where it was: more in a row seldom go or change."""
_WINDOW = 8192
"""Bytes in which they are looked for, beyond the size of the entry."""
_RECOGNIZED = 50
"""Bytes at the beginning of an entry that are enough to look for it; it is compared whole when found."""
_FEW = 8
"""Entries that may be new before it counts how many are."""


class Layout(NamedTuple):
    """What stands around the entries of a plain body: an object with the list, and nothing else, in it."""

    head: bytes
    separator: bytes
    tail: bytes


class Listing(NamedTuple):
    """The entries of one body, in its order."""

    entries: list[ListedCall]
    layout: Layout | None = None
    """None where the body is not plain: the next one is split whole."""


def read(body: bytes, last: Listing | None, *, strict: bool) -> Listing:
    """Read the body of a find.

    Args:
        body: What the server answered.
        last: The listing of its last answer, if there is one.
        strict: Whether a field that cannot be read makes the whole answer unreadable.

    Returns:
        The very same ``last`` where nothing has changed; else a listing with, as far as the walk gets, the same
        `ListedCall` for every call that has not.

    Raises:
        PayloadError: The body does not say which calls there are.
    """
    if last is not None and last.layout is not None:
        pieces = _walk(body, last.entries, last.layout)
        if pieces == last.entries:
            return last
        if pieces is not None and (entries := _parse_pieces(pieces, last.layout.separator, strict=strict)) is not None:
            return Listing(entries, last.layout)
    return _read_whole(body, strict=strict)


def _walk(body: bytes, entries: list[ListedCall], layout: Layout) -> list[ListedCall | bytes] | None:
    """Take a body apart into entries that are known and the bytes between them, of one entry each as a rule.

    Returns:
        None where the body is laid out differently, or where so much of it is new that reading it whole is cheaper.
    """
    separator = layout.separator
    position, end = len(layout.head), len(body) - len(layout.tail)
    if position > end or not (body.startswith(layout.head) and body.endswith(layout.tail)):
        return None
    pieces: list[ListedCall | bytes] = []
    index = new = 0
    while position < end and index < len(entries):
        entry = entries[index]
        if not body.startswith(entry.json, position):
            new += 1
            found = _find_next(body, position, entries, index, separator)
            if (new > _FEW and new > len(pieces) // 2) or (found is None and end - position > len(body) // 2):
                return None
            if found is None:
                break
            index, beginning = found
            if beginning > position:
                pieces.append(body[position : beginning - len(separator)])
                position = beginning
            continue
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
    body: bytes, position: int, entries: list[ListedCall], index: int, separator: bytes
) -> tuple[int, int] | None:
    """Find the next known entry that still stands further on, changed or not: its index and where it begins."""
    wanted = entries[index].json
    until = position + len(wanted) * 2 + _WINDOW
    first = index + body.startswith(wanted[:_RECOGNIZED], position)  # the next one, if this has changed
    for candidate in range(first, min(index + _LOOK_AHEAD, len(entries))):
        wanted = entries[candidate].json
        # Looking for the id alone is several times as fast as for what it stands in.
        name = (entries[candidate].identity or "").encode()
        beginning = body.find(name, position, until) - wanted.find(name)
        if (
            beginning >= position
            and body.startswith(wanted[:_RECOGNIZED], beginning)
            and (beginning == position or body.endswith(separator, position, beginning))
        ):
            return candidate, beginning
    return None


def _parse_pieces(pieces: list[ListedCall | bytes], separator: bytes, *, strict: bool) -> list[ListedCall] | None:
    """Parse what is not known; None where that is no sequence of entries, or, if ``strict``, of readable ones."""
    entries: list[ListedCall] = []
    for piece in pieces:
        if isinstance(piece, ListedCall):
            entries.append(piece)
            continue
        parsed = _parse(piece, separator)
        if parsed is None or (strict and not all(map(_is_readable, parsed))):
            return None
        entries += parsed
    return entries


def _parse(piece: bytes, separator: bytes) -> list[ListedCall] | None:
    if (identity := identity_of_object(piece)) is not None:  # one entry, as nearly always
        return [ListedCall(identity, piece)]
    payloads = _split_piece(piece, separator)
    return None if payloads is None else list(map(ListedCall, map(identity_of, payloads), payloads))


def _is_readable(entry: ListedCall) -> bool:
    try:
        structure(Call, entry.json, "", strict=True)
    except PayloadError:
        return False
    return True


def _split_piece(piece: bytes, separator: bytes) -> list[bytes] | None:
    try:
        _, raw = split(b'{"current_calls":[%b]}' % piece) or ("", [])
    except PayloadError:
        return None
    payloads = [bytes(each) for each in raw]
    # Without this, a piece that ends the list and begins another would do.
    return payloads if separator.join(payloads) == piece else None


def _read_whole(body: bytes, *, strict: bool) -> Listing:
    found = split_tolerantly(body, strict=strict)
    if found is None:
        raise PayloadError("", "the answer has no list of calls (current_calls)")
    path, raw = found
    payloads = [bytes(each) for each in raw]
    if strict:
        for index, payload in enumerate(payloads):
            structure(Call, payload, f"{path}[{index}]", strict=True)
    entries = list(map(ListedCall, identities_of(body, payloads), payloads))
    return Listing(entries, _layout(body, payloads))


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
    # A look is enough: the walk trusts no separator and no tail.
    size = len(layout.head) + sum(map(len, payloads)) + len(separator) * (len(payloads) - 1) + len(layout.tail)
    return _shared(layout) if size == len(body) or not payloads else None


_layouts: dict[Layout, Layout] = {}


def _shared(layout: Layout) -> Layout:
    """Keep one object for a layout that thousands of organizations have."""
    if len(_layouts) > 64:
        _layouts.clear()
    return _layouts.setdefault(layout, layout)
