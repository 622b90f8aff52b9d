"""Headers of every response, the page token, and the names under which the server may be addressed."""

from __future__ import annotations

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .assets import assets
from .settings import BoardSettings

_COOKIE = "calls-in-progress-wallboard"
_COOKIE_SECONDS = 400 * 24 * 3600
"""The longest lifetime of a cookie in browsers, because a wall is signed in once."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers; an ``on_response_prepare`` signal."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def host_check(settings: BoardSettings) -> Middleware:
    """Make the middleware against requests under other host names than the allowed ones."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if settings.allowed_hosts is not None and _host_name(request.host) not in settings.allowed_hosts:
            raise web.HTTPMisdirectedRequest(text="The wallboard is not served under this host name.")
        return await handler(request)

    return check


def _host_name(host: str) -> str:
    return (host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]).lower()


class Gate:
    """Asks for the page token, once a browser.

    Args:
        token: The page token; None opens the page to everybody.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token = None if token is None else token.strip()
        # The cookie is not the token, and stays valid over a restart: an upgrade must not sign a wall out.
        self._cookie = None if token is None else hmac.new(token.encode(), b"wallboard", "sha256").hexdigest()

    def is_open_to(self, request: web.Request) -> bool:
        """Return True if the request carries the cookie of a sign-in, or the token as ``Authorization: Bearer``."""
        if self._token is None or self._cookie is None:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return _equal(request.cookies.get(_COOKIE, ""), self._cookie) or (
            scheme.lower() == "bearer" and _equal(token.strip(), self._token)
        )

    def check(self, request: web.Request) -> None:
        """Reject a request without the token.

        Raises:
            web.HTTPUnauthorized: The request carries neither the cookie nor the token.
        """
        if not self.is_open_to(request):
            raise web.HTTPUnauthorized(text="The page token is needed.", headers={"WWW-Authenticate": "Bearer"})

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Exchange the token of the sign-in form for a cookie."""
        form = await request.post()
        if self._token is None or self._cookie is None or not _equal(str(form.get("token", "")).strip(), self._token):
            return sign_in_page()
        response = web.Response(status=303, headers={"Location": "./"})
        response.set_cookie(
            _COOKIE,
            self._cookie,
            max_age=_COOKIE_SECONDS,
            path=request.path.rpartition("/")[0] + "/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response


def sign_in_page() -> web.Response:
    """Return the sign-in page."""
    page = assets()["sign-in.html"]
    return web.Response(body=page.body, content_type=page.content_type, charset="utf-8", status=401)


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
