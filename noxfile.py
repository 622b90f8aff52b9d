"""The project's checks: ``nox -l`` lists them, ``nox`` runs those that a change must pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "coverage", "tests", "wheel"]


def _runs(version: str) -> bool:
    """Whether there is such a Python: a shim of a version manager may be all there is."""
    found = shutil.which(f"python{version}")
    return found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0


PYTHONS = [version for version in ("3.11", "3.12", "3.13") if _runs(version)]
PROJECT = nox.project.load_toml("pyproject.toml")["project"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The test suite, on each Python present, with the newest dependencies."""
    session.install("-e", ".[cli,test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[-1:])  # the tracer of 3.11 loses lines after an await that raises
def coverage(session: nox.Session) -> None:
    """The test suite, which must run through every branch."""
    session.install("-e", ".[cli,test]")
    session.run("pytest", "--cov", "--cov-report=term-missing", "--cov-fail-under=100", *session.posargs)


@nox.session(python=PYTHONS[:1])
def oldest(session: nox.Session) -> None:
    """The test suite with the oldest dependencies that the package allows."""
    required = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]]
    session.install("-e", ".[cli,test]", *(requirement.replace(">=", "==") for requirement in required))
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[-1:])
def browser(session: nox.Session) -> None:
    """The wallboard in a real browser: chromium must be installed, or the tests are skipped."""
    session.install("-e", ".[cli,test]", "playwright==1.65.2")
    session.run("pytest", "tests/wallboard", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("ruff==0.17.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy over the package, mypy and pyright over the public API as a user would write it."""
    session.install("-e", ".[cli,test]", "mypy==2.4.1", "pyright==1.1.414")
    session.run("mypy")
    session.run("pyright")


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel, in an environment that holds nothing else, does what the README says."""
    session.install("build")
    distribution = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(distribution, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(distribution), silent=True)
    (built,) = distribution.glob("*.whl")
    empty = Path(session.create_tmp()).resolve() / "empty"
    session.run("python", "-m", "venv", "--clear", str(empty))
    python = str(empty / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", str(built), external=True)
    session.run(python, "tests/check_wheel.py", external=True)
    session.run(python, "-m", "pip", "install", "-q", f"{built}[cli]", external=True)
    session.run(str(empty / "bin" / "calls-in-progress"), "demo", "--seconds", "2", external=True)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Every benchmark; ``nox -s benchmarks -- --quick`` for a first look."""
    session.install("-e", ".[cli,speed,benchmarks]")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """200,000 requests with faults and cancellations, each accounted for."""
    session.install("-e", ".[speed]", "psutil")
    session.run("python", "benchmarks/soak.py", *session.posargs)
