"""Making a watch from the arguments of `CallsInProgressClient.watch`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ..cancellation import CheckUsable
from ..organization import Organization
from .fetch import Execute, make_fetch
from .recorder import Numbers, Recorder
from .settings import WatchSettings
from .watch import Watch


def make_watch(
    execute: Execute,
    organizations: Iterable[Organization],
    resume_from: Any,
    *,
    strict: bool,
    check_usable: CheckUsable,
    record: str | os.PathLike[str] | None,
    record_numbers: Numbers,
    **settings: Any,
) -> Watch:
    """Make a watch that polls through a client; ``settings`` are those of `WatchSettings`."""
    return Watch(
        make_fetch(execute, strict=strict),
        organizations,
        WatchSettings(**settings),
        check_usable=check_usable,
        resume_from=resume_from,
        recorder=None if record is None else Recorder(record, record_numbers),
    )
