"""The diagrams show the code as it is."""

from __future__ import annotations

import importlib.util
import re

from docs.blocks import ROOT

from calls_in_progress_async import errors

DIAGRAMS = ROOT / "docs" / "diagrams"


def test_the_files_are_those_of_the_script() -> None:
    """Nobody edits a picture by hand: run docs/diagrams/draw.py after a change."""
    spec = importlib.util.spec_from_file_location("draw", DIAGRAMS / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    files = {path.name: path.read_text(encoding="utf-8") for path in DIAGRAMS.glob("*.svg")}
    assert files == draw.pictures(), "run python docs/diagrams/draw.py"


def test_the_error_tree_is_the_tree_of_classes() -> None:
    """Each class stands in the picture once, indented below its parent."""
    picture = (DIAGRAMS / "errors.svg").read_text(encoding="utf-8")
    above: dict[float, str] = {}
    drawn: dict[str, str | None] = {}
    for x, name in re.findall(r'<text x="([\d.]+)"[^>]*class="code name"[^>]*>(\w+)<', picture):
        above = {left: each for left, each in above.items() if left < float(x)}
        drawn[name] = above[max(above)] if above else None
        above[float(x)] = name
    real = {
        each.__name__: each.__bases__[0].__name__ if each is not errors.CallsInProgressError else None
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.CallsInProgressError)
    }
    assert drawn == real


def test_every_diagram_is_on_a_page() -> None:
    """A picture without a page is dead."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert [path.name for path in DIAGRAMS.glob("*.svg") if f"](diagrams/{path.name})" not in pages] == []
