"""Settings of a client from environment variables."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from . import validation
from .instrumentation import Instrumentation
from .limits.settings import RateLimit
from .organization import Organization
from .transport.aiohttp_transport import ClientSession, Fingerprint
from .transport.protocol import Transport
from .transport.retry import RetryPolicy
from .transport.tokens import TokenSource

_PREFIX = "CALLS_IN_PROGRESS_"
"""The prefix of the variables' names."""


class ClientSettings(TypedDict, total=False):
    """The keyword arguments of `CallsInProgressClient`, for `CallsInProgressClient.from_env`."""

    token: TokenSource
    base_url: str
    network: str | None
    api_version: str
    organization_type_case: Literal["lower", "capitalized"]
    default_region: str
    validate_phone_numbers: Literal["possible", "valid", "off"]
    strict: bool
    retry: RetryPolicy
    rate_limit: RateLimit | None
    timeout: float | None
    attempt_timeout: float | None
    connect_timeout: float
    max_connections: int
    max_response_size: int
    ssl: ssl_module.SSLContext | Fingerprint | bool
    proxy: str | None
    trust_env: bool
    session: ClientSession | None
    transport: Transport | None
    instrumentation: Sequence[Instrumentation]


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Add the environment's settings, where ``settings`` has none of its own.

    White space around a variable's value, such as the line end of an ``--env-file`` from Windows, is no part of it.

    Raises:
        InvalidRequestError: There is no token, or two.
    """
    host = () if settings.keys() & {"base_url", "network"} else ("base_url", "network")
    for name in (*host, "organization_type_case"):
        if value := _variable(name.upper()):
            settings.setdefault(name, value)
    if "token" not in settings:
        settings["token"] = _token()
    return settings


def token_from_pipe() -> TokenSource | None:
    """Read the token if a pipe holds it, such as the shell's ``<(...)``, which can be read once only."""
    return _token() if Path(_variable("TOKEN_FILE")).is_fifo() else None


def _variable(name: str) -> str:
    return os.environ.get(_PREFIX + name, "").strip()


def _token() -> str | Callable[[Organization], str]:
    token, file = _variable("TOKEN"), _variable("TOKEN_FILE")
    if token and file:
        raise validation.invalid("token", f"is set twice: unset {_PREFIX}TOKEN or {_PREFIX}TOKEN_FILE")
    if token:
        return token
    if not file:
        raise validation.invalid(
            "token", f"is missing: set {_PREFIX}TOKEN, or {_PREFIX}TOKEN_FILE to a file that holds it"
        )
    path = Path(file)
    token = _read_token(path)  # a mistake shows when the client is made
    if path.is_fifo():
        return token
    return lambda _: _read_token(path)  # called again after a 401: a rotated secret is a new file


def _read_token(path: Path) -> str:
    try:
        return validation.token(path.read_text(encoding="utf-8-sig").strip())
    except OSError as error:
        reason = error.strerror
    except ValueError:
        reason = "it holds none: visible ASCII characters, no spaces or line ends within"
    raise validation.invalid("token", f"cannot be read from the file that {_PREFIX}TOKEN_FILE names: {reason}")
