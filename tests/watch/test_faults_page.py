"""The table of docs/faults.md about watches is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from watch.scripted_server import ACME, ScriptedServer, call, on_virtual_loop, take_all, turn

from calls_in_progress_async import Organization, ServerError, UnexpectedResponseError
from calls_in_progress_async.records.codec import PayloadError
from calls_in_progress_async.watch.listing import Listing

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
TABLE = re.search(r"<!-- polls -->(.*?)<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ROW = re.compile(r"^\| (\d{3}) `(.+?)` \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = ROW.findall(TABLE[1]) if TABLE else []


def test_the_table_is_there() -> None:
    """The page's table has rows, so the checks below can fail."""
    assert len(ROWS) > 10


@pytest.mark.parametrize(("status", "body", "events", "outcome"), ROWS)
@on_virtual_loop
async def test_a_row(server: ScriptedServer, status: str, body: str, events: str, outcome: str) -> None:
    """Each row tells the events of a watch and the fate of its call."""

    async def fetch(organization: Organization, last: Listing | None) -> Listing:
        if status != "200" and organization in server.bodies:
            raise ServerError(f"HTTP {status}", status=int(status))
        try:
            return await server.fetch(organization, last)
        except PayloadError as error:
            raise UnexpectedResponseError(str(error)) from error

    server.calls[ACME] = [call("A", calling_phone_number="+18005551234")]
    async with server.watch(ACME, fetch=fetch) as watch:
        await turn(6)
        await take_all(watch)
        server.bodies[ACME] = body.encode()
        await turn(60)
        told = [f"`{type(event).__name__}`" for event in await take_all(watch)]
        assert ", ".join(told) == events.replace("none", "")
        listed = any(each.transaction_id == "A" for each in watch.calls[ACME])
        assert listed == (outcome == "goes on")
        assert json.dumps(watch.checkpoint())
