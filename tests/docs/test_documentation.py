"""Every statement of the documentation about names, defaults and commands is true; conftest.py runs its blocks."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docs.blocks import PAGES, ROOT, examples, programs, write

import calls_in_progress_async
from calls_in_progress_async import CallsInProgressClient, RetryPolicy, errors
from calls_in_progress_async.cli.exit_codes import EPILOG, ExitCode
from calls_in_progress_async.cli.program import program

PACKAGE = ROOT / "calls_in_progress_async"


def test_programs_are_written_for_type_checkers(tmp_path: Path) -> None:
    """Each program and example becomes a file of its own, and files of removed programs go."""
    (tmp_path / "removed_0.py").touch()
    write(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.py")} == set(programs() | examples())
    assert "README_python_0" in programs()


def test_every_error_is_documented() -> None:
    """The table of errors has every raised error class."""
    page = (ROOT / "docs" / "errors.md").read_text()
    roots = {"CallsInProgressError", "ClientStateError", "TransportError", "ResponseError"}
    tree = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert {name for name in tree - roots if f"`{name}`" not in page} == set()


def test_the_screen_pop_answers_with_the_documented_statuses() -> None:
    """The table of errors and statuses is true for the program above it, and for the example."""
    page = (ROOT / "docs" / "how-to" / "fastapi.md").read_text()
    example = (ROOT / "examples" / "fastapi_screen_pop" / "screen_pop.py").read_text()
    rows = re.findall(r"^\| (`.+`) \| (\d+) \|", page, re.MULTILINE)
    documented = {name: status for names, status in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(documented) > 5
    for source in (page, example):
        statuses = {
            getattr(errors, name): status
            for name, status in re.findall(r"^    (\w+Error): (\d+),$", source, re.MULTILINE)
        }
        for name, status in documented.items():
            kinds = [kind for kind in statuses if issubclass(getattr(errors, name), kind)]
            assert statuses[kinds[0]] == status, name


def test_documented_defaults_are_the_defaults_of_the_code() -> None:
    """The table of defaults shows the same values as the constructors."""
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    parameters = inspect.signature(CallsInProgressClient).parameters
    policy = RetryPolicy()
    waits = f"{policy.max_attempts} attempts, waits up to {policy.initial:g} s, {policy.backoff(2, jitter=1):g} s"
    assert documented.pop("retry") == f"{waits}, ... {policy.maximum:g} s"
    units = {"timeout": " s", "attempt_timeout": " s", "connect_timeout": " s"}
    expected = {name: f"{parameters[name].default:g}{unit}" for name, unit in units.items()} | {
        "max_connections": str(parameters["max_connections"].default),
        "max_response_size": f"{parameters['max_response_size'].default // 2**20} MiB",
        "rate_limit": str(parameters["rate_limit"].default).lower(),
        **{name: f'`"{parameters[name].default}"`' for name in ("organization_type_case", "validate_phone_numbers")},
    }
    assert documented == expected


def test_help_lists_every_exit_code() -> None:
    """The help text lists each exit code and no other."""
    assert [int(code) for code in re.findall(r"^ +(\d+)  ", EPILOG, re.MULTILINE)] == list(ExitCode)


def test_commands_and_variables_in_the_readme_exist() -> None:
    """README.md names the real commands, extras, environment variables and dependencies."""
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


def test_the_readme_claims_the_measured_speed() -> None:
    """README.md's figures are those of the performance page, for the finds that it names."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "A find of 200 calls, 64 at once, with all of this and typed records, needs less than three quarters of" in (
        readme
    )
    assert "a find of one call needs less" in readme
    page = (ROOT / "docs" / "performance.md").read_text()
    ratio = re.compile(r"^\| ours / plain, \w+, (1|200) calls?, 64 at once \| ([\d.]+)", re.MULTILINE)
    measured = {size: max(float(each) for found, each in ratio.findall(page) if found == size) for size in ("1", "200")}
    assert measured["200"] < 0.75, "change README.md as well"
    assert measured["1"] < 0.9, "change README.md as well"


def test_the_pages_show_the_stored_figures() -> None:
    """Nobody edits a measured figure by hand: run benchmarks/page.py after a measurement."""
    pytest.importorskip("orjson")
    command = [sys.executable, str(ROOT / "benchmarks" / "page.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_readme_shows_a_picture_within_the_first_screen() -> None:
    """A picture stands above the first program."""
    readme = (ROOT / "README.md").read_text()
    assert "![" in readme.partition("```")[0]


def test_relative_links_lead_to_files_and_headings() -> None:
    """A relative link names a file in the repository, and a heading of it after a "#"."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} links to {target}"
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in slugs, f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("module", ["", ".fleet", ".opentelemetry", ".records", ".sandbox", ".testing", ".wallboard"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """The reference documents each exported name; errors come with their module."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    found = re.findall(r"auto(?:class|data|exception|function):: (?:[\w.]+\.)?(\w+)$", pages, re.MULTILINE)
    names = set(importlib.import_module(f"{calls_in_progress_async.__name__}{module}").__all__)
    assert names - {"__version__"} - set(found) - set(vars(errors)) == set()


def test_examples_in_docstrings_are_literal_blocks() -> None:
    """A single colon would make prose of an example in the reference."""
    for module in PACKAGE.rglob("*.py"):
        assert not re.search(r"^ *Examples?:$", module.read_text(encoding="utf-8"), re.MULTILINE), module


def test_the_table_of_modules_names_existing_files() -> None:
    """Each module named under "Where each thing lives" exists."""
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    table = page.partition("## Where each thing lives")[2].partition("\n## ")[0]
    modules = re.findall(r"`([\w/]+\.py)`", table)
    assert len(modules) > 5
    assert [name for name in modules if not (PACKAGE / name).exists()] == []
