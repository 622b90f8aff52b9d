"""What the documentation shows runs, and what it says of commands is true."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from calls_in_progress_async import CallsInProgressClient, RetryPolicy, errors
from calls_in_progress_async.cli.exit_codes import EPILOG, ExitCode
from calls_in_progress_async.cli.program import program
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


def test_the_defaults_that_are_documented_are_the_codes() -> None:
    """The table of defaults says what the constructors say."""
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    parameters = inspect.signature(CallsInProgressClient).parameters
    policy = RetryPolicy()
    waits = f"{policy.max_attempts} attempts, waits up to {policy.initial:g} s, {policy.backoff(2, lambda: 1):g} s"
    assert told.pop("retry") == f"{waits}, ... {policy.maximum:g} s"
    units = {"timeout": " s", "attempt_timeout": " s", "connect_timeout": " s"}
    expected = {name: f"{parameters[name].default:g}{unit}" for name, unit in units.items()} | {
        "max_connections": str(parameters["max_connections"].default),
        "max_response_size": f"{parameters['max_response_size'].default // 2**20} MiB",
        "rate_limit": str(parameters["rate_limit"].default).lower(),
        **{name: f'`"{parameters[name].default}"`' for name in ("organization_type_case", "validate_phone_numbers")},
    }
    assert told == expected


def test_the_exit_codes_that_help_lists_are_the_programs() -> None:
    """Each of them, and no other."""
    assert [int(code) for code in re.findall(r"^ +(\d+)  ", EPILOG, re.MULTILINE)] == list(ExitCode)


def test_the_commands_and_variables_that_are_documented_exist() -> None:
    """What README says that there is: commands, extras, environment variables, and what the core installs."""
    readme = (ROOT / "README.md").read_text()
    line = re.search(r"adds `calls-in-progress`: ([^.]*)\.", readme)
    assert line is not None
    assert set(re.findall(r"`(\w+)`", line[1])) == set(program.commands)
    for name in set(re.findall(r"CALLS_IN_PROGRESS_\w+", readme)):
        assert name in EPILOG
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    installs = re.search(r"The core installs ([^.]*)\.", readme)
    assert installs is not None
    assert set(re.split(r", | and ", installs[1])) == core
    assert {re.split(r"[<>=]", each)[0] for each in project["optional-dependencies"]["cli"]} == {"click", "rich"}


def test_links_within_the_repository_lead_somewhere() -> None:
    """A relative link names a file that exists."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
