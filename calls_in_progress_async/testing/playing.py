"""A call's life, told in one line for each moment."""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from .. import validation
from ..organization import Organization
from ..sandbox import Action, SandboxServer

_ACTIONS: dict[str, Action] = {"starts": "start", "changes": "change", "ends": "end"}
_STEP = re.compile(r"(starts|changes|ends) at (\d+(?:\.\d+)?)(?:: (\S.*))?")
_FIELD = re.compile(r"([\w ]+)=(.*)")

_played: WeakKeyDictionary[SandboxServer, int] = WeakKeyDictionary()
"""Number of calls played on each sandbox."""


def play(sandbox: SandboxServer, organization: Organization, *steps: str, **fields: Any) -> str:
    """Play a call's life on a sandbox, against which a watch can be run.

    Args:
        sandbox: The sandbox.
        organization: The call's organization.
        steps: ``"starts at 0"``, ``"changes at 12"``, ``"changes at 20: city=Boston, keypress_1=2"``, ``"ends at 40"``.
            Times are simulated seconds from now. A change without fields is one of the sandbox's own.
        fields: Fields of the call's start by the API's name, in place of made-up ones.

    Returns:
        The call's transaction id.

    Raises:
        InvalidRequestError: A step cannot be read, or the sandbox has no such organization.

    Example::

        play(sandbox, Organization.advertiser(2), "starts at 0", "changes at 12", "ends at 40")
    """
    planned = [_read(step) for step in steps]
    number = _played[sandbox] = _played.get(sandbox, 0) + 1
    made_up = {"calling_phone_number": f"+1805555{number % 10_000:04}", "custom_data": {}}
    transaction_id = str(fields.pop("transaction_id", f"PLAYED00-{number:08}"))
    for action, seconds, changed in planned:
        given = {**made_up, **fields, **changed} if action == "start" else changed
        sandbox.plan_call(organization, seconds, action, transaction_id, **given)
    return transaction_id


def _read(step: str) -> tuple[Action, float, dict[str, Any]]:
    found = _STEP.fullmatch(step) if isinstance(step, str) else None
    if found is None:
        raise validation.unexpected("step", '"starts at 0", "changes at 12: city=Boston" or "ends at 40"', step)
    return _ACTIONS[found[1]], float(found[2]), dict(map(_read_field, found[3].split(", "))) if found[3] else {}


def _read_field(text: str) -> tuple[str, str]:
    found = _FIELD.fullmatch(text)
    if found is None:
        raise validation.unexpected("step", 'fields such as "city=Boston, keypress_1=2"', text)
    return found[1], found[2]
