"""The responses of a scripted transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

from attrs import field, frozen

from .. import validation
from ..errors import ConnectionFailedError, ConnectionLostError
from ..records import Call
from ..transport.protocol import SendState
from ..transport.wire import WireResponse

_HTML = "<!DOCTYPE html><html><body>Be right back.</body></html>"


class _Headers(Mapping[str, str]):
    """Headers without regard to the case of names."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@frozen(kw_only=True)
class ScriptedResponse:
    """One response of a `ScriptedTransport`. Make it with `status`, `calls` and the other functions of this module."""

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    seconds: float | None = field(default=0.0, validator=validation.number("seconds", optional=True))
    """Seconds until the response; None if it never comes."""
    error: Exception | None = None
    """The failure of the connection, or of the transport itself, in place of a response."""

    async def play(self, state: SendState) -> WireResponse:
        """Wait, and return the response or raise the failure."""
        state.may_have_been_sent = not isinstance(self.error, ConnectionFailedError)
        if self.seconds is None:
            await asyncio.get_running_loop().create_future()
        elif self.seconds:
            await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise copy(self.error)  # its traceback and cause are the attempt's own
        return WireResponse(self.status, _Headers(self.headers), self.body)


def status(
    code: int,
    *,
    retry_after: float | str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 0.0,
) -> ScriptedResponse:
    """Respond with a status.

    Args:
        code: The status, from 200 to 599.
        retry_after: The header ``Retry-After``: seconds, or any text.
        body: The body; by default the API's own for the status, which is an empty list of calls for 200.
        headers: Further headers.
        seconds: Seconds from the request to the response.
    """
    if not validation.is_integer(code) or not 200 <= code <= 599:
        raise validation.unexpected("code", "a status from 200 to 599", code)
    given = dict(headers or {})
    if retry_after is not None:
        given["Retry-After"] = str(retry_after)
    return ScriptedResponse(
        status=int(code), headers=given, body=_body_of(code) if body is None else body, seconds=seconds
    )


def calls(*listed: Call | Mapping[str, Any], seconds: float = 0.0) -> ScriptedResponse:
    """Respond to a find, a poll or an update with these calls.

    Args:
        listed: Calls from `make_call`, or mappings with the API's names.
        seconds: Seconds from the request to the response.
    """
    return ScriptedResponse(body=_body_with([_payload(each) for each in listed]), seconds=seconds)


def html(text: str = _HTML, *, code: int = 200) -> ScriptedResponse:
    """Respond with a page of HTML, as a proxy or a load balancer does."""
    return ScriptedResponse(status=code, headers={"Content-Type": "text/html"}, body=text.encode())


def refused() -> ScriptedResponse:
    """Refuse the connection: the request surely did not reach the server."""
    return ScriptedResponse(error=ConnectionFailedError("No connection was made: the script refuses it."))


def lost_after_write() -> ScriptedResponse:
    """Lose the connection after the request is written: the server may have carried it out."""
    return ScriptedResponse(error=ConnectionLostError("The connection was lost: the script drops it after the write."))


def truncated() -> ScriptedResponse:
    """Lose the connection in the middle of the response's body."""
    return ScriptedResponse(error=ConnectionLostError("The connection was lost: the script cuts the body short."))


def hang() -> ScriptedResponse:
    """Never respond. The client's timeouts end the wait."""
    return ScriptedResponse(seconds=None)


def _payload(call: Call | Mapping[str, Any]) -> Any:
    return call.raw if isinstance(call, Call) else dict(call)


def _body_with(payloads: list[Any]) -> bytes:
    return json.dumps({"current_calls": payloads}, separators=(",", ":")).encode()


def _body_of(code: int) -> bytes:
    """Return the API's body for a status."""
    if code == 200:
        return _body_with([])
    if code < 300:
        return b""
    if code == 401:
        return b'{"error":"NotAuthorized"}'
    names = {404: "RecordNotFound", 429: "TooManyRequests"}
    return json.dumps({"errors": {"invalid_data": "scripted", "class": names.get(code, "ServiceError")}}).encode()
