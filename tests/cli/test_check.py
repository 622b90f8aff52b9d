"""``check`` names the failing step and its remedy."""

import asyncio
import json
import socket
import ssl

import pytest
import trustme

from calls_in_progress_async import Organization, errors
from calls_in_progress_async.cli.check import conclude
from calls_in_progress_async.sandbox import Fault


def _steps(output: str) -> list[tuple[str, bool]]:
    return [(found["step"], found["ok"]) for found in map(json.loads, output.splitlines())]


async def test_all_is_well(command_line) -> None:
    """Every step is reported in plain words."""
    async with command_line() as line:
        done = await line.invoke("check", "advertiser:2")
        assert done.exit_code == 0
        assert [text.split()[0] for text in done.stdout.splitlines()] == ["ok"] * 6
        assert "advertiser:2 has 0 calls in progress" in done.stdout
        assert "any spelling" in done.stdout


async def test_the_other_spelling_is_found_out(command_line) -> None:
    """If the server wants the other spelling, the setting to change is named."""
    async with command_line(organization_type_spelling="capitalized") as line:
        done = await line.invoke("check", "advertiser:2")
        assert done.exit_code == 1
        assert "the server wants Advertiser, but lower is set" in done.stdout
        assert "CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE=capitalized" in done.stdout
        done = await line.invoke("check", "advertiser:2", CALLS_IN_PROGRESS_ORGANIZATION_TYPE_CASE="capitalized")
        assert done.exit_code == 0
        assert "the server wants Advertiser, and capitalized is set" in done.stdout


async def test_one_spelling_is_wanted_and_set(command_line) -> None:
    """A server that wants the default spelling is fine."""
    async with command_line(organization_type_spelling="lower") as line:
        done = await line.invoke("check", "network:1")
        assert done.exit_code == 0
        assert "the server wants network, and lower is set" in done.stdout


async def test_a_wrong_token(command_line) -> None:
    """A wrong token exits with 3."""
    async with command_line() as line:
        done = await line.invoke("check", "advertiser:2", "--json", CALLS_IN_PROGRESS_TOKEN="wrong")
        assert done.exit_code == 3
        assert _steps(done.stdout)[-1] == ("token", False)
        assert "wrong" not in done.output


async def test_no_token(command_line) -> None:
    """A missing token exits with 3 before any connection."""
    async with command_line() as line:
        done = await line.invoke("check", "advertiser:2", "--json", CALLS_IN_PROGRESS_TOKEN="")
        assert done.exit_code == 3
        assert _steps(done.stdout) == [("settings", False)]


async def test_an_organization_without_permission(command_line) -> None:
    """A rejected organization is reported rather than a rejected spelling."""
    async with command_line(organization_type_spelling="capitalized") as line:
        done = await line.invoke("check", "advertiser:99")
        assert done.exit_code == 1
        assert "advertiser:99 is rejected: HTTP 403: id: is invalid" in done.stdout
        assert "is it of a network rather" in done.stdout


async def test_a_server_in_trouble(command_line) -> None:
    """A 500 fails the API, not the token."""
    async with command_line(faults=[Fault(status=500)]) as line:
        done = await line.invoke("check", "advertiser:2", "--json")
        assert done.exit_code == 1
        assert _steps(done.stdout)[-1] == ("API", False)


async def test_a_host_that_does_not_resolve(command_line) -> None:
    """An unknown host fails at the name service."""
    async with command_line() as line:
        done = await line.invoke("check", "advertiser:2", "--json", "--base-url", "https://no-such-host.invalid")
        assert done.exit_code == 1
        assert _steps(done.stdout) == [("settings", True), ("host name", False)]


async def test_a_server_that_is_down(command_line) -> None:
    """A closed port fails the connection."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with command_line() as line:
            done = await line.invoke("check", "advertiser:2", "--base-url", url)
    assert done.exit_code == 1
    assert "Connection refused" in done.stdout
    assert "is the server down?" in done.stdout


async def test_a_server_that_does_not_speak_tls(command_line) -> None:
    """https:// to a port of plain HTTP fails TLS."""
    async with command_line() as line:
        url = line.sandbox.url.replace("http:", "https:")
        done = await line.invoke("check", "advertiser:2", "--json", "--base-url", url)
        assert done.exit_code == 1
        assert _steps(done.stdout)[-1] == ("TLS", False)


async def test_certificates(command_line, tmp_path) -> None:
    """A certificate of an unknown authority fails the step; one of a known authority passes it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with command_line(ssl_context=context) as line:
        distrusted = await line.invoke("check", "advertiser:2", "--json", SSL_CERT_FILE="/dev/null")
        assert distrusted.exit_code == 1
        assert _steps(distrusted.stdout)[-1] == ("TLS", False)
        assert "is not trusted" in distrusted.stdout
        line.environment["SSL_CERT_FILE"] = str(tmp_path / "ca.pem")
        trusted = await line.execute("check", "advertiser:2", "--json")
        assert (trusted.code, trusted.stderr) == (0, "")
        assert ("TLS", True) in _steps(trusted.stdout)
        # In this process aiohttp has an older list of authorities already, and rejects the certificate.
        rejected = await line.invoke("check", "advertiser:2", "--json")
        assert _steps(rejected.stdout)[-2:] == [("TLS", True), ("API", False)]


async def test_a_silent_host(command_line, monkeypatch) -> None:
    """A step stops waiting after a while."""

    async def get_no_answer(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("calls_in_progress_async.cli.diagnostics._PATIENCE", 0)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", get_no_answer)
    async with command_line() as line:
        done = await line.invoke("check", "advertiser:2")
    assert "does not resolve: no response within 0 seconds" in done.stdout


@pytest.mark.parametrize(
    ("error", "step", "remedy", "code"),
    [
        (errors.PermissionDeniedError("HTTP 403", status=403), "organization", "ask the token's owner", 3),
        (errors.NotFoundError("HTTP 404", status=404), "API", "is this the host of the API?", 1),
        (errors.RedirectRefusedError("HTTP 301", status=301), "API", "is this the host of the API?", 1),
        (errors.RateLimitedError("HTTP 429", status=429), "API", "try again later", 1),
        (errors.RequestRejectedError("HTTP 403", status=403), "organization", "of an advertiser rather", 1),
    ],
)
def test_each_error_has_its_remedy(error, step, remedy, code) -> None:
    """The responses to both spellings decide the failing step."""
    last = conclude({"lower": error, "capitalized": error}, Organization.network(1), configured="lower")[-1]
    assert (last.step, last.code) == (step, code)
    assert remedy in last.remedy
