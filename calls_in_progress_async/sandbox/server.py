"""The sandbox on the network: an aiohttp server around the API's responses."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from types import TracebackType
from typing import Any, Self, get_args

import attrs
from aiohttp import web

from .. import validation
from ..accepting import finish_accepting
from ..organization import Organization
from .access_log import AccessLog
from .faults import Fault, FaultKind
from .handler import RequestHandler
from .history import AppliedUpdate, HistoryEvent, RecordedRequest, SandboxStats
from .organizations import to_organization
from .payloads import Fields, found_call
from .settings import SandboxSettings, check_faults
from .simulation import Action, SimulatedOrganization, Simulation

_ACCEPT_STEPS = 4
"""Steps of the loop after which an accepted connection is known to aiohttp, amply."""


@attrs.define(kw_only=True, eq=False)
class SandboxServer(SandboxSettings):
    """A local server that speaks the Calls In Progress API; its settings are those of `SandboxSettings`.

    It lives on the clock of the running event loop, and its calls are of the present unless `epoch` says otherwise.

    Example::

        async with SandboxServer(organizations=100, seed=7) as sandbox:
            requests_go_to(sandbox.url, token=sandbox.token)

    Attributes:
        ssl_context: Serve HTTPS with this context.
    """

    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False, on_setattr=attrs.setters.frozen)
    _simulation: Simulation = attrs.field(init=False, repr=False)
    _handler: RequestHandler = attrs.field(init=False, repr=False)
    _runner: web.ServerRunner | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Make the simulation. Its time 0 is its first use."""
        self._simulation = Simulation(self)
        self._handler = RequestHandler(self, self._simulation)

    @property
    def requests(self) -> deque[RecordedRequest]:
        """The last 1,000 requests, without their tokens."""
        return self._handler.requests

    @property
    def updates(self) -> deque[AppliedUpdate]:
        """The last 100,000 updates carried out, in order, including those with a lost response."""
        return self._handler.updates

    @property
    def stats(self) -> SandboxStats:
        """Counts since the sandbox was made."""
        return self._handler.stats

    @property
    def url(self) -> str:
        """The address of the sandbox, such as ``http://127.0.0.1:8080``.

        Raises:
            RuntimeError: The sandbox is not running.
        """
        if self._runner is None:
            raise RuntimeError("the sandbox is not running: start it, or enter it with `async with`")
        host, port = self._runner.addresses[0][:2]
        scheme = "https" if self.ssl_context else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Listen for requests. Does nothing while the sandbox is running."""
        if self._runner is not None:
            return
        self._simulation.now()  # time 0 is now, unless a script came first
        # A request takes effect on arrival, so nothing is lost with a handler whose client has gone.
        server = web.Server(self._handler.handle, handler_cancellation=True, access_log_class=AccessLog)
        # Closing cancels the requests in flight itself, so nothing is left to wait for. 0 would mean for ever.
        runner = web.ServerRunner(server, shutdown_timeout=0.001)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port, ssl_context=self.ssl_context, backlog=4096).start()
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and drop every connection at once. Does nothing unless the sandbox is running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            try:
                await finish_accepting()
            finally:
                for site in tuple(runner.sites):
                    await site.stop()
            for _ in range(_ACCEPT_STEPS):
                await asyncio.sleep(0)
            self._handler.cancel()
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def now(self) -> float:
        """Simulated seconds since time 0: the start of the sandbox, or its first use by a script."""
        return self._simulation.now()

    def history(self, organization: Organization) -> list[HistoryEvent]:
        """Return the events of an organization's calls up to now, oldest first.

        Calls live at time 0 have negative start times.
        """
        return list(self._simulated(organization).history)

    def live(self, organization: Organization) -> list[Fields]:
        """Return an organization's calls as a find shows them now, newest bridge start first."""
        return [found_call(self.revision, call.fields) for call in self._simulated(organization).calls()]

    def written(self, organization: Organization, transaction_id: str) -> dict[str, str]:
        """Return the custom data from clients on a live call, by name; nothing if the call is over.

        No response ever shows it.
        """
        call = self._simulated(organization).find_call(transaction_id)
        return dict(call.written) if call else {}

    def start_call(self, organization: Organization, *, seconds: float | None = None, **fields: Any) -> str:
        """Start a call now.

        Args:
            organization: The call's organization.
            seconds: Simulated seconds until the call ends by itself; never if left out.
            **fields: Fields of the call by the API's name, in place of made-up ones. Every revision shows a field
                unknown to the API.

        Returns:
            The call's transaction id.

        Raises:
            InvalidRequestError: The sandbox has no such organization, the transaction id is in use, or a field is not
                JSON.
        """
        validation.check_number("seconds", seconds, "seconds", optional=True)
        return self._simulated(organization).start(fields, seconds)

    def change_call(self, organization: Organization, transaction_id: str, **fields: Any) -> None:
        """Give fields of a live call new values, by the API's name.

        Raises:
            InvalidRequestError: The sandbox has no such organization or call, or a field is not JSON.
        """
        self._simulated(organization).change(transaction_id, fields)

    def end_call(self, organization: Organization, transaction_id: str) -> None:
        """End a live call now.

        Raises:
            InvalidRequestError: The sandbox has no such organization or call.
        """
        self._simulated(organization).end(transaction_id)

    def plan_call(
        self, organization: Organization, seconds: float, action: Action, transaction_id: str, **fields: Any
    ) -> None:
        """Start, change or end a call in the future, exactly then.

        Args:
            organization: The call's organization.
            seconds: Simulated seconds from now.
            action: ``"start"``, ``"change"`` or ``"end"``. A start of a live call, and a change or end of a call that
                is not live by then, do nothing.
            transaction_id: The call.
            **fields: New values by the API's name. A change without any is one of the sandbox's own.

        Raises:
            InvalidRequestError: The sandbox has no such organization, or an argument is out of its range.
        """
        validation.check_number("seconds", seconds, "seconds")
        if action not in get_args(Action):
            raise validation.unexpected("action", "start, change or end", action)
        self._simulated(organization).plan(seconds, action, transaction_id, fields)

    def fail_next(self, count: int = 1, kind: FaultKind = "status", **settings: Any) -> None:
        """Make the next requests fail, before any fault by probability in `faults`.

        Args:
            count: Number of requests; 0 clears the faults scheduled earlier.
            kind: The kind of `Fault`.
            **settings: Its other settings, such as `status`, `retry_after` and `organization`.

        Raises:
            InvalidRequestError: A setting is out of its range, or the sandbox has no such organization.
        """
        fault = Fault(kind=kind, **settings)
        check_faults(self, None, [fault])
        self._handler.fault_injector.schedule(count, fault)

    def _simulated(self, organization: Organization) -> SimulatedOrganization:
        return self._simulation[to_organization(organization)]
