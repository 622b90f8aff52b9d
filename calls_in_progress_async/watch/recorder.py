"""The flight recorder: the events of a watch as lines of JSON, without callers' numbers unless asked otherwise."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from io import FileIO
from typing import Any, Literal, get_args

from .. import clock, validation
from ..organization import Organization
from ..phone_numbers import masked
from ..records import Call
from ..transport.redaction import redact
from .events import CallChanged, CallEnded, CallEvent, CallStarted, OrganizationFailed

Numbers = Literal["hashed", "masked", "plain"]
"""The form of phone numbers in a recording."""
FORMAT = "calls-in-progress recording 1"
"""The first line of each watch has this format."""

_PUBLIC = frozenset(
    {
        *("transaction_id", "call_record_id"),
        *("bridge_start_time", "start_time", "call_start_time_utc", "transfer_start_time_utc"),
    }
)
"""Fields with many digits that are no phone number."""
_HASH_DIGITS = 7
_log = logging.getLogger("calls_in_progress_async")


class Recorder:
    """Writes events to a file.

    Args:
        path: The file. Events are appended, and nobody else may read a new file.
        numbers: ``"hashed"`` replaces each phone number by a made-up number, the same for the whole watch, and other
            long digits by a hash; ``"masked"`` shows two digits. Both leave out demographics. ``"plain"`` writes all.
    """

    def __init__(self, path: str | os.PathLike[str], numbers: Numbers = "hashed") -> None:
        if not isinstance(path, str | os.PathLike):
            raise validation.unexpected("record", "the path of a file", path)
        if numbers not in get_args(Numbers):
            raise validation.unexpected("record_numbers", "hashed, masked or plain", numbers)
        self._path = path
        self._numbers = numbers
        self._key = os.urandom(32)
        self._file: FileIO | None = None

    def open(self) -> None:
        """Open the file.

        Raises:
            OSError: The file cannot be written.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = FileIO(descriptor, "ab")  # without a buffer, so that a killed process loses no line
        try:
            _write(self._file, {"format": FORMAT, "time": clock.unix_time(), "numbers": self._numbers})
        except OSError:
            self.close()
            raise

    def record(self, event: CallEvent) -> None:
        """Write one event. A full disk ends the recording, and not the watch."""
        if self._file is None:
            return
        try:
            _write(self._file, self._line(event))
        except OSError as error:
            _log.warning("The recording of a watch has ended: %s", error.strerror)
            self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, event: CallEvent) -> dict[str, Any]:
        line = {"time": clock.unix_time(), "kind": event.kind, "organization": _written(event.organization)}
        if isinstance(event, CallStarted | CallChanged | CallEnded):
            return {**line, "call": self._call(event.call)}
        if isinstance(event, OrganizationFailed):
            return {**line, "error": type(event.error).__name__}
        return {**line, "gap": event.gap}

    def _call(self, call: Call) -> dict[str, Any]:
        fields = call.to_dict()
        if self._numbers == "plain":
            return fields
        if isinstance(custom_data := fields.get("custom_data"), dict):
            custom_data.pop("demographics_data", None)
        hide = self._hash_number if self._numbers == "hashed" else _mask_number
        return {name: value if name in _PUBLIC else self._private(name, value, hide) for name, value in fields.items()}

    def _private(self, name: str, value: Any, hide: Callable[[str], str]) -> Any:
        """Return a field's value without phone numbers, and without other long digits."""
        if isinstance(value, dict):
            return {self._private("", key, hide): self._private(key, each, hide) for key, each in value.items()}
        if isinstance(value, list):
            return [self._private(name, each, hide) for each in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return value
        if name.endswith("phone_number"):
            return hide(value)
        return value if redact(value, "") == value else f"#{self._digest(value).hex()[:10]}"

    def _hash_number(self, number: str) -> str:
        """Return a made-up number: area code 555 is nobody's."""
        digits = "".join(filter(str.isdigit, number))
        return f"+1555{int.from_bytes(self._digest(digits)) % 10**_HASH_DIGITS:0{_HASH_DIGITS}}"

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), key=self._key).digest()


def _write(file: FileIO, line: dict[str, Any]) -> None:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
    file.write(text.encode(errors="replace"))  # half a surrogate pair is JSON, and no UTF-8


def _mask_number(number: str) -> str:
    return masked(number).strip("'")


def _written(organization: Organization) -> dict[str, Any]:
    return {"id": organization.id, "type": organization.type}
