"""The access log, with phone numbers, ids and tokens hidden."""

from __future__ import annotations

import re

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

_SHOWN = ("id", "organization_type")
_VALUE = re.compile(r"(?<=[?&])([^=&]*)=([^&]*)")


def hide_values(target: str) -> str:
    """Hide the values in the query of a path, except for the organization's."""
    return _VALUE.sub(lambda found: found[0] if found[1] in _SHOWN else f"{found[1]}=[hidden]", target)


class AccessLog(AbstractAccessLogger):
    """Logs one line a request: method, path, status and seconds."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log a request and its response."""
        target = hide_values(request.raw_path)
        self.logger.info("%s %s %s %.3f s", request.method, target, response.status, time)
