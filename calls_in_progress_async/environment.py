"""Settings of a client from environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import validation

_PREFIX = "CALLS_IN_PROGRESS_"
"""What the names of the variables begin with."""


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Add to the settings what the environment says of those that are not among them.

    Raises:
        InvalidRequestError: There is no token, or two.
    """
    host = () if settings.keys() & {"base_url", "network"} else ("base_url", "network")
    for name in (*host, "organization_type_case"):
        if value := os.environ.get(_PREFIX + name.upper()):
            settings.setdefault(name, value)
    if "token" not in settings:
        settings["token"] = _token()
    return settings


def _token() -> str:
    token, file = os.environ.get(f"{_PREFIX}TOKEN"), os.environ.get(f"{_PREFIX}TOKEN_FILE")
    if token and file:
        raise validation.invalid("token", f"is set twice: unset {_PREFIX}TOKEN or {_PREFIX}TOKEN_FILE")
    if token:
        return token.strip()
    if not file:
        raise validation.invalid(
            "token", f"is missing: set {_PREFIX}TOKEN, or {_PREFIX}TOKEN_FILE to a file that holds it"
        )
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
    raise validation.invalid("token", f"cannot be read from the file that {_PREFIX}TOKEN_FILE names: {reason}")
