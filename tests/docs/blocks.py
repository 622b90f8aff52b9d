"""Python blocks of the documentation, as whole programs.

    python tests/docs/blocks.py DIRECTORY

writes each block, each example and each notebook to a file of its own for a type checker.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [page for kind in ("*.md", "docs/**/*.md", "examples/*.md") for page in sorted(ROOT.glob(kind))]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").rglob("*.ipynb"))
_SHOWN = "# pyright: reportUnusedExpression=false\n"
"""The last expression of a cell is shown below it."""


def blocks(page: Path, language: str) -> list[Example]:
    """Return the blocks of a page in one language."""
    return list(Document.parse(str(page), CodeBlockParser(language)))


def programs() -> dict[str, str]:
    """Return the source of every Python block by a name that is a valid module name.

    Blocks of ``py`` need a server, and are run by tests of their own.
    """
    return {
        f"{page.stem}_{language}_{number}".replace("-", "_"): str(block.parsed)
        for page in PAGES
        for language in ("python", "py")
        for number, block in enumerate(blocks(page, language))
    }


def examples() -> dict[str, str]:
    """Return the source of every example, and of the cells of every notebook as the body of a coroutine function."""
    found = {f"example_{path.stem}": path.read_text(encoding="utf-8") for path in EXAMPLES}
    for path in NOTEBOOKS:
        body = textwrap.indent("\n".join(cells(path)), "    ")
        found[f"notebook_{path.stem}"] = f"{_SHOWN}async def notebook() -> None:\n{body}\n"
    return found


def cells(notebook: Path) -> list[str]:
    """Return the source of each code cell of a notebook."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def write(directory: Path) -> None:
    """Write the programs, and the strict settings of pyright beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob("*.py"):
        stale.unlink()
    for name, source in (programs() | examples()).items():
        (directory / f"{name}.py").write_text(source, encoding="utf-8")
    # Other libraries' partial types, such as aioresponses', are no fault of a program here.
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "reportUnknownMemberType": False}
    (directory / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
