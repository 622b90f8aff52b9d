"""Names of other projects' documentation, so that a build needs no network.

Sphinx reads inventories from files. Fetched ones would be large, and would fail a build without a network.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

PYTHON = "https://docs.python.org/3/"
AIOHTTP = "https://docs.aiohttp.org/en/stable/"
OPENTELEMETRY = "https://opentelemetry-python.readthedocs.io/en/latest/"

CLASSES: Mapping[str, Mapping[str, str]] = {
    PYTHON: {
        **{
            f"collections.abc.{name}": f"library/collections.abc.html#collections.abc.{name}"
            for name in ("AsyncIterable", "Callable", "Hashable", "Iterable", "Mapping", "Sequence")
        },
        "collections.Counter": "library/collections.html#collections.Counter",
        "collections.deque": "library/collections.html#collections.deque",
        "contextlib.AbstractAsyncContextManager": "library/contextlib.html#contextlib.AbstractAsyncContextManager",
        "contextvars.Context": "library/contextvars.html#contextvars.Context",
        "datetime.datetime": "library/datetime.html#datetime.datetime",
        "os.PathLike": "library/os.html#os.PathLike",
        "ssl.SSLContext": "library/ssl.html#ssl.SSLContext",
        "ssl_module.SSLContext": "library/ssl.html#ssl.SSLContext",
    },
    AIOHTTP: {
        "ClientSession": "client_reference.html#aiohttp.ClientSession",
        "Fingerprint": "client_reference.html#aiohttp.Fingerprint",
        "aiohttp.web_app.Application": "web_reference.html#aiohttp.web.Application",
    },
    OPENTELEMETRY: {
        "MeterProvider": "api/metrics.html#opentelemetry.metrics.MeterProvider",
        "TextMapPropagator": "api/propagate.html",
        "TracerProvider": "api/trace.html#opentelemetry.trace.TracerProvider",
    },
}
"""Address of each class below the project's own address. The names are those of our type hints."""


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory for each project.

    Returns:
        The setting `intersphinx_mapping`.
    """
    mapping = {}
    for number, (url, classes) in enumerate(CLASSES.items()):
        file = folder / f"{number}.inv"
        header = "# Sphinx inventory version 2\n# Project: -\n# Version: -\n# The remainder is compressed using zlib.\n"
        lines = "".join(f"{name} py:class 1 {address} -\n" for name, address in classes.items())
        file.write_bytes(header.encode() + zlib.compress(lines.encode()))
        mapping[f"other{number}"] = (url, str(file))
    return mapping
