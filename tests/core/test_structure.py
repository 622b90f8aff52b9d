"""The structure of the package, read from its source with `ast`."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import calls_in_progress_async

ROOT = Path(calls_in_progress_async.__file__).parent
NAME = ROOT.name
MODULES = sorted(ROOT.rglob("*.py"))


def parts(module: Path) -> tuple[str, ...]:
    return module.relative_to(ROOT).with_suffix("").parts


@functools.cache
def imports(module: Path) -> frozenset[str]:
    """Return the full names of a module's imports, `if TYPE_CHECKING` aside."""
    package = (NAME, *parts(module)[:-1])
    found: set[str] = set()
    queue: list[ast.AST] = [ast.parse(module.read_text(encoding="utf-8"))]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else ()
            origin = (*origin, *filter(None, [node.module]))
            found |= {".".join((*origin, alias.name)) for alias in node.names}
        queue += ast.iter_child_nodes(node)
    return frozenset(found)


def importers(library: str) -> set[str]:
    """Return the modules with an import of a library, as paths in the package."""
    return {
        "/".join(parts(module))
        for module in MODULES
        if any(f"{name}.".startswith(f"{library}.") for name in imports(module))
    }


def test_the_reader_of_imports_sees_them() -> None:
    """A test of imports must see imports."""
    assert f"{NAME}.transport.wire.WireRequest" in imports(ROOT / "endpoints" / "current_calls.py")
    assert f"{NAME}.validation" in imports(ROOT / "organization.py")
    assert f"{NAME}.endpoints.current_calls.CurrentCallsRequest" in imports(ROOT / "__init__.py")
    assert "aiohttp" in imports(ROOT / "transport" / "aiohttp_transport.py")
    assert "phonenumbers" in imports(ROOT / "phone_numbers.py")


@pytest.mark.parametrize(
    ("library", "door"),
    [
        ("tenacity", {"transport/retry_loop"}),
        ("phonenumbers", {"phone_numbers"}),
        ("cattrs", {"records/codec"}),
        ("msgspec", {"records/codec"}),
        ("opentelemetry", {"opentelemetry"}),
        ("nats", {"fleet/connection"}),
    ],
)
def test_an_outside_library_is_imported_in_one_module(library: str, door: set[str]) -> None:
    """Each dependency is imported in one module only."""
    assert {each for each in importers(library) if not each.startswith("sandbox/")} == door


@pytest.mark.parametrize("library", ["aiohttp", "yarl", "multidict"])
def test_the_clients_aiohttp_is_under_transport(library: str) -> None:
    """The sandbox and the wallboard are servers of their own, and may import it too."""
    assert {each.partition("/")[0] for each in importers(library)} <= {"transport", "sandbox", "wallboard"}
    assert "transport/aiohttp_transport" in importers("aiohttp")


def test_only_the_fixtures_import_pytest() -> None:
    """Scripted transports and clocks work in any test framework."""
    assert importers("pytest") == {"testing/fixtures"}


@pytest.mark.parametrize("library", ["click", "rich", "typer"])
def test_only_the_command_line_imports_its_libraries(library: str) -> None:
    """Click and rich are in an extra, so only the command line may import them."""
    assert {each.partition("/")[0] for each in importers(library)} <= {"cli", "__main__"}


def own_imports(module: Path) -> set[str]:
    return {name.removeprefix(f"{NAME}.") for name in imports(module) if name.startswith(f"{NAME}.")}


def of(folder: str) -> list[Path]:
    return [module for module in MODULES if parts(module)[0] == folder]


def test_nothing_imports_the_command_line() -> None:
    """Only __main__ and cli itself import cli."""
    for module in MODULES:
        if parts(module)[0] not in ("cli", "__main__"):
            assert not [name for name in own_imports(module) if name.partition(".")[0] == "cli"], module


def test_only_the_command_line_and_the_testing_kit_import_the_sandbox() -> None:
    """The sandbox imports a few leaves of the client only, so the two cannot share a misreading of the API."""
    for module in MODULES:
        room = parts(module)[0]
        sandbox = {name for name in own_imports(module) if name.startswith("sandbox")}
        if room == "sandbox":
            leaves = own_imports(module) - sandbox
            assert leaves <= {"accepting.finish_accepting", "clock", "validation", "organization.Organization"}, module
        elif room not in ("cli", "testing"):
            assert not sandbox, module
            assert not [name for name in own_imports(module) if name.startswith("testing")], module


def test_records_import_nothing_of_http() -> None:
    """The records import nothing of transport, endpoints or the client."""
    assert of("records")
    for module in of("records"):
        assert not [name for name in own_imports(module) if name.startswith(("transport", "endpoints", "client"))], (
            module
        )


def test_transport_imports_nothing_of_calls() -> None:
    """Transport imports nothing of records, endpoints, watches or the client."""
    assert of("transport")
    for module in of("transport"):
        unwanted = (
            "records",
            "endpoints",
            "client",
            "watch",
            "find_many",
            "wait_for_call",
            "response_cache",
            "phone_numbers",
        )
        assert not [name for name in own_imports(module) if name.startswith(unwanted)], module


def test_the_core_does_not_stand_on_polling() -> None:
    """Polling stands on the client; the client only opens it."""
    for module in MODULES:
        if parts(module)[0] in ("records", "transport", "endpoints", "limits", "validation", "errors", "organization"):
            assert not [name for name in own_imports(module) if name.startswith(("watch", "client"))], module


def loaded_by(statement: str) -> list[str]:
    """Return the modules that a new process has after a statement."""
    script = f"import sys; {statement}; print(*sorted(sys.modules))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_is_light() -> None:
    """Extras, watches, the sandbox, the command line, and libraries for rare cases are imported on first use."""
    loaded = loaded_by(f"import {NAME}")
    assert f"{NAME}.client" in loaded
    unwanted = ("phonenumbers", "rich", "click", "pytest", "opentelemetry", "nats", "cattrs", "tenacity")
    own = ("sandbox", "testing", "cli", "fleet", "watch", "find_many", "wait_for_call", "endpoints.update_call")
    unwanted += tuple(f"{NAME}.{each}" for each in own)
    assert [name for name in loaded if f"{name}.".startswith(tuple(f"{each}." for each in unwanted))] == []


def test_a_program_that_imports_an_event_has_the_watch() -> None:
    """Its first watch imports nothing in the event loop."""
    assert f"{NAME}.watch.opening" in loaded_by(f"from {NAME} import CallStarted")


def test_the_public_names_are_there() -> None:
    """__all__ is sorted, has no name twice, and dir() shows each of its names."""
    names = calls_in_progress_async.__all__
    assert list(names) == sorted(set(names), key=lambda name: (name.startswith("_"), name))
    assert set(names) <= set(dir(calls_in_progress_async))
    assert all(hasattr(calls_in_progress_async, name) for name in names)
    assert (ROOT / "py.typed").exists()
