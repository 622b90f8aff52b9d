"""The wait in a response: ``Retry-After`` of RFC 9110, section 10.2.3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .. import clock


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After as seconds from now; None if it is absent, negative or malformed.

    A date is compared with the response's own ``Date``, because the server's clock may differ from ours. A date in
    the past means 0 seconds.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, headers.get("Date", ""))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(value: str, date: str) -> float:
    when = _parse_date(value)
    if when is None:
        return math.nan
    return max(0.0, (when - (_parse_date(date) or clock.utc_now())).total_seconds())


def _parse_date(value: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)  # "-0000" is UTC, RFC 5322, section 3.3
