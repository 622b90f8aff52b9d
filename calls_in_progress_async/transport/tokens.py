"""The API token: text, or a callable that is asked for one per organization."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from .. import validation
from ..organization import Organization
from ..single_flight import SingleFlight

TokenSource: TypeAlias = str | Callable[[Organization], str | Awaitable[str]]
"""A token, or a sync or async callable that gives the token of an organization."""


class Tokens:
    """The tokens in use. A callable is asked once per organization, and once more when its token was refused."""

    def __init__(self, source: TokenSource) -> None:
        self._source: Any = source if callable(source) else validation.token(source)
        self.static = None if callable(self._source) else self._source
        """The token, where there is but one."""
        self._known: dict[Organization, str] = {}
        self._asking: SingleFlight[str] = SingleFlight(self._known.__setitem__)

    async def get(self, organization: Organization) -> str:
        """The token of an organization."""
        known = self.static or self._known.get(organization)
        return known or await self._asking.join(organization, lambda: self._ask(organization))

    def forget(self, organization: Organization, refused: str | None) -> None:
        """Have the callable asked again after a token was refused, unless a newer one is known already."""
        if self._known.get(organization) == refused:
            self._known.pop(organization, None)

    async def _ask(self, organization: Organization) -> str:
        answer = self._source(organization)
        return validation.token(await answer if inspect.isawaitable(answer) else answer)
