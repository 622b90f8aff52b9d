"""A clock turned by hand: waiting takes no time, and an hour of timers runs in an instant."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .. import clock
from ..errors import ClientStateError

T = TypeVar("T")

START = 1_000_000.0
"""The time of a `VirtualLoop` at the beginning, in seconds; a clock starting at 0 hides mistakes."""
UNIX_START = 1_706_788_800.0
"""The wall clock at the beginning: 2024-02-01 12:00 UTC."""
_PATIENCE = 5.0
"""Real seconds to wait for sockets and threads if there is no timer to jump to."""
_HANDSHAKE_STEPS = 3
"""Packets of a TCP handshake (RFC 9293, section 3.5): SYN, SYN and ACK, ACK."""


class VirtualClock:
    """The time of one event loop. It jumps to the next timer when nothing else is left to do.

    Sockets and threads are real. The clock stands still while a socket is ready, a packet is on its way on the loopback
    interface, or a thread of ``run_in_executor`` runs.

    Attributes:
        now: Seconds: the loop's time.
    """

    def __init__(self, now: float = START) -> None:
        self.now: float = now
        self._unix_offset = UNIX_START - now
        self._threads = 0
        self._loopback: socket.socket | None = None

    def time(self) -> float:
        """Return the loop's time in seconds, moved by `advance` and by jumps only."""
        return self.now

    def unix_time(self) -> float:
        """Return the wall clock in seconds since 1970. The wall clock moves with `time`."""
        return self._unix_offset + self.now

    def advance(self, seconds: float) -> None:
        """Turn the clock, as a step of the loop does that takes so long."""
        self.now += seconds

    def seed(self, number: int) -> None:
        """Restart the package's random numbers, so that two runs with one seed draw the same numbers."""
        clock.seed(number)

    @contextmanager
    def attached(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Replace the clock of a loop inside the block. The virtual time begins after the loop's own.

        Raises:
            ClientStateError: The loop has no selector, as uvloop's and the default loop of Windows.
        """
        if not isinstance(loop, asyncio.SelectorEventLoop):
            name = f"{type(loop).__module__}.{type(loop).__name__}"
            raise ClientStateError(
                f"the virtual clock needs an asyncio.SelectorEventLoop, got {name}: choose that loop"
            )
        self._unix_offset -= math.ceil(loop.time()) - self.now
        self.now = math.ceil(loop.time())
        selector = self.attach(loop)
        try:
            yield
        finally:
            self.close()
            del loop.time, loop.unix_time, selector.select  # type: ignore[attr-defined]
            del loop.run_in_executor, loop.shutdown_default_executor

    def attach(self, loop: Any) -> Any:
        """Replace the clock of a selector loop for good, and return its selector."""
        selector, run_in_executor = loop._selector, loop.run_in_executor
        select = selector.select

        def run(*arguments: Any) -> Any:
            future = run_in_executor(*arguments)
            self._threads += 1
            future.add_done_callback(self._on_thread_end)
            return future

        shut_down = loop.shutdown_default_executor

        async def shut_down_executor(*arguments: Any) -> None:
            self._threads += 1  # a thread joins the others, under a timeout since Python 3.12
            try:
                await shut_down(*arguments)
            finally:
                self._threads -= 1

        loop.time, loop.unix_time, loop.run_in_executor = self.time, self.unix_time, run
        loop.shutdown_default_executor = shut_down_executor
        selector.select = lambda timeout=None: self._select(select, timeout, has_sockets=len(selector.get_map()) > 1)
        return selector

    def close(self) -> None:
        """Close the socket of the clock itself."""
        if self._loopback is not None:
            self._loopback.close()
            self._loopback = None

    def _on_thread_end(self, _: object) -> None:
        self._threads -= 1

    def _select(self, select: Callable[[float | None], Any], timeout: float | None, *, has_sockets: bool) -> Any:
        """Return the events of sockets that are ready; jump if there are none."""
        events, waits = select(0), timeout is None or timeout > 0
        if waits and has_sockets and not events:
            self._flush_loopback()
            events = select(0)
        if events or not waits:
            return events
        if self._threads or timeout is None:
            events = select(_PATIENCE)
            if not events:
                raise AssertionError("every task waits forever: no timer is set, and no socket or thread is ready")
            return events
        self.now += timeout
        return events

    def _flush_loopback(self) -> None:
        """Wait until packets sent earlier have arrived: the loopback interface delivers in order."""
        if self._loopback is None:
            self._loopback = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._loopback.settimeout(_PATIENCE)
            self._loopback.bind(("127.0.0.1", 0))
            self._loopback.connect(self._loopback.getsockname())
        for _ in range(_HANDSHAKE_STEPS):
            self._loopback.send(b"x")
            self._loopback.recv(1)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a `VirtualClock`.

    Attributes:
        clock: The clock of the loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock: VirtualClock = VirtualClock()
        self.clock.attach(self)

    @property
    def now(self) -> float:
        """The time in seconds."""
        return self.clock.now

    def advance(self, seconds: float) -> None:
        """Turn the clock, as a step of the loop does that takes so long."""
        self.clock.advance(seconds)

    def close(self) -> None:
        """Close the loop and its clock."""
        self.clock.close()
        super().close()


def run(main: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T], seed: int = 0) -> T:
    """Run a coroutine, or a function that makes one, in a `VirtualLoop`; ``seed`` repeats every random number.

    A test may set ``clock.randomness`` to a source of its own. The package's own is back afterwards.
    """
    randomness = clock.randomness
    clock.seed(seed)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main() if callable(main) else main)
    finally:
        clock.randomness = randomness
