"""The files of the page, read once from the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from attrs import frozen

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@frozen
class Asset:
    """One file of the page."""

    content_type: str
    body: bytes
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """Return the files by name, such as ``wallboard.css``."""
    folder = files(__package__).joinpath("static")
    return {path.name: _asset(path.name, path.read_bytes()) for path in sorted(folder.iterdir(), key=lambda p: p.name)}


@cache
def version() -> str:
    """Return a digest of all files: it changes if any of them does."""
    return sha256("".join(asset.etag for asset in assets().values()).encode()).hexdigest()[:16]


def _asset(name: str, body: bytes) -> Asset:
    return Asset(_TYPES[name.rpartition(".")[2]], body, sha256(body).hexdigest()[:16])
