"""Bodies of responses: cut into their calls, within a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

from . import lenient_json, reported_errors
from .budget import Budget
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
from .record import SharedBody

T = TypeVar("T")

_LIST_KEYS = ("current_calls", "calls_in_progress")
"""The key of the list of calls, in any revision of the API."""
_ONE_KEY = "current_call"
"""The key of the single call in a response to an update."""

# The bounds below keep the event loop free: a body of 32 MiB, the default cap, is decoded or refused in about 100 ms.
MAX_ENTRIES = 20_000
"""Entries of a list. Each takes 2 microseconds or more to decode."""
MAX_OBJECTS = 300_000
"""Objects of a body. Each may be an entry, and takes 0.15 microseconds to count."""
MAX_STEPS = 100_000
"""Steps of reading fields one by one. Each takes about half a microsecond: 5,000 entries that are no objects have as
many steps, and 1,500 calls with an unreadable field among forty."""
MAX_STRICT_VALUES = 250_000
"""Values of a body in strict mode, which reads the custom data of every call at once."""
MAX_READ_EACH = 2**23
"""Bytes of a body with an unreadable field: each of its calls is read by itself, after the body as a whole."""
MAX_LENIENT_BODY = 2**18
"""Bytes of a body in loose JSON: the standard library reads 20 MB a second or more, and reads a value twice."""
MAX_LENIENT_PARTS = 5_000
"""Fields and entries of a body in loose JSON."""
_SMALL = 2**17
"""Bytes of a body too small to be checked."""
_LARGE = 2**20
"""Bytes of a body from which all values are counted; in a smaller body, those of one window in eight."""
_BYTES_A_VALUE = 20
"""Least bytes for a key and a value, on average, in a body with more than MAX_ENTRIES values."""
_BYTES_AN_ESCAPE = 8
"""Least bytes for an escape in a text, on average, in a body with more than MAX_READ_EACH bytes."""


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
        PayloadError: The body is not JSON, not an object, has no list where one belongs, reports an error, or is
            larger than the bounds of this module.
    """
    plain = _without_mark(body)
    if len(plain) > _SMALL:
        _check_density(plain)
    found = _split(plain)
    if found is not None:
        _check_number(*found)
    return found


def _check_number(key: str, entries: list[Any]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise BoundsError(key, f"has more than {MAX_ENTRIES:,} entries")


def _split(plain: bytes) -> tuple[str, list[Any]] | None:
    lists = decode(_RawLists, plain)
    found = _list_in(lists)
    return found or (None if lists.current_call is ABSENT else (_ONE_KEY, [lists.current_call]))


def split_tolerantly(body: bytes, *, strict: bool) -> tuple[str, list[Any]] | None:
    """Split a body as `split` does; unless ``strict``, also a body in loose JSON."""
    if strict:
        _check_strict_size(body)
    try:
        return split(body)
    except (BoundsError, reported_errors.ReportedError):
        raise
    except PayloadError as error:
        if strict:
            raise
        if len(body) > MAX_LENIENT_BODY:
            reason = f"{error.reason}, and has more than {MAX_LENIENT_BODY:,} bytes, too many to read tolerantly"
            raise BoundsError(error.path, reason) from None
        with suppress(ValueError, RecursionError):
            if (found := _split_leniently(body)) is not None:
                return found
        raise PayloadError(error.path, error.reason) from None


def _split_leniently(body: bytes) -> tuple[str, list[bytes]] | None:
    fields = lenient_json.cut(body, MAX_LENIENT_PARTS)
    reported_errors.refuse_reported_error(
        (key, value if isinstance(value, bytes) else b"[%b]" % b",".join(value)) for key, value in fields.items()
    )
    for key in _LIST_KEYS:
        if isinstance(entries := fields.get(key), list):
            return key, entries
    one = fields.get(_ONE_KEY)
    return (_ONE_KEY, [one]) if isinstance(one, bytes) else None


def _without_mark(body: bytes) -> bytes:
    """Remove the byte order mark, as a parser may (RFC 8259, section 8.1)."""
    return body.removeprefix(b"\xef\xbb\xbf")


def _check_density(body: bytes) -> None:
    """Refuse a body of tiny values or of escapes, since decoding them takes far longer than decoding calls.

    Raises:
        BoundsError: The body has too many values or escapes.
    """
    most_values = MAX_ENTRIES + len(body) // _BYTES_A_VALUE
    if _count_values(body) > most_values or (len(body) > _LARGE and body.count(b"{") > MAX_OBJECTS):
        raise BoundsError("", "the body has too many values for its size")
    if len(body) > MAX_READ_EACH and body.count(b"\\") > len(body) // _BYTES_AN_ESCAPE:
        raise BoundsError("", "the body has too many escapes for its size")


def _check_strict_size(body: bytes) -> None:
    if body.count(b",") > MAX_STRICT_VALUES:
        raise BoundsError("", f"the body has more than {MAX_STRICT_VALUES:,} values, too many for strict mode")


def _count_values(body: bytes) -> int:
    """Count the values of a large body by their commas; estimate those of a smaller one from one window in eight."""
    if len(body) > _LARGE:
        return body.count(b",")
    step = 2**15
    return 8 * sum(body.count(b",", start, start + step // 8) for start in range(0, len(body), step))


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
    """
    plain = _without_mark(body)
    if len(plain) > _SMALL:
        _check_density(plain)
    if strict:
        _check_strict_size(plain)
    calls = _fill_all(plain)
    if calls is None:
        return structure_each(body, strict=strict)
    if strict:
        for call in calls:
            check_strictly(call)
    return StructuredCalls(calls)


def _fill_all(body: bytes) -> tuple[Call, ...] | None:
    """Decode the list of calls in one go; return None if there is no list, or if any field is unreadable."""
    for decode_lists, fill in _WAYS:
        try:
            if not body.isascii():
                body.decode()  # msgspec does not look into what it skips
            found = _list_in(decode_lists(body))
            return None if found is None else _fill(found, fill, body)
        except UNREADABLE:
            continue
    return None


_WAYS = (
    (decoder(_lists_of(cast(Any, CALL_FORMAT.plain_row))), CALL_FORMAT.fill_plain),
    (decoder(_lists_of(cast(Any, CALL_FORMAT.loose_row))), CALL_FORMAT.fill_loose),
)
"""The ways to decode all calls of a body: the function for its lists, and the function to make a call of an entry."""


def _fill(found: tuple[str, list[Any]], fill: Callable[..., Call], body: bytes) -> tuple[Call, ...]:
    key, rows = found
    _check_number(key, rows)
    source = SharedBody(body, _entries_of)
    return tuple([fill(row, source, key, index) for index, row in enumerate(rows)])


def _entries_of(body: bytes) -> list[Any]:
    return (_split(body) or ("", []))[1]


def structure_each(body: bytes, *, strict: bool) -> StructuredCalls | None:
    """Structure every call of a body, each from a copy of its own JSON: a kept call holds no other call's.

    Returns:
        The calls; None if the body is an object without any of the keys for calls.

    Raises:
        PayloadError: As `split` and, in strict mode, for any unreadable field.
    """
    if len(body) > MAX_READ_EACH:
        raise BoundsError("", f"the body has more than {MAX_READ_EACH:,} bytes, too many to read its calls one by one")
    found = split_tolerantly(body, strict=strict)
    if found is None:
        return None
    key, entries = found
    calls: list[Call] = []
    problems: list[Problem] = []
    reader = call_reader(Budget(MAX_STEPS, key).spend)
    for index, entry in enumerate(map(bytes, entries)):
        try:
            call = reader.read(entry, key, None if key == _ONE_KEY else index)
            if strict:
                check_strictly(call)
        except BoundsError:
            raise
        except PayloadError as error:
            if strict:
                raise
            problems.append(Problem(error.path, error.reason))
        else:
            calls.append(call)
    return StructuredCalls(tuple(calls), tuple(problems))
