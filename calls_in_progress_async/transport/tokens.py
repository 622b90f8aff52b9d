"""The API token: text, or a callable that is asked for one per organization."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from attrs import define

from .. import checks
from ..organization import Organization

TokenSource: TypeAlias = str | Callable[[Organization], str | Awaitable[str]]
"""A token, or a sync or async callable that gives the token of an organization."""


@define(eq=False)
class _Question:
    """One call of the callable. It ends with its answer, or with the last who waits for it."""

    task: asyncio.Task[str]
    waiting: int = 0


class Tokens:
    """The tokens in use. A callable is asked once per organization, and once more when its token was refused."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source if callable(source) else checks.token(source)
        self.static = None if callable(self._source) else self._source
        """The token, where there is but one."""
        self._known: dict[Organization, str] = {}
        self._asking: dict[Organization, _Question] = {}

    @property
    def refreshable(self) -> bool:
        """Whether there is somebody to ask for another token."""
        return self.static is None

    async def get(self, organization: Organization) -> str:
        """The token of an organization."""
        return self.static or self._known.get(organization) or await self._ask(organization)

    def forget(self, organization: Organization, refused: str | None) -> None:
        """Have the callable asked again after a token was refused, unless a newer one is known already."""
        if self._known.get(organization) == refused:
            self._known.pop(organization, None)

    async def _ask(self, organization: Organization) -> str:
        """Ask once, however many wait; one that is cancelled does not cancel the others' answer."""
        question = self._asking.get(organization)
        if question is None:
            question = self._asking[organization] = _Question(asyncio.ensure_future(self._call(organization)))
        question.waiting += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.waiting -= 1
            if not question.waiting:
                del self._asking[organization]
                question.task.cancel()
                question.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # taken note of

    async def _call(self, organization: Organization) -> str:
        assert not isinstance(self._source, str)  # noqa: S101 - for the type checker
        answer = self._source(organization)
        token = checks.token(await answer if inspect.isawaitable(answer) else answer)
        self._known[organization] = token
        return token
