"""The sandbox on the network: an aiohttp server around the API's answers."""

import ssl
from collections import deque
from types import TracebackType
from typing import Any, Self

import attrs
from aiohttp import web

from calls_in_progress_async.sandbox.faults import FaultKind
from calls_in_progress_async.sandbox.handler import Exchanges
from calls_in_progress_async.sandbox.history import Event, RequestSeen, Stats, UpdateApplied
from calls_in_progress_async.sandbox.payloads import Fields, found_call
from calls_in_progress_async.sandbox.settings import OrganizationKey, SandboxSettings
from calls_in_progress_async.sandbox.simulation import Simulation


@attrs.define(kw_only=True, eq=False)
class SandboxServer(SandboxSettings):
    """A local server that speaks the Calls In Progress API; its settings are those of `SandboxSettings`.

    Example:
        async with SandboxServer(organizations=100, seed=7) as sandbox:
            requests_go_to(sandbox.url, token=sandbox.token)

    Attributes:
        ssl_context: Serve HTTPS with this context.
    """

    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False, on_setattr=attrs.setters.frozen)
    _world: Simulation = attrs.field(init=False, repr=False)
    _exchanges: Exchanges = attrs.field(init=False, repr=False)
    _runner: web.ServerRunner | None = attrs.field(init=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Makes the world; its time starts to run now."""
        self._world = Simulation(self)
        self._exchanges = Exchanges(self, self._world)

    @property
    def requests(self) -> deque[RequestSeen]:
        """The last 1,000 requests, without their tokens."""
        return self._exchanges.requests

    @property
    def updates(self) -> deque[UpdateApplied]:
        """The last 100,000 updates carried out, in order, whether or not their answers arrived."""
        return self._exchanges.updates

    @property
    def stats(self) -> Stats:
        """PollCounters since the sandbox was made."""
        return self._exchanges.stats

    @property
    def url(self) -> str:
        """Where the sandbox listens, such as `http://127.0.0.1:8080`.

        Raises:
            RuntimeError: It is not running.
        """
        if self._runner is None:
            raise RuntimeError("the sandbox is not running: start it, or enter it with `async with`")
        host, port = self._runner.addresses[0][:2]
        scheme = "https" if self.ssl_context else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Starts to listen; does nothing if it does already."""
        if self._runner is not None:
            return
        # A request whose client has gone is not worth waiting for: what it asked for is done before any wait.
        server = web.Server(self._exchanges.serve, handler_cancellation=True)
        # Answers wait for nothing but faults and latency, so closing has nothing to wait for. 0 would mean for ever.
        runner = web.ServerRunner(server, shutdown_timeout=0.001)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port, ssl_context=self.ssl_context, backlog=4096).start()
        self._runner = runner

    async def close(self) -> None:
        """Stops listening and drops every connection at once; does nothing if it is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
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
        """Simulated seconds since the sandbox was made."""
        return self._world.now()

    def history(self, organization: OrganizationKey) -> list[Event]:
        """Returns what happened to the calls of an organization up to now, oldest first.

        Calls that were live at time 0 are there with the negative time they started at.
        """
        return list(self._world[organization].history)

    def live(self, organization: OrganizationKey) -> list[Fields]:
        """Returns the calls of an organization as a find shows them now, newest bridge start first."""
        return [found_call(self.revision, call.fields) for call in self._world[organization].calls()]

    def written(self, organization: OrganizationKey, transaction_id: str) -> dict[str, str]:
        """Returns the custom data that clients wrote to a live call, by name; nothing if it is over.

        No answer ever shows it.
        """
        call = self._world[organization].call(transaction_id)
        return dict(call.written) if call else {}

    def start_call(self, organization: OrganizationKey, *, seconds: float | None = None, **fields: Any) -> str:
        """Starts a call now.

        Args:
            organization: The id and type.
            seconds: When it ends by itself, in simulated seconds from now; never if left out.
            **fields: Fields of the call by the API's name, in place of made-up ones. A field that the API does not
                have is shown by every revision.

        Returns:
            Its transaction id.

        Raises:
            ValueError: There is a live call with that transaction id.
        """
        return self._world[organization].start(fields, seconds)

    def change_call(self, organization: OrganizationKey, transaction_id: str, **fields: Any) -> None:
        """Gives fields of a live call new values, by the API's name."""
        self._world[organization].change(transaction_id, fields)

    def end_call(self, organization: OrganizationKey, transaction_id: str) -> None:
        """Ends a live call now."""
        self._world[organization].end(transaction_id)

    def fail_next(self, count: int = 1, kind: FaultKind = "status", **settings: Any) -> None:
        """Makes the next requests fail, whatever the probabilities in `faults`.

        Args:
            count: How many.
            kind: The kind of `Fault`.
            **settings: Its other settings, such as `status`, `retry_after` and `organization`.
        """
        self._exchanges.dice.schedule(count, kind=kind, **settings)
