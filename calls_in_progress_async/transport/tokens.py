"""The API token: text, or a callable for the token of each organization."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from .. import validation
from ..organization import Organization
from ..single_flight import SingleFlight

TokenSource: TypeAlias = str | Callable[[Organization], str | Awaitable[str]]
"""A token, or a sync or async callable that returns the token of an organization."""

_MAX_REMEMBERED = 100_000
"""Maximum number of remembered tokens; the callable is asked again for others."""


class Secret:
    """A token in a wrapper without a telling ``repr``. In debug mode asyncio logs the results of tasks."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value: str = value


class Tokens:
    """The tokens in use. A callable is asked once per organization, and once more after a 401."""

    def __init__(self, source: TokenSource) -> None:
        self._source: Any = source if callable(source) else validation.token(source)
        self.static: str | None = None if callable(self._source) else self._source
        """The token if it is text; None for a callable."""
        self._remembered: OrderedDict[Organization, Secret] = OrderedDict()
        self._asking: SingleFlight[Secret] = SingleFlight(self._remember)

    @property
    def asking(self) -> int:
        """Number of questions under way to the callable."""
        return len(self._asking)

    async def get(self, organization: Organization) -> str:
        """Return the token of an organization."""
        if self.static is not None:
            return self.static
        secret = self._remembered.get(organization)
        if secret is None:
            secret = await self._asking.run(organization, lambda _: self._ask(organization))
        return secret.value

    def forget(self, organization: Organization, rejected: str) -> None:
        """Forget a token after a 401, unless a newer one is known already."""
        secret = self._remembered.get(organization)
        if secret is not None and secret.value == rejected:
            del self._remembered[organization]

    def _remember(self, organization: Organization, secret: Secret) -> None:
        self._remembered[organization] = secret
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _ask(self, organization: Organization) -> Secret:
        token = self._source(organization)
        return Secret(validation.token(await token if inspect.isawaitable(token) else token))
