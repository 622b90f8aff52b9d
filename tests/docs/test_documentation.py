"""What the documentation shows runs, and what it says of commands is true."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from calls_in_progress_async import errors
from calls_in_progress_async.sandbox import SandboxServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
]
EXAMPLES = [pytest.param(path.read_text(), id=path.stem) for path in sorted((ROOT / "examples").glob("*.py"))]


async def run(program: str, **environment: str) -> tuple[int | None, str]:
    """Run a program with warnings as errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


@pytest.mark.parametrize("program", [*BLOCKS, *EXAMPLES])
async def test_every_program_shown_runs(program: str) -> None:
    """Each code block and example is a whole program, and ends well against the sandbox."""
    async with SandboxServer(organizations=10, seed=7, mean_call_seconds=20, speed=20) as sandbox:
        status, output = await run(
            program, CALLS_IN_PROGRESS_BASE_URL=sandbox.url, CALLS_IN_PROGRESS_TOKEN=sandbox.token
        )
    assert status == 0, output
    assert output


def test_every_error_is_documented() -> None:
    """The table of errors has every class of the tree that is raised."""
    page = (ROOT / "docs" / "errors.md").read_text()
    roots = {"CallsInProgressError", "ClientStateError", "TransportError", "ResponseError"}
    tree = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert {name for name in tree - roots if f"`{name}`" not in page} == set()


def test_links_within_the_repository_lead_somewhere() -> None:
    """A relative link names a file that exists."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
