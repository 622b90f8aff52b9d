"""The table of docs/faults.md about watches is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from timing import passes
from watch.scripted_calls import ACME, ScriptedCalls, call, take_all

from calls_in_progress_async.testing import status

pytestmark = pytest.mark.usefixtures("on_virtual_clock")

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
TABLE = re.search(r"<!-- polls -->(.*?)<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ROW = re.compile(r"^\| (\d{3}) `(.+?)` \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = ROW.findall(TABLE[1]) if TABLE else []


def test_the_table_is_there() -> None:
    """The page's table has rows, so the checks below can fail."""
    assert len(ROWS) > 10


@pytest.mark.parametrize(("code", "body", "events", "outcome"), ROWS)
async def test_a_row(server: ScriptedCalls, code: str, body: str, events: str, outcome: str) -> None:
    """Each row tells the events of a watch and the fate of its call."""
    server.calls[ACME] = [call("A", calling_phone_number="+18005551234")]
    async with server.watch(ACME) as watch:
        await passes(6)
        await take_all(watch)
        server.errors[ACME] = status(int(code), body=body.encode())
        await passes(60)
        told = [f"`{type(event).__name__}`" for event in await take_all(watch)]
        assert ", ".join(told) == events.replace("none", "")
        listed = any(each.transaction_id == "A" for each in watch.calls[ACME])
        assert listed == (outcome == "goes on")
        assert json.dumps(watch.checkpoint())
