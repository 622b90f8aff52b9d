"""Credentials, TLS and versions of real nats-servers: the wrong ones are errors with a remedy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from fleet.nats_accounts import Accounts, new_key
from fleet.nats_server import NatsServer

from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet import FleetError
from calls_in_progress_async.fleet.log import Log
from calls_in_progress_async.fleet.log_settings import LogSettings

SUBJECT = "cip.t.events.0.advertiser.25"


@contextmanager
def run_server(binary: str, directory: Path, settings: str, **options: Any) -> Iterator[NatsServer]:
    server = NatsServer(directory / "nats", binary, settings, **options).start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def open_log(url: str, **connection: Any) -> AsyncIterator[Log]:
    log = Log(LogSettings(servers=url, name="t", shards=1, connection=connection))
    try:
        await log.connect("t")
        yield log
    finally:
        await log.close()


async def check_log(url: str, **connection: Any) -> None:
    """Write a message to a log, and read it."""
    async with open_log(url, **connection) as log:
        await log.ensure_stream()
        sequence = await log.commit(SUBJECT, b"{}", 0)
        assert await log.last(SUBJECT) == (sequence, b"{}")


async def check_refusal(message: str, url: str, **connection: Any) -> None:
    with pytest.raises(FleetError, match=message):
        async with open_log(url, **connection):
            pass


REJECTED = "rejects the connection .*: pass the right user, token or credentials file"


async def test_a_password(binary: str, tmp_path: Path) -> None:
    """In the address or in the settings of the connection; a wrong one is not tried for ever."""
    with run_server(binary, tmp_path, 'authorization { user: "u", password: "p" }') as server:
        await check_log(server.url, user="u", password="p")
        await check_refusal(REJECTED, server.url)
        await check_refusal(REJECTED, server.url.replace("//", "//u:q@"))
        async with open_log(server.url.replace("//", "//u:p@")) as log:
            await log.ensure_stream()


async def test_a_key(binary: str, tmp_path: Path) -> None:
    """A seed of nkeys, as text or as a file."""
    key = new_key()
    file = tmp_path / "seed"
    file.write_bytes(key.seed)
    with run_server(binary, tmp_path, f"authorization {{ users: [{{ nkey: {key.public_key.decode()} }}] }}") as server:
        await check_log(server.url, nkeys_seed=str(file))
        await check_refusal(REJECTED, server.url, nkeys_seed_str=new_key().seed.decode())
        await check_refusal(
            "Cannot connect to NATS .*invalid seed.*check servers and connection", server.url, nkeys_seed_str="SUABC"
        )


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


async def test_a_credentials_file(accounts: Accounts, binary: str, tmp_path: Path) -> None:
    """The file of a user of the server's own operator works, another operator's does not."""
    with run_server(binary, tmp_path, accounts.settings) as server:
        await check_log(server.url, user_credentials=accounts.write_credentials(tmp_path / "right"))
        await check_refusal(REJECTED, server.url, user_credentials=Accounts().write_credentials(tmp_path / "wrong"))
        await check_refusal(REJECTED, server.url)
        (tmp_path / "broken").write_text("nothing", encoding="utf-8")
        await check_refusal("its certificates and files", server.url, user_credentials=str(tmp_path / "broken"))


def test_a_credentials_file_on_the_command_line(
    accounts: Accounts, binary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong file is one line on stderr."""
    right = accounts.write_credentials(tmp_path / "right")
    wrong = Accounts().write_credentials(tmp_path / "wrong")
    with run_server(binary, tmp_path, accounts.settings) as server:
        command = ["fleet", "events", "--servers", server.url, "--name", "t", "--credentials"]
        assert program.run([*command, right]) != 0
        assert "There is no fleet 't' on this server" in capsys.readouterr().err
        assert program.run([*command, wrong]) != 0
        assert "rejects the connection" in capsys.readouterr().err


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_settings(authority: trustme.CA, directory: Path) -> str:
    """Write a certificate, and return the part of a server's configuration."""
    certificate = authority.issue_cert("127.0.0.1")
    key, chain = directory / "key.pem", directory / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    return f'tls {{ cert_file: "{chain.as_posix()}", key_file: "{key.as_posix()}" }}'


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_tls(
    scheme: str, authority: trustme.CA, binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a context, or with the authorities of the system, to which SSL_CERT_FILE may point."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with run_server(binary, tmp_path, tls_settings(authority, tmp_path)) as server:
        url = server.url.replace("nats", scheme, 1)
        await check_log(url, tls=context)
        file = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        async with open_log(url) as log:
            await log.ensure_stream()


async def test_a_server_of_an_unknown_authority_is_refused(authority: trustme.CA, binary: str, tmp_path: Path) -> None:
    """Nothing is sent to it, and nothing is tried for ever."""
    with run_server(binary, tmp_path, tls_settings(authority, tmp_path)) as server:
        await check_refusal("CERTIFICATE_VERIFY_FAILED.*its certificates and files", server.url)


@pytest.mark.parametrize(
    ("make_url", "connection"),
    [(str, {"tls": ssl.create_default_context()}), (lambda url: url.replace("nats", "tls", 1), {})],
    ids=["a context", "the address"],
)
async def test_a_server_without_tls_is_refused_if_tls_is_asked_for(
    make_url: Callable[[str], str], connection: dict[str, Any], server: NatsServer
) -> None:
    """A connection in plain text would be a surprise."""
    await check_refusal("has TLS off, and the connection asks for it", make_url(server.url), **connection)


async def test_an_old_server_is_refused(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare-and-set of older servers had races."""
    monkeypatch.setattr("calls_in_progress_async.fleet.connection.OLDEST_SERVER", (99, 0))
    await check_refusal(r"must be version 2\.11 or later, got 2\..*upgrade it", server.url)


async def test_a_server_without_jetstream_is_named(binary: str, tmp_path: Path) -> None:
    """The message says how to turn it on."""
    with run_server(binary, tmp_path, "", jetstream=False) as server:
        await check_refusal("JetStream off: start it with `-js`", server.url)


async def test_a_missing_server_is_waited_for(binary: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log file has one line about it, however often it is tried."""
    server = NatsServer(tmp_path, binary)
    log = Log(LogSettings(servers=server.url, name="t", connection={"reconnect_time_wait": 0.01}))
    connecting = asyncio.create_task(log.connect("t"))
    while not caplog.messages:
        await asyncio.sleep(0.01)
    server.start()
    try:
        await connecting
        (message,) = caplog.messages
        assert message.startswith("NATS: [Errno")
        assert message.endswith("; tried again until a server responds")
        await log.close()
    finally:
        server.kill()
