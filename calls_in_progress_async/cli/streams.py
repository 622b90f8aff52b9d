"""The standard streams, made safe to use before a command does anything."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper, UnsupportedOperation
from typing import Any

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def prepare_streams() -> None:
    """Make stdin, stdout and stderr usable.

    Raises:
        OSError: A stream rejects any output, so that a result could not be shown.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Escape letters beyond the terminal's encoding instead of failing.
            stream.reconfigure(errors="backslashreplace")
        _check_writable(stream)


def _open_closed_streams() -> None:
    """Connect each closed stream to the null device.

    A shell closes a stream with ``>&-``, and Python then has None in its place. The null device also takes its file
    descriptor, or else the next socket would be the process's stdout.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - open to the end
            setattr(sys, name, stream)


def _check_writable(stream: Any) -> None:
    with suppress(UnsupportedOperation, AttributeError):  # an embedding program's own stream
        os.write(stream.fileno(), b"")


def discard(stream: Any) -> None:
    """Connect a stream without a reader to the null device, so that Python's last flush cannot fail."""
    with suppress(UnsupportedOperation), open(os.devnull, "wb") as null_device:
        os.dup2(null_device.fileno(), stream.fileno())
