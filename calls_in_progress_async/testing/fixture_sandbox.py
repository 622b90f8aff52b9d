"""The sandbox of the fixtures: its address is known before it listens, and it lists its callers' private values."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ..organization import Organization
from ..sandbox import Action, SandboxServer
from ..sandbox.api import Request, Response
from ..sandbox.handler import RequestHandler

_DEFAULTS: Mapping[str, Any] = {"calls_per_organization": 0, "token": "7Q4M9XKD-fixture-token"}
_SAME_FOR_MANY = ("address_type_data_append", "carrier_data_append", "line_type_data_append")
"""Demographics that name a kind of line or address, and so no caller."""
_SHORTEST_PRIVATE = 7
"""Characters; a shorter value, such as a first name, may be part of any text."""


class FixtureSandbox(SandboxServer):
    """A `SandboxServer` whose port is chosen when it is made.

    Args:
        settings: Those of `SandboxSettings`. By default there are no calls except scripted ones.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**_DEFAULTS, "port": _free_port(), **settings})
        self._private: dict[str, None] = {}
        self._handler = _NotingHandler(self._private, self, self._simulation)

    @property
    def url(self) -> str:
        """The address of the sandbox, whether it listens yet or not."""
        return f"{'https' if self.ssl_context else 'http'}://{self.host}:{self.port}"

    def start_call(self, organization: Organization, *, seconds: float | None = None, **fields: Any) -> str:
        """Start a call now, as `SandboxServer.start_call` does, and note its private values."""
        transaction_id = super().start_call(organization, seconds=seconds, **fields)
        self._note(organization)
        return transaction_id

    def change_call(self, organization: Organization, transaction_id: str, **fields: Any) -> None:
        """Change a call now, as `SandboxServer.change_call` does, and note its private values."""
        super().change_call(organization, transaction_id, **fields)
        self._note(organization)

    def plan_call(
        self, organization: Organization, seconds: float, action: Action, transaction_id: str, **fields: Any
    ) -> None:
        """Start, change or end a call in the future, as `SandboxServer.plan_call` does, and note its private values."""
        super().plan_call(organization, seconds, action, transaction_id, **fields)
        self._private.update(dict.fromkeys(_private_values_of(fields)))

    def private_values(self) -> list[str]:
        """Return the token, and the phone numbers and demographics of the callers.

        Callers are those of scripted calls, and of all calls in the responses so far.
        """
        return [self.token, *self.tokens.values(), *self._private]

    def _note(self, organization: Organization) -> None:
        for fields in self.live(organization):
            self._private.update(dict.fromkeys(_private_values_of(fields)))


class _NotingHandler(RequestHandler):
    """Notes the private values of the calls in each response."""

    def __init__(self, private: dict[str, None], *parts: Any) -> None:
        super().__init__(*parts)
        self._private = private

    def _respond(self, request: Request) -> Response:
        response = super()._respond(request)
        self._private.update(dict.fromkeys(private_values_in(response.body)))
        return response


@lru_cache(maxsize=256)
def private_values_in(body: bytes) -> list[str]:
    """Return the private values of the calls in a response's body."""
    return [value for fields in _objects_in(json.loads(body or b"{}")) for value in _private_values_of(fields)]


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield all objects in a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects_in(each)


def _private_values_of(fields: Mapping[str, Any]) -> Iterator[str]:
    custom_data = fields.get("custom_data") or {}
    demographics = custom_data.get("demographics_data") or {} if isinstance(custom_data, dict) else {}
    values = [value for name, value in demographics.items() if name not in _SAME_FOR_MANY]
    for value in (fields.get("calling_phone_number"), *values):
        if isinstance(value, str) and len(value) >= _SHORTEST_PRIVATE:
            yield value


def _free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])
