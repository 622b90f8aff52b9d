"""A sandbox in a process of its own as the API of a fleet: 10,000 organizations take a core by themselves."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from fleet.audit import Truth
from fleet.recorded_sandbox import RecordedSandbox


def _serve(settings: dict[str, Any], pipe: Any) -> None:
    async def main() -> None:
        async with RecordedSandbox(**settings) as sandbox:
            pipe.send((sandbox.url, sandbox.token, sandbox.names))
            while (question := await asyncio.to_thread(pipe.recv)) != "stop":
                pipe.send(getattr(sandbox, question)())

    run = asyncio.run
    with suppress(ImportError):
        from uvloop import run  # noqa: PLC0415 - an extra
    with suppress(EOFError, KeyboardInterrupt):  # the benchmark has ended
        run(main())


class ApiProcess:
    """The sandbox during a ``with`` block."""

    def __init__(self, **settings: Any) -> None:
        self._pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(settings, there), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url, self.token, self.names = self._pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.send("stop")
        self._process.join(5)
        self._process.terminate()

    def last_polls(self) -> dict[str, float]:
        """Return the time of the last poll of each organization polled so far."""
        return self._ask("last_polls")

    def truths(self) -> dict[str, Truth]:
        """Return the history and the polls of each organization polled so far."""
        return self._ask("truths")

    def _ask(self, question: str) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()
