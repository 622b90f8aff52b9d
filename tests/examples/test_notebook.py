"""The notebook runs from top to bottom, and is checked in without outputs."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import pytest
from docs.blocks import NOTEBOOKS, cells


async def test_every_cell_runs() -> None:
    """The cells run in order, as in a notebook, and make tables of calls and events."""
    pytest.importorskip("pandas")
    (notebook,) = NOTEBOOKS
    names: dict[str, Any] = {}
    for number, source in enumerate(cells(notebook)):
        ran = eval(compile(source, f"cell {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.isawaitable(ran):
            await ran
    assert set(names["calls"]["organization"]) <= {str(each) for each in names["organizations"]}
    assert len(names["calls"]) > 50
    assert {"call_started", "call_ended"} <= {event["event"] for event in names["events"]}


def test_notebooks_have_no_outputs() -> None:
    """Outputs would bury each change of a notebook in noise."""
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None
