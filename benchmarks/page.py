"""Write the tables of ``docs/performance.md`` and ``docs/wallboard.md`` from the stored figures.

    python benchmarks/page.py [--check]

With ``--check`` nothing is written, and a page that differs from the figures is an error.
The figures of ``find`` go between ``<!-- results: find -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import results
from measuring import Table, load, shown

_DOCUMENTATION = Path(__file__).parents[1] / "docs"
PAGES = (_DOCUMENTATION / "performance.md", _DOCUMENTATION / "wallboard.md")
_REGION = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MET = {True: "met", False: "**not met**", None: ""}


def write(directory: Path = results.DIRECTORY) -> None:
    """Rewrite the pages."""
    for page in PAGES:
        page.write_text(rewritten(page, directory))


def rewritten(page: Path, directory: Path = results.DIRECTORY) -> str:
    """Return a page with the tables of the stored figures between its markers."""

    def region(found: re.Match[str]) -> str:
        name = found[2]
        lines = _machine(directory) if name == "machine" else _tables(name, directory)
        text = "\n".join(lines)
        return f"{found[1]}\n{text}\n\n{found[3]}"

    return _REGION.sub(region, page.read_text())


def _machine(directory: Path) -> Iterator[str]:
    where, _ = load(directory / "find.json")
    yield f"{where['processor']}, {where['cores']} cores, {where['system']}, Python {where['python']}, {where['taken']}"
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in where["versions"].items())


def _tables(name: str, directory: Path) -> Iterator[str]:
    for number, table in enumerate(results.tables_of(name, directory)):
        if number:
            yield ""
        yield from _figures(table)
        yield from _verdicts(table)


def _figures(table: Table) -> Iterator[str]:
    # Units "as named" are in the headings of the columns.
    notes = "; ".join(filter(None, (table.unit.removeprefix("as named"), table.about.rstrip("."))))
    yield f"**{table.title}**{f' ({notes})' if notes else ''}"
    for loop, columns in _by_loop(table.columns).items():
        yield ""
        yield f"| {loop} | {' | '.join(columns.values())} |"
        yield "|---|" + "---:|" * len(columns)
        for row, cells in table.cells.items():
            if any(column in cells for column in columns):
                yield f"| {row} | {' | '.join(_cell(table, row, column) for column in columns)} |"


def _by_loop(columns: list[str]) -> dict[str, dict[str, str]]:
    """Group columns by the event loop in their names, so that a wide table becomes one table for each loop."""
    if len(columns) <= 4 or not all(column.startswith(("asyncio, ", "uvloop, ")) for column in columns):
        return {"": {column: column for column in columns}}
    found: dict[str, dict[str, str]] = {}
    for column in columns:
        loop, _, rest = column.partition(", ")
        found.setdefault(loop, {})[column] = rest
    return found


def _cell(table: Table, row: str, column: str) -> str:
    figures = table.cells[row].get(column)
    if not figures:
        return ""
    spread = f" ({shown(min(figures))} to {shown(max(figures))})" if len(figures) > 1 else ""
    return f"{shown(table.median(row, column))}{spread}"


def _verdicts(table: Table) -> Iterator[str]:
    if not table.verdicts:
        return
    yield ""
    yield "| claim | measured | target | |"
    yield "|---|---:|---:|---|"
    for each in table.verdicts:
        bound = "" if each.target is None else f"{'>=' if each.more_is_better else '<='} {each.target:g}"
        yield f"| {each.claim} | {shown(each.value)} | {bound} | {_MET[each.met]} |"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        write()
    elif old := [page.name for page in PAGES if page.read_text() != rewritten(page)]:
        sys.exit(f"{', '.join(old)} differ from benchmarks/results: run python benchmarks/page.py")
