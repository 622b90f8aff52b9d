"""The pytest plugin works in the project of a user, under the plugins that run asynchronous tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNERS = pytest.mark.parametrize(
    "marker", ["pytest.mark.asyncio", "pytest.mark.anyio"], ids=["pytest-asyncio", "anyio"]
)
TESTS = """

import pytest

from calls_in_progress_async import CallEnded, CallStarted, Organization

pytestmark = {marker}
ACME = Organization.advertiser(2)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def address(calls_in_progress_sandbox):
    return calls_in_progress_sandbox.url


async def test_find(calls_in_progress_client, calls_in_progress_sandbox, address):
    assert calls_in_progress_client.base_url == address
    made = calls_in_progress_sandbox.start_call(ACME)
    assert [call.transaction_id for call in await calls_in_progress_client.find(ACME)] == [made]


class TestInAClass:
    @pytest.mark.calls_in_progress_client(timeout=60)
    @pytest.mark.calls_in_progress_sandbox(organizations=2)
    async def test_an_hour(self, calls_in_progress_client, calls_in_progress_sandbox, calls_in_progress_clock):
        seen = []
        before = calls_in_progress_clock.now
        calls_in_progress_sandbox.start_call(ACME, seconds=3600)
        async with calls_in_progress_client.watch([ACME], interval=60) as watch:
            async for event in watch:
                seen.append(type(event))
                if isinstance(event, CallEnded):
                    break
        assert seen == [CallStarted, CallEnded]
        assert 3600 <= calls_in_progress_clock.now - before < 3700
        assert len(calls_in_progress_sandbox.organizations) == 2
"""


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    """Run pytest on a file in a process of its own, with this plugin."""
    pytester.makepyfile(source)
    fixed = (
        *("-p", "pytest_calls_in_progress", "-p", "no:cacheprovider", "-n", "0", "--strict-markers", "-W", "error"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    return pytester.runpytest_subprocess(*fixed, *options)


@RUNNERS
def test_the_fixtures_work(pytester: pytest.Pytester, marker: str) -> None:
    """A client finds a sandbox's call, and an hour's watch takes seconds."""
    run(pytester, TESTS.format(marker=marker)).assert_outcomes(passed=2)


def test_a_synchronous_test_is_told_what_to_do(pytester: pytest.Pytester) -> None:
    """The sandbox lives in the test's event loop, so there has to be one."""
    result = run(pytester, "def test_find(calls_in_progress_sandbox): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*calls_in_progress_sandbox needs an asynchronous test: write `async def test_find`*"])


def test_another_loop_is_told_what_to_do(pytester: pytest.Pytester) -> None:
    """A loop without a selector has no clock to replace."""
    pytest.importorskip("uvloop")
    source = """
        import pytest, uvloop

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"use_uvloop": True}

        @pytest.mark.anyio
        async def test_it(calls_in_progress_clock):
            pass
    """
    result = run(pytester, source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the virtual clock needs an asyncio.SelectorEventLoop, got *uvloop.Loop*"])


PRIVATE_TESTS = """
import logging
import sys
import warnings

import pytest

from calls_in_progress_async import Organization

pytestmark = pytest.mark.asyncio
ACME = Organization.advertiser(2)
NUMBER = "+18055550142"


@pytest.fixture
def call(calls_in_progress_sandbox, calls_in_progress_client):
    async def find():
        people = {"demographics_data": {"display_name_data_append": "Wei Lindqvist", "carrier_data_append": "x" * 9}}
        calls_in_progress_sandbox.start_call(ACME, calling_phone_number=NUMBER, custom_data=people)
        (call,) = await calls_in_progress_client.find(ACME)
        calls_in_progress_sandbox.change_call(ACME, call.transaction_id, calling_phone_number="+18055550143")
        calls_in_progress_sandbox.end_call(ACME, call.transaction_id)
        return call

    return find


async def test_nothing(assert_private, call, tmp_path, capsys):
    print(await call())
    (tmp_path / "log.txt").write_text("all is well " + "x" * 9)


async def test_a_log(assert_private, call):
    logging.getLogger("app").warning("a call: %s", (await call()).to_json())


async def test_output(assert_private, call, capsys):
    print((await call()).demographics_data)
    assert "Wei" in capsys.readouterr().out


async def test_a_warning(assert_private, call):
    warnings.warn((await call()).calling_phone_number)


async def test_a_file(call, tmp_path, assert_private):
    (tmp_path / "log.txt").write_bytes((await call()).calling_phone_number.encode().hex().encode())


async def test_the_token(assert_private, calls_in_progress_sandbox):
    sys.stderr.write(calls_in_progress_sandbox.token)


async def test_a_marked_value(assert_private):
    assert_private.mark("a value of the test's own")
    assert_private.look_at("the page", b"<p>A value of the test's own</p>")
"""


def test_a_leak_fails_the_test(pytester: pytest.Pytester) -> None:
    """Each test passes, and the check after the test is an error for each that leaks."""
    result = run(pytester, PRIVATE_TESTS, "-W", "default")
    result.assert_outcomes(passed=7, errors=6, warnings=1)
    places = ["a log record of app", "stdout", "a warning", "file log.txt", "stderr", "the page"]
    for place in places:
        result.stdout.fnmatch_lines([f"*characters) in {place}, as *"])
    assert "+18055550142 in" not in result.stdout.str()


def test_an_empty_run_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    """Neither aiohttp nor the package is imported while pytest collects."""
    source = """
        import sys

        def test_modules():
            heavy = {"aiohttp", "calls_in_progress_async"} & {name.partition(".")[0] for name in sys.modules}
            assert not heavy
    """
    run(pytester, source, "-p", "no:anyio").assert_outcomes(passed=1)


def test_the_plugin_is_registered() -> None:
    """The project names the plugin's module for pytest, and the wheel has the module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_calls_in_progress": "pytest_calls_in_progress"}
    assert "/pytest_calls_in_progress.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
