"""The public worker of a fleet."""

from __future__ import annotations

import asyncio
import inspect
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from attrs import evolve

from .. import clock, validation
from ..cancellation import finish
from ..client import CallsInProgressClient
from ..limits.settings import RateLimit
from ..organization import Organization
from ..organizations import check_organization, check_organizations
from ..watch.fetch import make_fetch
from ..watch.poller import Poller
from ..watch.schedule import Schedule
from .log import Log, logger
from .log_settings import LogSettings, check_lease, check_name
from .membership import Membership
from .shares import RateShares
from .sink import CommittingSink
from .state import FleetState
from .worker import Worker

OrganizationSource: TypeAlias = (
    Iterable[Organization] | Callable[[], Iterable[Organization] | Awaitable[Iterable[Organization]]]
)
"""Organizations, or a sync or async callable that returns the organizations of now."""

_REFRESH = 60.0
"""Seconds between two questions to a callable for the organizations."""
_BURST = 0.02
"""Seconds of the rate to send at once after a rest. The bursts of all workers together add no more to any second."""
_GRACE = 20.0
"""Seconds to leave the fleet after a cancellation: more than `Worker.leave` and the end of the connection take."""


class Fleet:
    """One worker process of a fleet, which shares organizations and rate with the others.

    Run the same program on several hosts::

        async with CallsInProgressClient.from_env() as client:
            fleet = Fleet(client, servers="nats://127.0.0.1:4222", name="prod", organizations=organizations, rate=2000)
            await fleet.run()

    Args:
        client: An open client.
        servers: Addresses of NATS servers (2.11 or later, with JetStream), as a list or as text with commas.
        name: The name of the fleet: letters, digits, - and _. All workers and consumers of the fleet use the same.
        organizations: All organizations of the fleet, the same in every worker. A callable, sync or async, is asked
            again every minute.
        interval: Seconds between two polls of an organization.
        rate: Requests per second of the whole fleet, for each token. None takes the client's ``rate_limit``; either
            way each worker uses its share.
        lease: Seconds within which a dead worker is replaced.
        shards: Number of shards, at most 1,024 organizations each. It is fixed with the fleet's first worker.
        replicas: Number of servers with a copy of the log: 1, or 3 in a cluster.
        max_age: Seconds for which the log keeps messages.
        missed_polls_before_end: Number of good responses in a row without a call after which the call has ended.
        max_in_flight: Number of polls at once in this worker.
        connection: Further arguments of ``nats.connect``, such as ``{"user_credentials": "fleet.creds"}`` and ``tls``.
        worker: The id of this worker. By default a random one, for every process another.

    Raises:
        InvalidRequestError: An argument is out of its range, or both ``rate`` and the client's ``rate_limit`` are set.
    """

    def __init__(
        self,
        client: CallsInProgressClient,
        *,
        servers: str | Iterable[str],
        name: str,
        organizations: OrganizationSource,
        interval: float = 5.0,
        rate: float | None = None,
        lease: float = 6.0,
        shards: int = 64,
        replicas: int = 1,
        max_age: float = 7 * 86400.0,
        missed_polls_before_end: int = 1,
        max_in_flight: int = 64,
        connection: Mapping[str, Any] | None = None,
        worker: str | None = None,
    ) -> None:
        self._settings = LogSettings(
            servers=servers,
            name=name,
            shards=shards,
            replicas=replicas,
            max_age=max_age,
            connection=connection or {},
        )
        validation.check_number("interval", interval, "seconds", above=True)
        check_lease(lease)
        self.worker: str = uuid.uuid4().hex[:8] if worker is None else check_name("worker", worker)
        """The id of this worker."""
        self._client = client
        self._source = organizations if callable(organizations) else list(_checked(organizations))
        self._interval = float(interval)
        self._missed = missed_polls_before_end
        self._max_in_flight = max_in_flight
        self._membership = Membership(self.worker, shards, float(lease))
        self._stopping = asyncio.Event()
        _limit_rate(client, rate)

    def stop(self) -> None:
        """Make `run` hand over to the other workers and return, as SIGTERM does."""
        self._stopping.set()

    async def run(self) -> None:
        """Poll this worker's share of the organizations until cancelled, `stop` is called or SIGTERM arrives.

        Then hand over to the other workers: running polls are committed first. This takes a fraction of a second, and
        up to 18 s while the log does not respond.

        Raises:
            FleetError: The server, the stream or the number of organizations does not suit.
            ClientStateError: The client was closed.
        """
        log = Log(self._settings)
        worker = self._make_worker(log)
        log.on_change = worker.on_log_change
        with _stopped_by_sigterm(self._stopping):
            try:
                await self._until_stopped(self._join(log, worker))
                if not self._stopping.is_set():
                    await self._until_stopped(self._work(worker))
            finally:
                await finish(_leave(log, worker), _GRACE)
        if worker.error is not None:
            raise worker.error

    def _make_worker(self, log: Log) -> Worker:
        client, tokens = self._client, self._client._pipeline._tokens
        membership = self._membership
        shares = RateShares(client.rate_limits, None if tokens.static is not None else tokens.get)
        worker = Worker(
            log,
            membership,
            shares,
            sent=lambda: client._pipeline.in_use()["slots"],
            missed_polls_before_end=self._missed,
        )
        now = clock.reader_with_sleep()
        sink = CommittingSink(
            log,
            by=self.worker,
            interval=self._interval,
            is_fresh=lambda: membership.is_fresh(now()),
            on_refused=worker.poll_again,
        )
        schedule: Schedule[FleetState] = Schedule(self._interval, self._max_in_flight)
        poller = Poller(
            sink.settle_before(make_fetch(client._execute, strict=client._wire_format.strict)),
            schedule,
            sink,
            check_usable=client._check_usable,
            max_retry_after=client._retry.max_retry_after,
        )
        worker.use(poller, sink, schedule)
        if client._hooks is not None:
            client._hooks.notify("on_watch", worker)
        return worker

    async def _join(self, log: Log, worker: Worker) -> None:
        await log.connect(f"calls-in-progress {self.worker}")
        await log.ensure_stream()
        await worker.set_organizations(await self._load())
        await log.hear_beats(worker.on_beat)
        worker.start()

    async def _work(self, worker: Worker) -> None:
        tasks = [
            asyncio.ensure_future(work)
            for work in (worker.beat_regularly(), worker.verify_regularly(), self._refresh(worker), worker.ended.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, worker: Worker) -> None:
        """Ask for the organizations every minute; keep those of before if that fails."""
        if not callable(self._source):
            await asyncio.Event().wait()  # for ever
        while True:
            await asyncio.sleep(_REFRESH)
            try:
                organizations = await self._load()
            except Exception:
                logger.exception("the organizations cannot be loaded; those of before stay")
            else:
                await worker.set_organizations(organizations)

    async def _load(self) -> list[Organization]:
        if not callable(self._source):
            return self._source
        found = self._source()
        return list(_checked(await found if inspect.isawaitable(found) else found))

    async def _until_stopped(self, work: Any) -> None:
        """Await work, but no longer than until `stop`."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not tasks[0].cancelled():
            tasks[0].result()


def _checked(organizations: Any) -> dict[Organization, None]:
    return dict.fromkeys(map(check_organization, check_organizations(organizations)))


def _limit_rate(client: CallsInProgressClient, rate: float | None) -> None:
    """Give the client the fleet's rate; `RateShares` then takes this worker's share of it."""
    if rate is None:
        return
    limit = RateLimit(rate=rate)
    if not client._limiter.begin_with(evolve(limit, burst=max(1.0, limit.rate * _BURST))):
        raise validation.invalid("rate", "comes with the client's rate_limit, or after its first request: pass one")


async def _leave(log: Log, worker: Worker) -> None:
    await worker.leave()
    await log.close()


@contextmanager
def _stopped_by_sigterm(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event on SIGTERM, where signals can be had: not on Windows, and only in the main thread."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with suppress(RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)
