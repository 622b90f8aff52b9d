"""A real browser: Debian's or Ubuntu's chromium, driven by playwright. Tests are skipped by name without either."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [
    name
    for name, there in (("chromium", CHROMIUM), ("playwright", importlib.util.find_spec("playwright")))
    if not there
]
needs_browser = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} missing")
_PATIENCE = 15_000  # milliseconds


@asynccontextmanager
async def launch() -> AsyncIterator[Any]:
    """Start the browser, without a window."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - it may be missing

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def open_page(
    browser: Any, url: str, *, width: int = 1440, height: int = 900, **options: Any
) -> AsyncIterator[Any]:
    """Open an address in a fresh profile; an error of the page, or of its policy, fails the test."""
    problems: list[str] = []
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    page = await context.new_page()
    page.set_default_timeout(_PATIENCE)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if _is_problem(message.text) else None)
    await page.goto(url)
    yield page
    await context.close()
    assert problems == []


def _is_problem(text: str) -> bool:
    return "Content Security Policy" in text or "Uncaught" in text


async def until(page: Any, condition: str, argument: Any = None) -> Any:
    """Wait until a JavaScript expression (a function of the argument, if any) is true."""
    return await (await page.wait_for_function(condition, arg=argument)).json_value()


def axe_source() -> str:
    """Return the source of axe-core, from a wheel that carries it; skip the test without the wheel."""
    pytest.importorskip("axe_playwright_python", reason="axe-core missing: pip install axe-playwright-python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


async def violations(page: Any, *exclude: str) -> list[str]:
    """Return what axe-core finds wrong with a page, outside the excluded parts."""
    await page.evaluate(axe_source())
    found = await page.evaluate("exclude => axe.run({include: [['html']], exclude})", [[each] for each in exclude])
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
