"""A transport without a socket: a test scripts the responses, and reads the requests."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import field, frozen

from .. import clock, validation
from ..errors import CallsInProgressError
from ..organization import Organization
from ..transport.protocol import SendState
from ..transport.wire import WireRequest, WireResponse
from .responses import ScriptedResponse, status

Reply = ScriptedResponse | int | Exception
"""One response: a number is a status, and an exception a failure of the connection."""


class UnexpectedRequestError(CallsInProgressError, AssertionError):
    """The client sent a request for which the script has no response."""


@frozen(kw_only=True)
class SentRequest:
    """A request as the transport got it."""

    time: float
    """Seconds of the event loop's clock."""
    operation: str
    """``find``, ``update`` or ``poll``."""
    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    json: Any = field(repr=False)
    """The body as Python values; None without a body."""
    token: str = field(repr=False)

    @property
    def organization(self) -> Organization:
        """The organization of the request."""
        return Organization(self.query["id"], self.query["organization_type"])


Script = Reply | Callable[[SentRequest], Reply | Awaitable[Reply]]
"""One response of a script, or a function that chooses the response to a request, at once or later."""


class ScriptedTransport:
    """Responds to each request with the next response of a script. For ``CallsInProgressClient(transport=...)``.

    Retries, rate limits, timeouts and records stay real.

    Args:
        script: Responses in order: a status, an exception, or one of `status`, `calls`, `html`, `lost_after_write`,
            `truncated`, `refused`, `hang`. A function, or an async function, chooses the response to a `SentRequest`.
        repeat_last: True to respond to further requests as to the last one, for a poll that goes on.

    Example::

        transport = ScriptedTransport(503, status(429, retry_after=2), calls(make_call(transaction_id="ABCD-1")))

    Attributes:
        requests: The requests so far, oldest first.
        closed: True after the client is closed.
    """

    def __init__(self, *script: Script, repeat_last: bool = False) -> None:
        self.requests: list[SentRequest] = []
        self.closed: bool = False
        self._script: list[ScriptedResponse | Callable[[SentRequest], Any]] = []
        self._repeat_last = repeat_last
        self._used = 0
        self.add(*script)

    def add(self, *script: Script) -> None:
        """Append responses to the script.

        Raises:
            InvalidRequestError: An argument is no response.
        """
        for each in script:
            self._script.append(each if callable(each) and not isinstance(each, type) else _to_response(each))

    @property
    def unused(self) -> int:
        """Number of responses left in the script."""
        return len(self._script) - self._used

    def assert_done(self) -> None:
        """Fail unless the client sent as many requests as the script has responses, or more if the last is repeated.

        Raises:
            AssertionError: The message lists the requests.
        """
        if self.unused or (len(self.requests) > self._used and not self._repeat_last):
            expected = len(self.requests) + self.unused if self.unused else self._used
            raise AssertionError(f"expected {expected} requests, got {len(self.requests)}{self._listing()}")

    async def send(self, request: WireRequest, token: str, state: SendState) -> WireResponse:
        """Record a request, and play the next response.

        Raises:
            UnexpectedRequestError: The script is at its end.
            TransportError: The script says so.
        """
        sent = _sent(request, token)
        self.requests.append(sent)
        if self.unused:
            self._used += 1
        elif not (self._repeat_last and self._script):
            raise UnexpectedRequestError(
                f"unexpected request: the script has {len(self._script)} responses, add one{self._listing()}"
            )
        response = self._script[self._used - 1]
        if not isinstance(response, ScriptedResponse):
            chosen = response(sent)
            response = _to_response(await chosen if inspect.isawaitable(chosen) else chosen)
        return await response.play(state)

    async def close(self) -> None:
        """Set `closed`."""
        self.closed = True

    def _listing(self) -> str:
        """List the requests by method, resource and organization, without filters and bodies."""
        lines = [
            f"\n  {number}. {each.method} {each.path.rpartition('/')[2]} for "
            f"{each.query.get('organization_type', '?')}:{each.query.get('id', '?')}"
            for number, each in enumerate(self.requests, 1)
        ]
        return "; requests:" + "".join(lines) if lines else ""


def _to_response(value: Any) -> ScriptedResponse:
    if isinstance(value, ScriptedResponse):
        return value
    if validation.is_integer(value):
        return status(value)
    if isinstance(value, Exception):
        return ScriptedResponse(error=value)
    raise validation.unexpected("script", "a status, an exception or a response such as calls(...)", value)


def _sent(request: WireRequest, token: str) -> SentRequest:
    path, _, query = request.target.partition("?")
    return SentRequest(
        time=clock.now(),
        operation=request.operation,
        method=request.method,
        path=path,
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=request.headers,
        json=None if request.body is None else json.loads(request.body),
        token=token,
    )
