"""AiohttpTransport chooses between pool and session once, and works with an aiohttp without its internals."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_server import ACME, DONE, NO_CALLS, RawServer

from calls_in_progress_async import CallsInProgressClient
from calls_in_progress_async.transport import pooled
from calls_in_progress_async.transport.pooled import PooledTransport
from calls_in_progress_async.transport.session import SessionTransport

PACKAGE = "calls_in_progress_async"
ROOT = Path(__file__).parents[2]


async def find_and_update(client: CallsInProgressClient) -> None:
    """Find twice, on a new and on a kept connection, and update once."""
    for _ in range(2):
        assert list(await client.find(ACME)) == []
    assert (await client.update(ACME, transaction_id="T", custom_data={"a": "b"})).accepted_only


def lines_about_the_choice(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == PACKAGE and each.levelno == logging.INFO]


# The choice.


async def test_the_pool_is_used_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """With the installed aiohttp, no session is made and nothing is logged."""
    caplog.set_level(logging.INFO)
    async with RawServer([NO_CALLS, NO_CALLS, DONE]) as server, server.client() as client:
        await find_and_update(client)
        assert isinstance(client._transport._opened, PooledTransport)
    assert lines_about_the_choice(caplog) == []


@pytest.mark.parametrize("why", ["session", "proxy", "environment", "internals"])
async def test_the_session_is_used_and_one_line_says_why(
    why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One INFO line for a client, however many requests it sends."""
    caplog.set_level(logging.INFO)
    reasons = {"session": "passed as session=", "proxy": "a proxy", "environment": "a proxy", "internals": "lacks"}
    async with RawServer([NO_CALLS, NO_CALLS, DONE]) as server, aiohttp.ClientSession() as session:
        monkeypatch.setenv("http_proxy", server.url)
        settings: dict[str, dict[str, Any]] = {
            "session": {"session": session},
            "proxy": {"proxy": server.url},
            "environment": {"trust_env": True},
            "internals": {},
        }
        if why == "internals":
            monkeypatch.setattr(pooled, "is_supported", lambda: False)
        async with server.client(**settings[why]) as client:
            await find_and_update(client)
            assert isinstance(client._transport._opened, SessionTransport)
    (line,) = lines_about_the_choice(caplog)
    assert reasons[why] in line


# Another aiohttp.


class SeenOtherwise:
    """A class attribute with another value for this package, as if aiohttp had changed all its own uses."""

    def __init__(self, original: Any, otherwise: Callable[..., Any] | None) -> None:
        self._original, self._otherwise = original, otherwise

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith(PACKAGE):
            if self._otherwise is None:
                raise AttributeError("renamed")
            return self._otherwise if instance is None else self._otherwise.__get__(instance)
        bind = getattr(self._original, "__get__", None)
        return self._original if bind is None else bind(instance, owner)


def change(monkeypatch: pytest.MonkeyPatch, path: str, otherwise: Callable[..., Any] | None) -> None:
    """Have this package see a name of aiohttp otherwise, or not at all."""
    *parents, name = path.split(".")
    owner: Any = aiohttp
    for each in parents:
        owner = getattr(owner, each)
    if not inspect.isclass(owner):
        if otherwise is None:
            monkeypatch.delattr(owner, name)
        else:
            monkeypatch.setattr(owner, name, otherwise)
    elif owner.__module__ == "aiohttp._http_parser":  # a C class, which cannot be changed
        others = {each: None for each in ("code", "headers", "chunked") if each != name}
        monkeypatch.setattr(aiohttp.http, owner.__name__, type(owner.__name__, (), others))
    else:
        definer = next(each for each in owner.__mro__ if name in vars(each))
        monkeypatch.setattr(definer, name, SeenOtherwise(vars(definer)[name], otherwise))


def changed(*_: Any, something_new: Any) -> Any:
    """Stand for a function with another signature."""
    raise AssertionError("called, though its signature has changed")


def less(self: Any) -> Any:
    """Stand for a function without arguments."""
    raise AssertionError("called, though its signature has changed")


FUNCTIONS = [name for name, arguments in pooled._INTERNALS.items() if arguments is not None]


@pytest.mark.parametrize("name", pooled._INTERNALS)
async def test_a_renamed_internal_changes_nothing_but_the_way(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Finds and updates go through the session, and the line names the missing internal."""
    caplog.set_level(logging.INFO)
    change(monkeypatch, name, None)
    async with RawServer([NO_CALLS, NO_CALLS, DONE]) as server, server.client() as client:
        await find_and_update(client)
    (line,) = lines_about_the_choice(caplog)
    assert name in line


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_a_changed_signature_changes_nothing_but_the_way(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A function with a new required argument is not called."""
    caplog.set_level(logging.INFO)
    change(monkeypatch, name, changed)
    async with RawServer([NO_CALLS, NO_CALLS, DONE]) as server, server.client() as client:
        await find_and_update(client)
    (line,) = lines_about_the_choice(caplog)
    assert name in line


async def test_a_removed_keyword_of_aiohttp_only_changes_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``read_bufsize=`` and its like, every find would raise a TypeError."""
    change(monkeypatch, "client_proto.ResponseHandler.set_response_params", less)
    async with RawServer([NO_CALLS, NO_CALLS, DONE]) as server, server.client() as client:
        await find_and_update(client)


async def test_without_the_hook_on_send_an_update_that_failed_may_have_been_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session whose requests have no ``send`` tells nothing, so the transport claims nothing."""
    change(monkeypatch, "ClientRequest.send", None)
    async with RawServer([NO_CALLS, NO_CALLS, DONE, None]) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with server.client(session=session) as client:
            await find_and_update(client)
            with pytest.raises(Exception, match="lost") as raised:
                await client.update(ACME, transaction_id="T", custom_data={"a": "b"}, method="POST")
    assert (raised.value.may_have_been_applied, len(server.seen)) == (True, 4)


SCRIPT = """
import asyncio, logging
from raw_server import ACME, DONE, NO_CALLS, RawServer
logging.basicConfig(level=logging.INFO, format="%(message)s")

async def main():
    async with RawServer([NO_CALLS, DONE]) as server, server.client() as client:
        await client.find(ACME)
        await client.update(ACME, transaction_id="T", custom_data={"a": "b"})
        print(len(server.seen), "requests")

asyncio.run(main())
"""


@pytest.mark.parametrize("renamed", ["set_response_params", "ResponseHandler", "POST_METHODS"])
async def test_an_aiohttp_that_renames_a_name_everywhere_works(
    renamed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A copy of aiohttp's source, with one name replaced in all its modules."""
    source = Path(aiohttp.__file__).parent
    directory = tmp_path_factory.mktemp("renamed")
    shutil.copytree(source, directory / "aiohttp", ignore=shutil.ignore_patterns("__pycache__"))
    for module in (directory / "aiohttp").glob("*.py"):
        text = module.read_text(encoding="utf-8")
        module.write_text(re.sub(rf"\b{renamed}\b", f"{renamed}_2", text), encoding="utf-8")
    path = os.pathsep.join(map(str, (directory, ROOT, ROOT / "tests")))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT),
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert "2 requests" in printed.decode()
    assert renamed in printed.decode().splitlines()[0]
