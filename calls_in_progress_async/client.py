"""The client: composes settings, endpoints and transport."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack
from weakref import WeakSet

from attrs import evolve

import calls_in_progress_async as package

from . import environment, phone_numbers, validation
from .attempt import Attempt
from .endpoints.current_calls import CurrentCallsRequest
from .endpoints.protocol import Endpoint
from .endpoints.wire_format import WireFormat
from .errors import ClientClosedError
from .instrumentation import Instrumentation, make_hooks
from .limits.limiter import RateLimiter
from .limits.rate_limits import RateLimits
from .limits.settings import RateLimit
from .loop_affinity import LoopAffinity
from .organization import Organization
from .records import Call, CallUpdate, CurrentCalls
from .response_cache import ResponseCache
from .single_flight import Flight
from .transport.aiohttp_transport import AiohttpTransport, ClientSession, Fingerprint, HttpSettings
from .transport.pipeline import Pipeline, PipelineSettings
from .transport.protocol import Transport, check_transport
from .transport.retry import RetryPolicy
from .transport.tokens import Tokens, TokenSource
from .transport.wire import WireResponse

T = TypeVar("T")

_HOST = "https://invoca.net"
UNSET: Any = object()
"""The default of ``timeout``, because None means no deadline."""


class CallsInProgressClient:
    """Find and update the phone calls in progress.

    The constructor does no I/O and works outside an event loop; connections open on first use. Use it as
    ``async with CallsInProgressClient(token=...) as client``, or call `close` at the end. One client serves one event
    loop; share it among all tasks.

    Args:
        token: The API token, or a sync or async callable that returns the token of an organization. It is called once
            per organization, and again after a 401.
        base_url: The host. HTTPS, except to this machine.
        network: A network's own subdomain, instead of ``base_url``: ``"acme"`` is ``https://acme.invoca.net``.
        api_version: The date in the path.
        organization_type_case: ``"lower"`` sends ``network``, as in the API's first documentation;
            ``"capitalized"`` sends ``Network``, as in the later ones.
        default_region: The country of phone numbers without a ``+``.
        validate_phone_numbers: ``"possible"`` checks a number's length, ``"valid"`` its range too, ``"off"`` nothing.
            The vendor's own examples, +1 555 999 9999, are possible and not valid.
        strict: Raise for a field that cannot be read, rather than listing it in ``problems``.
        retry: The number, times and causes of retries.
        rate_limit: Requests per second for each token. None sends requests at once, and pauses after a 429; the API
            documents no limit, so any default would be invented.
        timeout: Seconds for a whole call: rate limit, connection, attempts, waits and reading. None for no deadline.
        attempt_timeout: Seconds for one attempt, from its connection slot to its last byte. None for no timeout.
        connect_timeout: Seconds to make a connection, within that.
        max_connections: Requests on the network at once; further ones queue, first come first served.
        max_response_size: Bytes of a response's decoded body.
        ssl: An `ssl.SSLContext` of your own, or an `aiohttp.Fingerprint`: the only certificate to trust.
        proxy: The URL of an HTTP proxy.
        trust_env: Take the proxy from the environment.
        session: An `aiohttp.ClientSession` of your own to send with. It is never closed here; its connection limit,
            cookies and proxy settings are yours.
        transport: A `Transport` of your own, instead of aiohttp, ``session``, ``proxy``, ``trust_env`` and ``ssl``.
        instrumentation: Hooks around operations and attempts; see `Instrumentation`.

    Raises:
        InvalidRequestError: A setting is out of its range; it names the setting.
    """

    def __init__(
        self,
        *,
        token: TokenSource,
        base_url: str = _HOST,
        network: str | None = None,
        api_version: str = "2022-08-01",
        organization_type_case: Literal["lower", "capitalized"] = "lower",
        default_region: str = "US",
        validate_phone_numbers: Literal["possible", "valid", "off"] = "possible",
        strict: bool = False,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
        rate_limit: RateLimit | None = None,
        timeout: float | None = 30.0,
        attempt_timeout: float | None = 10.0,
        connect_timeout: float = 5.0,
        max_connections: int = 100,
        max_response_size: int = 32 * 2**20,
        ssl: ssl_module.SSLContext | Fingerprint | bool = True,
        proxy: str | None = None,
        trust_env: bool = False,
        session: ClientSession | None = None,
        transport: Transport | None = None,
        instrumentation: Sequence[Instrumentation] = (),
    ) -> None:
        if network is not None:
            if base_url != _HOST:
                raise validation.invalid("network", "comes with base_url, pass one of them")
            base_url = f"https://{validation.network_label(network)}.invoca.net"
        http = HttpSettings(
            base_url=base_url,
            connect_timeout=connect_timeout,
            max_response_size=max_response_size,
            ssl=ssl,
            proxy=proxy,
            trust_env=trust_env,
        )
        self._wire_format = WireFormat(
            api_version=api_version,
            organization_type_case=organization_type_case,
            default_region=default_region,
            validate_phone_numbers=validate_phone_numbers,
            strict=strict,
        )
        settings = PipelineSettings(
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            max_connections=max_connections,
            retry=retry,
            rate_limit=rate_limit,
        )
        if transport is not None:
            check_transport(transport, session=session, proxy=proxy, trust_env=trust_env, ssl=ssl)
        self._base_url = http.base_url
        self._timeout = settings.timeout
        self._retry = settings.retry
        self._transport = AiohttpTransport(http, session) if transport is None else transport
        self._limiter = RateLimiter(settings.rate_limit)
        self._hooks = make_hooks(instrumentation)
        pipeline = self._pipeline = Pipeline(
            self._transport,
            Tokens(token),
            self._limiter,
            settings,
            base_url=self._base_url,
            hooks=self._hooks,
        )
        if self._hooks is not None:
            self._hooks.notify("on_client", pipeline)
        self._affinity = LoopAffinity(may_move=lambda: pipeline.idle)
        self._closed = False
        self._cache: ResponseCache[CurrentCalls] = ResponseCache()
        self._ongoing: WeakSet[package.Watch | package.FindMany] = WeakSet()

    @classmethod
    def from_env(cls, **settings: Unpack[environment.ClientSettings]) -> Self:
        """Make a client from environment variables; ``settings`` are the constructor's and win over them.

        ``CALLS_IN_PROGRESS_TOKEN`` or ``CALLS_IN_PROGRESS_TOKEN_FILE`` (a file that holds the token),
        ``CALLS_IN_PROGRESS_BASE_URL``, ``CALLS_IN_PROGRESS_NETWORK``, ``CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE``.

        Raises:
            InvalidRequestError: There is no token, or a variable holds an invalid value.
        """
        return cls(**environment.complete({**settings}))

    @property
    def base_url(self) -> str:
        """The host of all requests."""
        return self._base_url

    @property
    def rate_limits(self) -> RateLimits:
        """The limits in force: ``snapshot()`` for a dashboard, ``export_state()`` for the next start.

        ``set_share(1 / 4)`` makes this process use a quarter of the limits.
        """
        return self._limiter.view

    async def find(
        self,
        organization: Organization,
        *,
        transaction_id: str | None = None,
        external_unique_id: str | None = None,
        calling_phone_number: str | None = None,
        destination_phone_number: str | None = None,
        max_age: float | None = None,
        timeout: float | None = UNSET,
    ) -> CurrentCalls:
        """Find the calls in progress of an organization: all of them, or those matching every filter.

        Args:
            organization: The organization of the calls.
            transaction_id: The API's own id of a call.
            external_unique_id: The id that an update gave a call.
            calling_phone_number: The caller's number, in any usual format. Only together with
                ``destination_phone_number``.
            destination_phone_number: The number of the transfer's destination.
            max_age: Maximum age of the response in seconds. Identical finds with a ``max_age`` share a request in
                flight, and its response until it is too old. None shares nothing.
            timeout: Seconds for this call; the client's by default.

        Returns:
            The calls, newest first; none if the server says so.

        Raises:
            InvalidRequestError: An argument is malformed; nothing was sent.
            AuthenticationError: The token is missing, wrong or revoked.
            RateLimitedError: The server still returned 429 after the retries.
            CallsInProgressError: Anything else of the tree.
        """
        request = CurrentCallsRequest(
            organization=organization,
            transaction_id=transaction_id,
            external_unique_id=external_unique_id,
            calling_phone_number=calling_phone_number,
            destination_phone_number=destination_phone_number,
        )
        del calling_phone_number, destination_phone_number  # error reporters send the local variables of each frame
        return await self._find(request, max_age=max_age, timeout=timeout)

    def _find(
        self, request: CurrentCallsRequest, *, max_age: float | None, timeout: float | None
    ) -> Awaitable[CurrentCalls]:
        if max_age is None:
            return self._execute(request, partial(_read, request, self._wire_format), timeout)
        return self._find_shared(request, max_age, timeout)

    async def _find_shared(self, request: CurrentCallsRequest, max_age: float, timeout: float | None) -> CurrentCalls:
        validation.check_number("max_age", max_age, "seconds")
        self._check_usable()
        read = partial(_read, request, self._wire_format)

        def fetch(flight: Flight[CurrentCalls]) -> Awaitable[CurrentCalls]:
            return self._execute(request, read, None, shared=True, flight=flight)

        return await self._cache.get(request, fetch, max_age, self._seconds(timeout))

    def find_many(
        self, organizations: Iterable[Organization] | AsyncIterable[Organization], max_in_flight: int = 64
    ) -> package.FindMany:
        """Find the calls of many organizations: an async iterator of an `OrganizationResult` each, as each completes.

        Args:
            organizations: Any iterable or async iterable, however long: it is read as finds end.
            max_in_flight: Number of finds at once, and of results held at most.

        Raises:
            InvalidRequestError: ``organizations`` is not an iterable of `Organization`. What an iterator yields is
                checked as it is read, and ends the iteration.
        """
        from .find_many import FindMany, FindManySettings  # noqa: PLC0415 - imported on first use

        settings = FindManySettings(max_in_flight=max_in_flight)
        many = FindMany(self.find, organizations, settings, check_usable=self._check_usable)
        self._ongoing.add(many)
        return many

    def watch(
        self,
        organizations: Iterable[Organization],
        interval: float = 5.0,
        missed_polls_before_end: int = 1,
        resume_from: Any = None,
        *,
        max_in_flight: int = 64,
        max_pending: int = 100_000,
        record: str | os.PathLike[str] | None = None,
        record_numbers: Literal["hashed", "masked", "plain"] = "hashed",
    ) -> package.Watch:
        """Watch organizations: ``async with client.watch(...) as watch``, then ``async for event in watch``.

        Every organization is polled at once, and then once an interval.

        Args:
            organizations: The organizations to watch; `Watch.add` and `Watch.remove` change them later.
            interval: Seconds between two polls of one organization, as far as rate limit and server allow.
            missed_polls_before_end: Number of good responses in a row without a call after which the call has ended.
            resume_from: A checkpoint of an earlier watch, from `Watch.checkpoint`.
            max_in_flight: Number of polls at once.
            max_pending: Number of events that nobody has taken at which polling pauses. Nothing is lost, and memory is
                bounded.
            record: A file to append each event to, as a line of JSON, when iteration returns it. ``calls-in-progress
                replay`` and ``testing.replay`` serve the recorded calls again.
            record_numbers: ``"hashed"`` records made-up numbers, the same for the whole watch; ``"masked"`` two digits.
                Both leave out demographics. ``"plain"`` records all.

        Raises:
            InvalidRequestError: An argument is out of its range, ``organizations`` is not an iterable of
                `Organization`, or ``resume_from`` is not a checkpoint.
        """
        from .watch.opening import make_watch  # noqa: PLC0415 - imported on first use, like `Watch`

        watch = make_watch(
            self._execute,
            organizations,
            resume_from,
            strict=self._wire_format.strict,
            check_usable=self._check_usable,
            record=record,
            record_numbers=record_numbers,
            interval=interval,
            missed_polls_before_end=missed_polls_before_end,
            max_in_flight=max_in_flight,
            max_pending=max_pending,
            max_retry_after=self._retry.max_retry_after,
        )
        self._ongoing.add(watch)
        if self._hooks is not None:
            self._hooks.notify("on_watch", watch)
        if self._closed:
            watch._end_with_client()
        return watch

    async def wait_for_call(
        self,
        organization: Organization,
        *,
        transaction_id: str | None = None,
        external_unique_id: str | None = None,
        calling_phone_number: str | None = None,
        destination_phone_number: str | None = None,
        timeout: float | None = 10.0,
    ) -> Call:
        """Wait for a call matching every filter, as for `find`.

        All waiters for an organization share responses, except for each waiter's last look.

        Args:
            organization: The organization of the call.
            transaction_id: The API's own id of the call.
            external_unique_id: The id given to the call by an update.
            calling_phone_number: The caller's number.
            destination_phone_number: The number that the call was transferred to.
            timeout: Seconds to wait; None to wait for ever.

        Raises:
            TimeoutError: A good response near the end did not list such a call.
            CallsInProgressError: The error that stood in the way until the end, or an error that will not pass by
                waiting. `DeadlineExceededError` is a TimeoutError too: catch CallsInProgressError first.
        """
        from .wait_for_call import wait_for_call  # noqa: PLC0415 - imported on first use

        self._check_usable()
        request = CurrentCallsRequest(
            organization=organization,
            transaction_id=transaction_id,
            external_unique_id=external_unique_id,
            calling_phone_number=calling_phone_number,
            destination_phone_number=destination_phone_number,
        )
        del calling_phone_number, destination_phone_number  # error reporters send the local variables of each frame
        validation.check_number("timeout", timeout, "seconds", optional=True)
        # Waiters for other ids, with the same numbers or none, share the response.
        shared = evolve(request, transaction_id=None, external_unique_id=None)
        fetch = partial(self._find, shared)
        return await wait_for_call(fetch, request, self._wire_format, timeout, self._pipeline.run_until_closed)

    async def update(
        self,
        organization: Organization,
        *,
        transaction_id: str | None = None,
        external_unique_id: str | None = None,
        new_external_unique_id: str | None = None,
        custom_data: Mapping[str, str] | None = None,
        method: Literal["PUT", "POST"] = "PUT",
        timeout: float | None = UNSET,
    ) -> CallUpdate:
        """Write an external id or custom data, or both, onto a live call named by either id, or both.

        Args:
            organization: The organization of the call.
            transaction_id: The API's own id of the call.
            external_unique_id: The id given to the call by an earlier update.
            new_external_unique_id: The id to give it now.
            custom_data: Names and values to add or to change; the API has no removal, and does not show them again.
            method: ``"PUT"`` or ``"POST"``. A POST is repeated only if it surely was not carried out.
            timeout: Seconds for this call; the client's by default.

        Returns:
            The server's response.

        Raises:
            InvalidRequestError: An argument is malformed; nothing was sent.
            CallNotFoundError: No such call is in progress.
            SupersededError: A newer update of the same call was waiting.
            CallsInProgressError: Anything else of the tree; ``may_have_been_applied`` says whether it may have been.
        """
        request = package.UpdateCallRequest(
            organization=organization,
            transaction_id=transaction_id,
            external_unique_id=external_unique_id,
            new_external_unique_id=new_external_unique_id,
            custom_data=custom_data,
            method=method,
        )
        del custom_data  # error reporters send the local variables of each frame
        return await self.send(request, timeout=timeout)

    async def send(self, request: Endpoint[T], *, timeout: float | None = UNSET) -> T:
        """Send a request: a `CurrentCallsRequest` or an `UpdateCallRequest`.

        Args:
            request: What to ask.
            timeout: Seconds for this call; the client's by default.

        Raises:
            CallsInProgressError: As `find` and `update`.
        """
        return await self._execute(request, partial(_read, request, self._wire_format), timeout)

    async def _execute(
        self,
        request: Endpoint[Any],
        read: Callable[[WireResponse, tuple[Attempt, ...]], T],
        timeout: float | None = UNSET,
        *,
        operation: str | None = None,
        shared: bool = False,
        flight: Flight[Any] | None = None,
        wanted: Callable[[], bool] | None = None,
    ) -> T:
        """Send a request, and read its response, of any status, with ``read``."""
        self._check_usable()
        if isinstance(request, type) or not hasattr(request, "wire"):
            raise validation.invalid("request", "is none, pass a CurrentCallsRequest or an UpdateCallRequest")
        seconds = self._seconds(timeout)
        if isinstance(request, CurrentCallsRequest) and request.has_phone_numbers:
            seconds = await self._pipeline.run_until_closed(phone_numbers.load, seconds)
        wire = request.wire(self._wire_format)
        if operation is not None:
            wire.operation = operation
        wire.shared, wire.wanted = shared, wanted
        if flight is None:
            return await self._pipeline.execute(wire, request.organization, seconds, read)
        wire.joined = flight.joined
        note = partial(setattr, flight, "setback")
        return await self._pipeline.execute(wire, request.organization, seconds, read, note)

    def _seconds(self, timeout: float | None) -> float | None:
        """Return the seconds for a call: its own, or the client's."""
        if timeout is UNSET:
            return self._timeout
        validation.check_number("timeout", timeout, "seconds", above=True, optional=True)
        return timeout

    def _check_usable(self) -> None:
        """Raise if the client is closed, or belongs to another process or event loop."""
        if self._closed:
            raise ClientClosedError("The client is closed; make a new one.")
        if self._affinity.check():  # the loop of before is closed; the transport notices by itself
            self._pipeline.reset()
            self._cache = ResponseCache()

    async def close(self, *, drain: float | None = None) -> None:
        """Close the client. Every running call raises `ClientClosedError`. Idempotent.

        Args:
            drain: Seconds to let running calls end by themselves first.

        Raises:
            WrongLoopError: Its event loop runs in another thread.
        """
        validation.check_number("drain", drain, "seconds", optional=True)
        current = self._affinity.is_current()
        self._closed = True
        if current:
            for each in self._ongoing:
                each._end_with_client()
            await self._pipeline.close(drain)

    async def __aenter__(self) -> Self:
        self._check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<CallsInProgressClient {self._base_url}{' closed' if self._closed else ''}>"


def _read(request: Endpoint[T], wire_format: WireFormat, response: WireResponse, attempts: tuple[Attempt, ...]) -> T:
    return request.read(response, wire_format, attempts)
