"""Foreign HTTP instrumentation is switched off around our own requests, because the query holds phone numbers.

Tracing libraries record the URL of every aiohttp session. A caller's phone number is in the query of a find, so it
would be in every span. This package's own instrumentation reports each call and attempt without one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp


@contextmanager
def suppress_opentelemetry() -> Iterator[None]:
    """Tell OpenTelemetry's instrumentation of HTTP clients to skip the requests made within.

    Its context key ``suppress_http_instrumentation`` is set only if OpenTelemetry is imported already.
    """
    context = sys.modules.get("opentelemetry.context")
    key = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
    if context is None or key is None:
        yield
        return
    token = context.attach(context.set_value(key, True))
    try:
        yield
    finally:
        context.detach(token)


def remove_trace_hooks(session: aiohttp.ClientSession) -> None:
    """Remove from a session of our own the hooks that Sentry and others add to every session of the process."""
    session.trace_configs.clear()


def has_trace_hooks(session: aiohttp.ClientSession) -> bool:
    """Return True if hooks would see the URL of a request made through the session."""
    return bool(getattr(session, "trace_configs", ()))
