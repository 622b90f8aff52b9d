"""Bodies of responses: split into their calls, and the calls structured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

from ..slow_reading import leave_event_loop_for
from . import lenient_json, reported_errors
from .call import CALL_FORMAT, Call, call_reader, check_strictly
from .codec import (
    ABSENT,
    UNREADABLE,
    Absent,
    BoundsError,
    Json,
    PayloadError,
    Problem,
    decode,
    decoder,
    make_part,
)
from .pieces import MAX_ENTRIES, PIECE, Run, check_number, cut
from .reader import Maker
from .record import SharedBody

T = TypeVar("T")

_LIST_KEYS = ("current_calls", "calls_in_progress")
"""The key of the list of calls, in any revision of the API."""
_ONE_KEY = "current_call"
"""The key of the single call in a response to an update."""

_SAMPLED = 2**16
"""Bytes of a body too small to hold the event loop, however its list looks."""
_MAX_LOOSE = 2000
"""Calls with numbers for text to make in the event loop. Each takes 12 microseconds."""


class StructuredCalls(NamedTuple):
    """The calls of a body."""

    calls: tuple[Call, ...]
    problems: tuple[Problem, ...] = ()
    """The entries other than calls."""


@cache
def _lists_of(entry: Any) -> Any:
    kinds: dict[str, Any] = dict.fromkeys(_LIST_KEYS, list[entry] | Absent)
    members = dict.fromkeys((_ONE_KEY, *reported_errors.KEYS), Json | Absent)
    return make_part("Lists", {**kinds, **members}, ABSENT)


_RawLists = _lists_of(Json)
_reports_in = attrgetter(*reported_errors.KEYS)
_NO_REPORTS = (ABSENT,) * len(reported_errors.KEYS)


def _list_in(lists: Any) -> tuple[str, list[Any]] | None:
    if (reports := _reports_in(lists)) != _NO_REPORTS:
        reported_errors.refuse_reported_error(zip(reported_errors.KEYS, reports, strict=True))
    for key in _LIST_KEYS:
        if (entries := getattr(lists, key)) is not ABSENT:
            return key, entries
    return None


def split(body: bytes) -> tuple[str, list[Any]] | None:
    """Split a body into the JSON of its entries, without decoding them.

    Returns:
        The key of the list and the entries, as objects with the buffer interface; None if the body is an object
        without any such key.

    Raises:
        PayloadError: The body is not JSON, not an object, has no list where one belongs, has too many entries, or
            reports an error.
    """
    lists = decode(_RawLists, _without_mark(body))
    found = _list_in(lists)
    if found is not None:
        check_number(found[0], len(found[1]))
        return found
    return None if lists.current_call is ABSENT else (_ONE_KEY, [lists.current_call])


def split_tolerantly(body: bytes, *, strict: bool) -> tuple[str, list[Any]] | None:
    """Split a body as `split` does; unless ``strict``, also a body in loose JSON."""
    if _is_dense(body):
        leave_event_loop_for(body)
    try:
        return split(body)
    except (BoundsError, reported_errors.ReportedError):
        raise
    except PayloadError as error:
        if strict:
            raise
        leave_event_loop_for(body)
        with suppress(ValueError, RecursionError):
            if (found := _split_leniently(body)) is not None:
                return found
        raise PayloadError(error.path, error.reason) from None


def split_any(body: bytes, *, strict: bool) -> tuple[str, list[Any]] | None:
    """Split a body of any size as `split_tolerantly` does."""
    if len(body) <= PIECE:
        return split_tolerantly(body, strict=strict)
    found = _cut(body, strict=strict)
    return found and (found[0], [entry for run in found[1] for entry in run.entries])


def _cut(body: bytes, *, strict: bool) -> tuple[str, list[Run]] | None:
    leave_event_loop_for(body)
    return cut(_without_mark(body), partial(split_tolerantly, strict=strict), strict=strict)


def _split_leniently(body: bytes) -> tuple[str, list[bytes]] | None:
    fields = lenient_json.cut(body)
    reported_errors.refuse_reported_error(
        (key, value if isinstance(value, bytes) else b"[%b]" % b",".join(value)) for key, value in fields.items()
    )
    for key in _LIST_KEYS:
        if isinstance(entries := fields.get(key), list):
            check_number(key, len(entries))
            return key, entries
    one = fields.get(_ONE_KEY)
    return (_ONE_KEY, [one]) if isinstance(one, bytes) else None


def _without_mark(body: bytes) -> bytes:
    """Remove the byte order mark, as a parser may (RFC 8259, section 8.1)."""
    return body.removeprefix(b"\xef\xbb\xbf")


def _is_dense(body: bytes) -> bool:
    """Return True if a body has more entries than a list may have, by the commas in samples of a 32nd of its bytes."""
    if len(body) <= _SAMPLED:
        return False
    step, sample = 2**13, 2**8
    return 32 * sum(body.count(b",", start, start + sample) for start in range(0, len(body), step)) > 2 * MAX_ENTRIES


def try_decode_all(kind: type[T], body: bytes) -> list[T] | None:
    """Decode every entry of a body as ``kind``; None if any of them is anything else."""
    try:
        found = _list_in(decode(_lists_of(cast(Any, kind)), body))
    except PayloadError:
        return None
    return None if found is None else cast(list[T], found[1])


def structure_list(body: bytes, *, strict: bool) -> StructuredCalls | None:
    """Structure the list of calls of a body. The calls share the body until they are detached.

    Returns:
        The calls; None if the body is an object without any of the keys for calls.

    Raises:
        PayloadError: As `split` and, in strict mode, for any unreadable field.
        BoundsError: The body is larger than `cut` allows.
        SlowReadingError: The body takes too long to be read in the event loop.
    """
    if strict or _is_dense(body):
        leave_event_loop_for(body)
    if len(body) > PIECE:
        return _structure_runs(body, strict=strict)
    calls = _fill_all(_without_mark(body))
    if calls is None:
        return structure_each(body, strict=strict)
    if strict:
        for call in calls:
            check_strictly(call)
    return StructuredCalls(calls)


def structure_each(body: bytes, *, strict: bool) -> StructuredCalls | None:
    """Structure the calls of a body as `structure_list` does, each from a copy of its own JSON if the body is small."""
    leave_event_loop_for(body)
    if len(body) > PIECE:
        return _structure_runs(body, strict=strict)
    found = split_tolerantly(body, strict=strict)
    return found and _structure_entries(found[0], found[1], 0, strict=strict)


def _structure_runs(body: bytes, *, strict: bool) -> StructuredCalls | None:
    found = _cut(body, strict=strict)
    if found is None:
        return None
    key, runs = found
    calls: list[Call] = []
    problems: list[Problem] = []
    first = 0
    for run in runs:
        filled = None if strict else _fill_run(run, key, first)
        structured = filled or _structure_entries(key, run.entries, first, strict=strict)
        calls += structured.calls
        problems += structured.problems
        first += len(run.entries)
    return StructuredCalls(tuple(calls), tuple(problems))


def _structure_entries(key: str, entries: list[Any], first: int, *, strict: bool) -> StructuredCalls:
    calls: list[Call] = []
    problems: list[Problem] = []
    reader = call_reader()
    for index, entry in enumerate(map(bytes, entries), first):
        try:
            call = reader.read(entry, key, None if key == _ONE_KEY else index)
            if strict:
                check_strictly(call)
        except PayloadError as error:
            if strict:
                raise
            problems.append(Problem(error.path, error.reason))
        else:
            calls.append(call)
    return StructuredCalls(tuple(calls), tuple(problems))


def _fill_all(body: bytes) -> tuple[Call, ...] | None:
    """Decode the list of calls in one go; return None if there is no list, or if any field is unreadable."""
    for make_spelling in _SPELLINGS:
        try:
            spelling = make_spelling()
            if not body.isascii():
                body.decode()  # msgspec does not look into what it skips
            found = _list_in(spelling.decode_body(body))
            return None if found is None else _fill_found(found, spelling, body)
        except UNREADABLE:
            continue
    return None


def _fill_found(found: tuple[str, list[Any]], spelling: _Spelling, body: bytes) -> tuple[Call, ...]:
    key, rows = found
    check_number(key, len(rows))
    if len(rows) > _MAX_LOOSE and spelling is not _plain():
        leave_event_loop_for(body)
    return _fill(rows, spelling, SharedBody(body, _entries_of), key, 0)


def _fill_run(run: Run, key: str, first: int) -> StructuredCalls | None:
    """Decode the calls of a run in one go; return None if any field is unreadable."""
    for make_spelling in _SPELLINGS:
        with suppress(*UNREADABLE):
            spelling = make_spelling()
            run.json.decode()  # msgspec does not look into what it skips
            rows = spelling.decode_list(run.json)
            source = SharedBody(run.json, decoder(list[Json]), first)
            return StructuredCalls(_fill(rows, spelling, source, key, first))
    return None


class _Spelling(NamedTuple):
    """A way to decode all calls of a body."""

    decode_body: Callable[[bytes], Any]
    decode_list: Callable[[bytes], list[Any]]
    fill: Callable[..., Call]
    """Makes a call of a row."""


@cache
def _plain() -> _Spelling:
    return _spelling_of(CALL_FORMAT.plain)


@cache
def _loose() -> _Spelling:
    return _spelling_of(CALL_FORMAT.loose)


def _spelling_of(maker: Maker[Call]) -> _Spelling:
    return _Spelling(decoder(_lists_of(maker.row)), decoder(cast(Any, list[maker.row])), maker.fill)  # type: ignore[name-defined,arg-type]


_SPELLINGS = (_plain, _loose)
"""In the order of their speed."""


def _fill(rows: list[Any], spelling: _Spelling, source: SharedBody, key: str, first: int) -> tuple[Call, ...]:
    fill = spelling.fill
    return tuple([fill(row, source, key, index) for index, row in enumerate(rows, first)])


def _entries_of(body: bytes) -> list[Any]:
    return (split(body) or ("", []))[1]
