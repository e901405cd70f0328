# SPDX-License-Identifier: Apache-2.0
"""Who may ask for what: the token, the host name, the origin, the size of a request, and what a page may load."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

__all__ = ["COOKIE", "HEADER", "LIMIT_BYTES", "Guard"]

COOKIE: Final = "pitviper_token"
HEADER: Final = "x-pitviper"
"""A browser lets no foreign page send it: whatever changes something asks for it."""
LIMIT_BYTES: Final = 4096
_SAFE: Final = ("GET", "HEAD")
_HEADERS: Final = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'; object-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"cross-origin-resource-policy": b"same-origin",
}

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: What it guards.
        token: Needed as ``Authorization: Bearer``, as the cookie that ``/?token=`` sets, or not at all (None).
        hosts: Names under which the page may be asked for, without port; empty for any. It keeps foreign pages from
            reaching a server on localhost through a name of their own (DNS rebinding).
    """

    def __init__(self, app: App, *, token: str | None = None, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in _HEADERS]
                message["headers"] = [*kept, *_HEADERS.items()]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, answered)
            return
        await self._app(scope, receive, answered)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = urlsplit(f"//{headers.get('host', '')}").hostname if _plain(headers.get("host", "")) else None
        if self._hosts and host not in self._hosts:
            return PlainTextResponse("this name of the server is not served; see --host", 421)
        given = _query_token(scope) if scope["path"] == "/" else None
        if self._token is not None and not self._known(headers, given):
            return PlainTextResponse(
                "a token is needed: open /?token=..., or send Authorization: Bearer", 401
            )
        if given is not None:
            response = RedirectResponse("/", 303)
            if self._token is not None:
                response.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return response
        if scope["method"] in _SAFE:
            return None
        origin = headers.get("origin")
        if HEADER not in headers or (origin is not None and urlsplit(origin).netloc != headers.get("host")):
            return PlainTextResponse(f"changes need the header {HEADER} and the page's own origin", 403)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("Content-Length is needed", 411)
        if len(length) > 9 or int(length) > LIMIT_BYTES:
            return PlainTextResponse(f"at most {LIMIT_BYTES} bytes", 413)
        return None

    def _known(self, headers: Headers, given: str | None) -> bool:
        assert self._token is not None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        candidates = [given, _cookie(headers), bearer.strip() if scheme.lower() == "bearer" else None]
        # All are compared, each in constant time.
        matches = [
            hmac.compare_digest(each.encode(errors="replace"), self._token.encode())
            for each in candidates
            if each is not None
        ]
        return any(matches)


def _plain(host: str) -> bool:
    """Whether a Host header is one that ``urlsplit`` reads without raising."""
    return host.count("[") == host.count("]") <= 1 and not set(host) & set("/?#@\\ ")


def _query_token(scope: Scope) -> str | None:
    try:
        values = parse_qs(scope.get("query_string", b"").decode("ascii"), max_num_fields=8).get("token")
    except ValueError:
        return None
    return values[0] if values else None


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None else None
