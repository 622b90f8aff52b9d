"""The project's checks: ``nox -l`` lists them, ``nox`` runs those required of every change."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "api", "types", "coverage", "tests", "wheel"]

PACKAGE = "calls_in_progress_async"


def _is_installed(version: str) -> bool:
    """Return whether this Python runs. A version manager's shim may exist for an absent Python."""
    found = shutil.which(f"python{version}")
    return found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0


PYTHONS = [version for version in ("3.11", "3.12", "3.13", "3.14", "3.15") if _is_installed(version)]
STABLE = ["3.13"] if "3.13" in PYTHONS else PYTHONS[-1:]
"""The Python of checks on one version only."""
EXTRAS = {"cli", "otel", "fleet", "speed", "testing"}
"""The extras for users."""
SETTINGS = nox.project.load_toml("pyproject.toml")
PROJECT = SETTINGS["project"]
TOOLS = SETTINGS["dependency-groups"]
"""The pinned tools of a session, by its name."""


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite on each Python present, with the newest dependencies."""
    session.install("-e", ".[cli,test]")
    session.run("pytest", *session.posargs)


@nox.session(python=STABLE)  # the tracer of 3.11 misses lines after a raising await
def coverage(session: nox.Session) -> None:
    """Run the test suite and require full branch coverage."""
    session.install("-e", ".[cli,test]")
    session.run("pytest", "--cov", "--cov-report=term-missing", "--cov-fail-under=100", *session.posargs)


@nox.session(python=PYTHONS[:1])
def oldest(session: nox.Session) -> None:
    """Run the test suite with the oldest allowed dependencies."""
    required = list(PROJECT["dependencies"])
    for extra in EXTRAS - {"testing"}:  # pytest's plugins choose its version
        required += PROJECT["optional-dependencies"][extra]
    session.install("-e", ".[cli,test]", *(requirement.replace(">=", "==") for requirement in required))
    session.run("pytest", *session.posargs)


@nox.session(python=STABLE)
def browser(session: nox.Session) -> None:
    """Run the wallboard in a real browser: chromium must be installed, or the tests are skipped."""
    session.install("-e", ".[cli,test]", *TOOLS["browser"])
    session.run("pytest", "tests/wallboard", *session.posargs)


@nox.session(python=STABLE)
def examples(session: nox.Session) -> None:
    """Run the examples and the documentation's programs with the large libraries, which the test extra leaves out."""
    session.install("-e", ".[cli,test]", *TOOLS["examples"])
    session.run("pytest", "tests/examples", "tests/docs", "docs", "README.md", "CONTRIBUTING.md", *session.posargs)


@nox.session(python=STABLE)
def prereleases(session: nox.Session) -> None:
    """Run the test suite with aiohttp's newest pre-release."""
    session.install("-e", ".[cli,test]")
    session.install("--pre", "-U", "aiohttp")
    session.run("pytest", *session.posargs)


@nox.session(python="3.14t")
def free_threading(session: nox.Session) -> None:
    """Run the test suite on a free-threaded Python, and require that no dependency switches the GIL on."""
    session.install("-e", ".[cli,test]")
    session.run("python", "-W", "error", "-c", f"import {PACKAGE}, sys; assert not sys._is_gil_enabled()")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check rules and format with Ruff."""
    session.install(*TOOLS["lint"])
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def api(session: nox.Session) -> None:
    """Compare the public API with its snapshot; ``-- --accept`` takes a change over."""
    session.install(*TOOLS["api"])
    session.run("python", "tests/api/snapshot.py", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Type-check the package, its public API, and every Python block of the documentation."""
    session.install(".[cli,test]", *TOOLS["types"])
    session.run("mypy")
    session.run("pyright")
    blocks = Path(session.create_tmp()).resolve() / "blocks"
    session.run("python", "tests/docs/blocks.py", str(blocks))
    with session.chdir(blocks):  # a user's type checker sees the installed package
        session.run("mypy", "--strict", ".")
        session.run("pyright", ".")
        session.run("pyright", "--verifytypes", PACKAGE, "--ignoreexternal")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build wheel and sdist, check both, and use the wheel bare and with each extra in an empty environment.

    ``-- cli`` checks that extra alone.
    """
    session.install(*TOOLS["wheel"])
    temporary = Path(session.create_tmp()).resolve()
    distribution, direct = Path("dist").resolve(), temporary / "direct"  # a release uploads dist
    for folder in (distribution, direct):
        shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(distribution), silent=True)  # the sdist, and a wheel from it
    session.run("python", "-m", "build", "--wheel", "--outdir", str(direct), silent=True)
    (built,), (source,), (other,) = distribution.glob("*.whl"), distribution.glob("*.tar.gz"), direct.glob("*.whl")
    if built.read_bytes() != other.read_bytes():
        session.error("expected the same wheel from the sdist and from the repository, they differ: see sdist.include")
    session.run("twine", "check", "--strict", str(built), str(source))
    session.run("check-wheel-contents", str(built))
    session.run("python", "tests/check_sbom.py", str(built))
    for extra in (None, *(session.posargs or sorted(EXTRAS))):
        empty = temporary / f"empty-{extra}"
        session.run("python", "-m", "venv", "--clear", str(empty))
        python = str(empty / "bin" / "python")
        session.run(python, "-m", "pip", "install", "-q", f"{built}[{extra}]" if extra else str(built), external=True)
        session.run(python, "tests/check_wheel.py", *filter(None, [extra]), external=True)
        if extra == "cli":
            session.run(str(empty / "bin" / "calls-in-progress"), "demo", "--seconds", "2", external=True)
            if not (empty / "share" / "man" / "man1" / "calls-in-progress.1").exists():
                session.error("expected a man page in the environment, found none: see shared-data in pyproject.toml")


@nox.session(python=STABLE)
def openapi(session: nox.Session) -> None:
    """Hold the sandbox to the OpenAPI description with schemathesis, in every revision."""
    session.install(".", *TOOLS["openapi"])  # apart from the tests: it needs versions of its own
    session.run("python", "tests/docs/check_sandbox.py")


@nox.session(python=STABLE)  # Sphinx needs 3.12
def docs(session: nox.Session) -> None:
    """Build the documentation site; a warning is an error."""
    session.install("-e", ".[cli,fleet,otel,testing]", *TOOLS["docs"])
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def workflows(session: nox.Session) -> None:
    """Audit the workflows of GitHub with zizmor."""
    session.install(*TOOLS["workflows"])
    session.run("zizmor", "--offline", "--persona", "pedantic", ".github")


@nox.session
def changelog(session: nox.Session) -> None:
    """Show the next section of the changelog; ``-- --version 1.2.0`` writes the section and removes its fragments."""
    session.install(*TOOLS["changelog"])
    session.run("towncrier", "build", "--yes", *(session.posargs or ["--draft", "--version", "next"]))


@nox.session
def cost_guard(session: nox.Session) -> None:
    """Compare memory and instructions of the hot paths with the merge base; ``-- --base REF`` names another."""
    session.install("-e", ".")
    session.run("python", "benchmarks/guard.py", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run every benchmark; ``nox -s benchmarks -- --quick`` is a first look."""
    session.install("-e", ".[cli,fleet,speed,test,benchmarks]")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Send 200,000 requests with faults and cancellations and account for each of them."""
    session.install("-e", ".[speed]", "psutil")
    session.run("python", "benchmarks/soak.py", *session.posargs)
