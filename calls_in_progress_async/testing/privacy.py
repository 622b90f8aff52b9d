"""The check of a user's test: nothing private has reached logs, spans, warnings, output or files."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..instrumentation import logger
from .leaks import find_leaks, join_texts

_VISIBLE = 2
"""Characters of a private value that a failure shows, to tell values apart."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) - {"msg", "args"}
"""The attributes of a log record that come from the logging module."""


class PrivacyCheck:
    """Collects the texts that a test puts out, and looks for private values in them.

    The fixture ``assert_private`` marks the values of the fixture ``calls_in_progress_sandbox`` by itself.
    """

    def __init__(self) -> None:
        self._private: dict[str, None] = {}
        self._texts: dict[tuple[str, str], None] = {}
        """Places and texts, each once."""

    def mark(self, *values: str) -> None:
        """Mark further values as private, such as the numbers of a scripted transport's calls."""
        self._private.update((value, None) for value in values if value)

    def look_at(self, place: str, value: Any) -> None:
        """Look at something else, such as a response of the program under test.

        Args:
            place: Its name in the failure.
            value: A text, bytes, an exception with its chain, a span, or any object, by its repr.
        """
        self._texts.update(((place, text), None) for text in _texts_of(value))

    def look_at_output(self, stdout: str | bytes, stderr: str | bytes) -> None:
        """Look at captured output."""
        self.look_at("stdout", stdout)
        self.look_at("stderr", stderr)

    def look_at_files(self, directory: Path) -> None:
        """Look at the names and contents of the files under a directory."""
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            self.look_at("the name of a file", name)
            if path.is_file():
                self.look_at(f"file {name}", path.read_bytes())

    def leaks(self) -> list[str]:
        """Describe each leak so far: the place, the encoding, and the first characters of the value."""
        texts: dict[str, list[str]] = {}
        for place, text in self._texts:
            texts.setdefault(place, []).append(text)
        return list(
            dict.fromkeys(
                f"{value[:_VISIBLE]}... ({len(value)} characters) in {place}, as {encoding}"
                for place, found in texts.items()
                for value, encoding in find_leaks(join_texts(found), self._private).items()
            )
        )

    def check(self) -> None:
        """Fail if anything private has leaked.

        Raises:
            AssertionError: The message lists the places.
        """
        if leaks := self.leaks():
            raise AssertionError("private values leaked:\n  " + "\n  ".join(leaks))

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Collect log records of every level, warnings and the global tracer's spans inside the block."""
        handler, root = _RecordHandler(self), logging.getLogger()
        asyncio_logger = logging.getLogger("asyncio")  # at DEBUG it names the selector of each loop
        levels = {each: each.level for each in (root, logger, asyncio_logger)}
        root.addHandler(handler)
        for each in levels:
            each.setLevel(logging.INFO if each is asyncio_logger else logging.DEBUG)
        show, spans = warnings.showwarning, _observe_spans()

        def show_and_look(message: Warning | str, *arguments: Any, **more: Any) -> None:
            self.look_at("a warning", str(message))
            show(message, *arguments, **more)

        warnings.showwarning = show_and_look
        try:
            yield
        finally:
            root.removeHandler(handler)
            for each, level in levels.items():
                each.setLevel(level)
            warnings.showwarning = show
            for span in spans:
                self.look_at(f"span {span.name}", span)


class _RecordHandler(logging.Handler):
    """Shows log records to a check."""

    def __init__(self, check: PrivacyCheck) -> None:
        super().__init__()
        self._check = check

    def emit(self, record: logging.LogRecord) -> None:
        place = f"a log record of {record.name}"
        self._check.look_at(place, record.getMessage())
        self._check.look_at(place, {name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info is not None and isinstance(record.exc_info[1], BaseException):
            self._check.look_at(f"the exception of {place}", record.exc_info[1])


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, BaseException):
        yield from _exception_texts(value)
    elif hasattr(value, "to_json"):
        yield value.to_json()
    else:
        yield repr(value)


def _exception_texts(error: BaseException) -> Iterator[str]:
    """Yield the texts of a chain of exceptions, and their messages joined, for a value split over the chain."""
    chain = list(_chain(error, set()))
    for each in chain:
        yield "\n".join([str(each), repr(each), repr(vars(each))])
    messages = [str(each) for each in chain]
    yield "".join(messages)
    yield "".join(reversed(messages))


def _chain(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for each in (*members, error.__cause__, error.__context__):
        if each is not None:
            yield from _chain(each, seen)


def _observe_spans() -> list[Any]:
    """Return a list that grows with each span of the global tracer; it stays empty without OpenTelemetry's SDK."""
    spans: list[Any] = []
    trace, sdk = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.sdk.trace")
    if trace is None or sdk is None:
        return spans
    provider = trace.get_tracer_provider()
    if hasattr(provider, "add_span_processor"):
        processor = sdk.SpanProcessor()
        processor.on_end = spans.append
        provider.add_span_processor(processor)
    return spans
