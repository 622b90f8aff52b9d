"""Recordings of `CallsInProgressClient.watch`, served again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from .. import validation
from ..errors import InvalidRequestError
from ..organization import Organization
from ..sandbox import Action, SandboxServer
from ..sandbox.revisions import FIND_FIELDS
from ..watch.recorder import FORMAT

_ACTIONS: dict[str, Action] = {"call_started": "start", "call_changed": "change", "call_ended": "end"}
_NO_FIELDS = dict.fromkeys(FIND_FIELDS["2024-02"])
"""A call without values, so that the sandbox makes none up."""


@frozen
class _Moment:
    """One recorded event of a call."""

    time: float
    """Unix time in seconds."""
    action: Action
    organization: Organization
    fields: dict[str, Any]


def replay(path: str | os.PathLike[str], *, start: datetime | None = None, **settings: Any) -> SandboxServer:
    """Make a sandbox that serves the calls of a recording again.

    Calls start, change and end at the recorded times, counted from the call of this function. Call it in the event loop
    that serves the sandbox. Failures of organizations are not repeated.

    Args:
        path: A file from ``client.watch(..., record=path)``.
        start: The recorded moment to begin at, an aware datetime: calls in progress then are there at once. The first
            recorded call by default.
        settings: Settings of `SandboxServer`, such as ``speed=60``.

    Raises:
        InvalidRequestError: The file is no recording, or holds no call; or ``start`` is no aware datetime.
        OSError: The file cannot be read.
    """
    if start is not None and getattr(start, "tzinfo", None) is None:
        raise validation.unexpected("start", "an aware datetime or None", start)
    content = Path(path).read_bytes()
    try:
        moments = _read(content.decode("utf-8-sig"))
    except InvalidRequestError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise validation.invalid("path", "must be a recording, got something else") from None
    organizations = list(dict.fromkeys(moment.organization for moment in moments))
    if not organizations:
        raise validation.invalid("path", "must be a recording with a call, got one without")
    sandbox = SandboxServer(**{"organizations": organizations, "calls_per_organization": 0, **settings})
    began = moments[0].time if start is None else start.timestamp()
    for moment in moments:
        fields = {**_NO_FIELDS, **moment.fields}
        transaction_id = fields.pop("transaction_id")
        sandbox.plan_call(moment.organization, max(0.0, moment.time - began), moment.action, transaction_id, **fields)
    return sandbox


def _read(text: str) -> list[_Moment]:
    """Read the moments of a recording. A restart of the watch ends the calls that were live before.

    A change of a call without a start is a start: the watch knew the call from a checkpoint.
    """
    live: dict[tuple[Organization, str], _Moment] = {}
    moments: list[_Moment] = []
    for number, line in enumerate(_lines(text)):
        if number == 0 and line.get("format") != FORMAT:
            raise validation.invalid("path", f"must be a file whose first line says {FORMAT!r}")
        if "format" in line:
            moments += [evolve(each, time=float(line["time"]), action="end") for each in live.values()]
            live.clear()
        elif line["kind"] in _ACTIONS and "transaction_id" in line["call"]:
            moment = _moment(line)
            key = (moment.organization, moment.fields["transaction_id"])
            if moment.action == "change" and key not in live:
                moment = evolve(moment, action="start")
            moments.append(moment)
            if moment.action == "end":
                live.pop(key, None)
            else:
                live[key] = moment
    return moments


def _moment(line: dict[str, Any]) -> _Moment:
    organization = Organization(**line["organization"])
    return _Moment(float(line["time"]), _ACTIONS[line["kind"]], organization, {**line["call"]})


def _lines(text: str) -> Iterator[dict[str, Any]]:
    """Yield the lines. The last line may be cut off by the end of the process."""
    lines = text.removesuffix("\n").split("\n")  # splitlines would split at U+2028 in a string, too
    for number, each in enumerate(lines, 1):
        try:
            value = json.loads(each)
        except ValueError:
            if number < len(lines) or number == 1:
                raise validation.invalid("path", f"must be a recording, got no JSON in line {number}") from None
            return
        yield value if isinstance(value, dict) else {}
