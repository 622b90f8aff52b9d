"""The state of the limits at one moment, to look at."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class BucketSnapshot:
    """The state of a bucket at one moment."""

    rate: float | None
    """Tokens added per second; None without a limit."""
    burst: float | None
    """Tokens in a full bucket; None without a limit."""
    tokens: float | None
    """Tokens in the bucket now; None without a limit."""
    waiting: int
    """Requests waiting for a token."""
    paused_for: float
    """Seconds until the pause ends; 0 without a pause, infinite in a closed bucket."""
    granted: int
    """Grants so far, less the returned ones."""
    cancelled: int
    """Cancelled waits."""


@attrs.frozen(kw_only=True)
class LimiterSnapshot:
    """The state of a client's limits at one moment."""

    shared: Mapping[str, BucketSnapshot]
    """The bucket of each host and token, by a digest instead of the token."""
    organizations: int
    """Organizations with a bucket of their own."""
    organizations_waiting: int
    """Requests waiting for the bucket of their organization."""
