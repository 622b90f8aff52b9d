"""Reading the body of a find with the help of the last one, so that an unchanged entry costs next to nothing.

A body is walked beside the entries of the last listing: where the same bytes stand at the same point, the entry is the
same. Otherwise the walk looks for the next known entry, and parses only the bytes in between. The result is exact: the
walk starts at the surely known start of a list of calls, a JSON value has one reading only, and the bytes between two
known entries must themselves parse as entries. A body in any other layout is split whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..records.bodies import split, split_any
from ..records.call import call_reader, check_strictly, structure_call
from ..records.codec import PayloadError
from ..records.pieces import MAX_ENTRIES, PIECE
from ..slow_reading import leave_event_loop, leave_event_loop_for
from .call_identity import identity_of
from .call_state import ListedCall, call_at, list_calls, surely_differ

_HEAD = re.compile(rb'\s{0,99}\{\s{0,99}"(?:current_calls|calls_in_progress)"\s{0,99}:\s{0,99}\[\s{0,99}')
_TAIL = re.compile(rb"\s*\]\s*\}\s*\Z")
_ONE_CALL = "current_call"
"""Key of a single call. A value other than an object says nothing about the calls in progress."""
_SEPARATOR = re.compile(rb"\s{0,99},\s{0,99}")
_LONGEST_TAIL = 64
_LOOK_AHEAD = 6
"""Number of known entries to look for after a mismatch: more in a row seldom go or change."""
_WINDOW = 8192
"""Number of bytes to search for a known entry, beyond the size of the entry."""
_RECOGNIZED = 50
"""Number of bytes at the beginning of an entry to search for; a hit is compared whole later."""
_LONG_PIECE = 50_000
"""Bytes of new entries in a row: reading the whole body is cheaper."""
_MAX_COMPARED = 30_000
"""JSON values to compare in the event loop, before and after. Each takes a microsecond, in usual calls a quarter."""
_MAX_READ = 2_000
"""Entries to read in the event loop in one step."""
_FEW = 8
"""Number of new entries before the walk compares their number with that of known ones."""


class Layout(NamedTuple):
    """The bytes around the entries of a plain body: an object that holds the list and nothing else."""

    head: bytes
    separator: bytes
    tail: bytes


class Listing(NamedTuple):
    """The entries of one body, in its order."""

    entries: list[ListedCall]
    layout: Layout | None = None
    """Layout of the body; None if it is not plain, and then the next body is split whole."""


def read(body: bytes, last: Listing | None, *, strict: bool) -> Listing:
    """Read the body of a find.

    Args:
        body: The body of the response.
        last: The listing of the last response, if there is one.
        strict: True to reject a body in which any field cannot be read.

    Returns:
        The very same ``last`` if nothing has changed; else a listing in which, as far as the walk gets, every unchanged
        call is the same `ListedCall` as before.

    Raises:
        PayloadError: The body does not say which calls there are. A find rejects the same bodies.
        SlowReadingError: The body takes too long to be read in the event loop.
    """
    if strict or len(body) > PIECE:
        leave_event_loop_for(body)
    listing = _read_beside(body, last, strict=strict) or _read_whole(body, strict=strict, keep_glances=last is not None)
    if listing is not last:
        _prepare_comparison(body, listing, last)
    return listing


def _read_beside(body: bytes, last: Listing | None, *, strict: bool) -> Listing | None:
    """Read a body with a layout like that of the last; return None if reading it whole is better."""
    if last is None or last.layout is None:
        return None
    pieces = _walk(body, last.entries, last.layout)
    if pieces == last.entries:
        return last
    if pieces is None or (entries := _parse_pieces(pieces, last.layout.separator, strict=strict)) is None:
        return None
    return Listing(entries, last.layout) if len(entries) <= MAX_ENTRIES else None


def _prepare_comparison(body: bytes, listing: Listing, last: Listing | None) -> None:
    """Make the digests of many changed entries here, off the event loop, where the calls are compared."""
    if last is None:  # a checkpoint may have digests of all
        if len(body) <= PIECE and _count_values(body) <= 2 * _MAX_COMPARED:
            return
        compared = listing.entries
    else:
        compared = _changed(set(last.entries), set(listing.entries))
        if sum(_count_values(entry.json) for entry in compared) <= _MAX_COMPARED:
            return
    leave_event_loop()
    for entry in compared:
        entry.digest  # noqa: B018 - computed once


def _changed(last: set[ListedCall], entries: set[ListedCall]) -> list[ListedCall]:
    """Return the changed entries and their former selves, as far as only their whole JSON may tell if they differ."""
    former = {entry.identity: entry for entry in last - entries}
    found: list[ListedCall] = []
    for entry in entries - last:
        before = former.get(entry.identity)
        if before is not None and not surely_differ(before, entry):
            found += (before, entry)
    return found


def _count_values(json: bytes) -> int:
    """Count the values in JSON, roughly."""
    return json.count(b",") + json.count(b"[") + json.count(b"{")


def _walk(body: bytes, entries: list[ListedCall], layout: Layout) -> list[ListedCall | bytes] | None:
    """Split a body into known entries and the bytes between them, usually one entry each.

    Returns:
        None if the layout is different, or if so much is new that reading the body whole is cheaper.
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
                return None  # the last separator has no entry after it
    if position < end:
        pieces.append(body[position:end])
    return pieces if position <= end else None


def _find_next(
    body: bytes, position: int, entries: list[ListedCall], index: int, separator: bytes
) -> tuple[int, int] | None:
    """Find the next known entry further on in the body: its index and its first byte. The entry may have changed."""
    wanted = entries[index].json
    until = position + len(wanted) * 2 + _WINDOW
    first = index + body.startswith(wanted[:_RECOGNIZED], position)  # skip this entry if it has merely changed
    for candidate in range(first, min(index + _LOOK_AHEAD, len(entries))):
        wanted = entries[candidate].json
        # Searching for the id alone is several times as fast as searching for the beginning of the entry.
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
    """Parse the unknown pieces; return None if they are not entries, or not readable ones while ``strict``."""
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
    if len(piece) > _LONG_PIECE:
        return None
    if (call := call_at(piece)) is not None:  # one entry, as nearly always
        return [call]
    payloads = _split_piece(piece, separator)
    return None if payloads is None else [ListedCall(identity_of(each), each) for each in payloads]


def _is_readable(entry: ListedCall) -> bool:
    try:
        structure_call(entry.json, "", strict=True)
    except PayloadError:
        return False
    return True


def _split_piece(piece: bytes, separator: bytes) -> list[bytes] | None:
    try:
        _, raw = split(b'{"current_calls":[%b]}' % piece) or ("", [])
    except PayloadError:
        return None
    payloads = [bytes(each) for each in raw]
    # Reject a piece that ends the list and begins another.
    return payloads if separator.join(payloads) == piece else None


def _read_whole(body: bytes, *, strict: bool, keep_glances: bool) -> Listing:
    found = split_any(body, strict=strict)
    if found is None:
        raise PayloadError("", "the response has no list of calls (current_calls)")
    path, raw = found
    if len(raw) > _MAX_READ:
        leave_event_loop()
    payloads = [bytes(each) for each in raw]
    if path == _ONE_CALL or strict:
        _check_readable(path, payloads, strict=strict)
    entries = list_calls(body, payloads, keep_glances=keep_glances)
    return Listing(entries, _layout(body, payloads))


def _check_readable(path: str, payloads: list[bytes], *, strict: bool) -> None:
    reader = call_reader()
    for index, payload in enumerate(payloads):
        call = reader.read(payload, path, None if path == _ONE_CALL else index)
        if strict:
            check_strictly(call)


def _layout(body: bytes, payloads: list[bytes]) -> Layout | None:
    """Return the bytes around the entries if the body is plain, else None."""
    head = _HEAD.match(body)
    tail = _TAIL.search(body, max(0, len(body) - _LONGEST_TAIL))
    if head is None or tail is None:
        return None
    separator = b","
    if len(payloads) > 1:
        between = _SEPARATOR.match(body, head.end() + len(payloads[0]))
        separator = between[0] if between else separator
    layout = Layout(head[0], separator, body[max(tail.start(), head.end()) :])
    # A rough check will do: the walk trusts neither separator nor tail.
    size = len(layout.head) + sum(map(len, payloads)) + len(separator) * (len(payloads) - 1) + len(layout.tail)
    return _shared(layout) if size == len(body) or not payloads else None


_layouts: dict[Layout, Layout] = {}


def _shared(layout: Layout) -> Layout:
    """Return one shared object for equal layouts, since thousands of organizations have the same."""
    if len(_layouts) > 64:
        _layouts.clear()
    return _layouts.setdefault(layout, layout)
