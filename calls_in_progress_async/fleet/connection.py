"""The connection to NATS: how it begins and ends, and its errors. Nobody else imports nats."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .errors import FleetError, LogUnavailableError, SupersededCommitError
from .log_settings import LogSettings

try:
    import nats
    from nats.aio.client import Client
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
except ImportError:  # pragma: no cover - the test extra has nats-py
    raise ImportError("A fleet needs nats-py: pip install 'calls-in-progress-async[fleet]'") from None

logger: logging.Logger = logging.getLogger("calls_in_progress_async.fleet")

OLDEST_SERVER = (2, 11)
"""Clustered compare-and-set of older servers had races, and 2.9 has no ``multi_last``."""
WAIT = 2.0
"""Seconds to wait for a response of the server."""
_REFUSALS = (10071, 10164)
"""Error codes of "wrong last sequence"."""
_WRONG_SETTINGS = (10025, 10052, 10058, 10074)
"""Error codes of a stream that the server will never create as asked for."""
_FULL = (10002, 10023, 10047, 10077)
"""Error codes of a stream, account or disk without room."""
_REMEDY = ": give the stream more room, such as `nats stream edit --max-bytes`, or its server more storage"
_REJECTION = re.compile("authori[sz]ation|authentication", re.IGNORECASE)
_OPTIONS: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.25,
    "connect_timeout": 1,
    "ping_interval": 2,
    "max_outstanding_pings": 2,
    "pending_size": -1,  # a publish while disconnected fails, where the default would send it after a reconnect
}
_TRANSIENT = (nats.errors.Error, OSError, TimeoutError)
"""Errors of a first connect that may pass."""
_PERMANENT = (ValueError, FileNotFoundError, PermissionError)
"""The lasting ones among them: wrong certificates and unreadable files."""


class MissingError(Exception):
    """The log has no such message, stream or consumer."""


@contextmanager
def translated() -> Iterator[None]:
    """Translate the errors of nats-py.

    Raises:
        MissingError: The thing asked for does not exist.
        SupersededCommitError: Another message is the last of the subject.
        FleetError: The server will never create such a stream.
        LogUnavailableError: Any other sign of a log that does not respond.
    """
    try:
        yield
    except NotFoundError as error:
        raise MissingError from error
    except APIError as error:
        text = f"{error.description} (code {error.err_code})" if error.description else type(error).__name__
        if error.err_code in _REFUSALS:
            raise SupersededCommitError from None
        if error.err_code in _WRONG_SETTINGS:
            raise FleetError(f"The NATS server refuses the stream: {text}. Change replicas or max_age.") from error
        raise LogUnavailableError(text + _REMEDY * (error.err_code in _FULL)) from error
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise LogUnavailableError(_text(error)) from error


def sequence_in(acknowledgement: Any) -> int:
    """Return the sequence in the response to a message.

    Raises:
        nats.errors.Error: The message was refused, or no stream took it.
    """
    if (acknowledgement.headers or {}).get("Status") == "503":
        raise NoStreamResponseError
    response = json.loads(acknowledgement.data)
    if "error" in response:
        raise APIError.from_error(response["error"])
    return int(response["seq"])


class Connection:
    """One connection to a NATS server, which comes back by itself after a loss.

    Args:
        settings: The address of the log.
        on_reconnect: Called after each reconnect.
    """

    def __init__(self, settings: LogSettings, on_reconnect: Callable[[], object]) -> None:
        self._settings = settings
        self._on_reconnect = on_reconnect
        self._told = ""  # the last error logged
        self.client: Any = Client()
        """The client of nats-py."""

    async def open(self, name: str) -> None:
        """Connect, and wait for a server as long as there is none.

        Raises:
            FleetError: The server rejects the credentials or the settings, is too old, or has JetStream off.
        """
        options = {**_OPTIONS, **self._settings.connection, "name": name}
        while not await self._try_to_connect(options):  # noqa: ASYNC110 - no event tells of a new server
            await asyncio.sleep(options["reconnect_time_wait"])
        self.client.options["allow_reconnect"] = True
        self._check_server(options)

    async def _try_to_connect(self, options: dict[str, Any]) -> bool:
        """Connect by a new client: nats-py's own repeated first connect leaves sockets open."""
        self.client = Client()
        callbacks = {"error_cb": self._on_error, "reconnected_cb": self._on_reconnected}
        try:
            await self.client.connect(list(self._settings.servers), **options, **callbacks, allow_reconnect=False)
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception as error:
            await self.close()
            text = _text(error)
            if _REJECTION.search(text):
                raise FleetError(
                    f"The NATS server rejects the connection ({text}): pass the right user, token or credentials file, "
                    'in the address or as connection={"user_credentials": FILE}.'
                ) from error
            if not isinstance(error, _TRANSIENT) or isinstance(error, _PERMANENT):
                raise FleetError(
                    f"Cannot connect to NATS ({text}): check servers and connection, its certificates and files."
                ) from error
            return False
        return True

    def _check_server(self, options: dict[str, Any]) -> None:
        version = self.client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            shown = f"{version.major}.{version.minor}.{version.patch}"
            raise FleetError(f"The NATS server must be version 2.11 or later, got {shown}: upgrade it.")
        info = self.client._server_info  # nats-py shows no more of it
        if not info.get("jetstream") and not info.get("cluster"):
            raise FleetError("The NATS server has JetStream off: start it with `-js`.")
        if _asks_for_tls(options, self._settings) and not info.get("tls_required"):
            raise FleetError(
                "The NATS server has TLS off, and the connection asks for it: give the server a certificate."
            )

    async def _on_error(self, error: Exception) -> None:
        text = _text(error)
        if isinstance(error, ConnectionError):
            text += "; tried again until a server responds"
        if text != self._told:  # nats-py repeats it at each try to connect
            logger.warning("NATS: %s", text)
            self._told = text

    async def _on_reconnected(self) -> None:
        self._told = ""
        self._on_reconnect()

    async def close(self) -> None:
        """Close the connection, in 4 seconds at most: nats-py may hang while the server is away."""
        flush = [lambda: self.client.flush(1)] if self.client.is_connected else []
        for step in (*flush, self.client.close):
            # nats-py asserts that a connection has begun; wrong arguments prevent the beginning.
            with suppress(nats.errors.Error, AssertionError, TimeoutError, OSError):
                await asyncio.wait_for(step(), WAIT)


def _asks_for_tls(options: dict[str, Any], settings: LogSettings) -> bool:
    """Return True if plain text would be a surprise. nats-py goes on without TLS where the server has it off."""
    by_address = all(each.startswith("tls:") for each in settings.servers)
    return (by_address or "tls" in options) and not options.get("tls_handshake_first")


def _text(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
