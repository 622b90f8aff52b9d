"""The settings of a wallboard, checked when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import Attribute, field, frozen

from .. import validation

_SHORTEST_TOKEN = 16
_MOST_FIELDS = 8


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise validation.invalid("fields", f"must be a list of names of custom fields, got {value!r}")
    return tuple(dict.fromkeys(value))


def _check_names(_: Any, __: Attribute[Any], names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise validation.invalid("fields", f"must hold names of custom fields, got {name!r}")
    if len(names) > _MOST_FIELDS:
        raise validation.invalid("fields", f"must hold at most {_MOST_FIELDS} names, got {len(names)}")


def _host_names(value: Iterable[str] | None) -> frozenset[str] | None:
    return None if value is None else frozenset(value)


def _pairs(value: Iterable[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    return tuple((float(time), int(calls)) for time, calls in value)


def _check_title(_: Any, attribute: Attribute[Any], title: Any) -> None:
    if not isinstance(title, str) or not title.strip():
        raise validation.invalid(attribute.name, f"must be text, got {title!r}")


def _check_token(_: Any, attribute: Attribute[Any], token: Any) -> None:
    if token is not None and (not isinstance(token, str) or len(token.strip()) < _SHORTEST_TOKEN):
        raise validation.invalid(attribute.name, f"must be None or at least {_SHORTEST_TOKEN} characters")


@frozen(kw_only=True)
class BoardSettings:
    """The settings of a wallboard.

    Raises:
        InvalidRequestError: A setting is out of its range; ``parameter`` names the setting.
    """

    title: str = field(default="Live calls", validator=_check_title)
    """Heading of the page."""
    fields: tuple[str, ...] = field(default=(), converter=_names, validator=_check_names)
    """Names of up to 8 custom fields, each a column."""
    show_numbers: bool = False
    """True to send callers' whole numbers to the browser, False to send the last four digits only."""
    page_token: str | None = field(default=None, repr=False, validator=_check_token)
    """Token to open the page, at least 16 characters; None for a page without a sign-in."""
    allowed_hosts: frozenset[str] | None = field(default=None, converter=_host_names)
    """Allowed host names of requests, without a port; None for any. A server on loopback names its own here, because a
    foreign page could reach it under another name of this machine (DNS rebinding)."""
    history: tuple[tuple[float, int], ...] = field(default=(), converter=_pairs)
    """Live calls at earlier times, as (seconds since 1970, calls), for the first hour of the chart."""
    batch_seconds: float = field(default=0.25, validator=validation.number("seconds", above=True))
    """Seconds to gather changes of calls into one message."""
    status_seconds: float = field(default=2.0, validator=validation.number("seconds", above=True))
    """Seconds between two messages with time, staleness and rate; they are the stream's heartbeat too."""
    sample_seconds: float = field(default=20.0, validator=validation.number("seconds", above=True))
    """Seconds between two points of the chart. The chart spans an hour."""
    ring_messages: int = field(default=1_024, validator=validation.count())
    """Messages kept for returning browsers. After a longer absence a browser gets everything anew."""
    ring_bytes: int = field(default=8 * 2**20, validator=validation.count())
    """Limit of the kept messages in bytes."""
    queue_bytes: int = field(default=2 * 2**20, validator=validation.count())
    """Limit of bytes to queue for one browser beyond its first message; a slower browser is disconnected."""
    max_browsers: int = field(default=1_000, validator=validation.count())
    """Streams at once; further browsers get a 503 and try again."""
