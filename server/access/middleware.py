"""Who may use this server, decided before anything else sees the request.

Without an access code the server is bound to this machine only and open there, but to no web site that a
browser on this machine happens to show, and to nobody who comes through a proxy. With one, it is asked for:

- a browser gives it once, in the form at ``/enter`` or as ``?code=`` (the QR code), and keeps a cookie made from it;
- a machine sends ``Authorization: Bearer CODE``; a page of another site, whose WebSockets carry neither that header nor
  this server's cookie, adds ``?code=`` to their address.

Either way, WebSocket handshakes and requests that change something must come from the server's own pages, or those of
``ALLOWED_ORIGINS``, when they come from a browser.

Every address that is handed out is relative to the one that was asked for, so that it is right behind a proxy, too,
that adds a prefix to the path.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_plus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access import enter_page
from server.access.code import AccessCodeError, cookie_token, load_code, same_code
from server.access.head import fault
from server.access.origin import Origins, is_local_host
from server.access.wrong_codes import WrongCodes
from server.ground import is_loopback

__all__ = ["AccessCodeError", "AccessMiddleware", "is_loopback", "load_code"]

COOKIE = "defectvision_access"
_LONGEST_COOKIE = 100
_COOKIE_AGE_S = 365 * 24 * 3600
_OPEN_PATHS = frozenset({"/health", "/ca", "/api/connection"})
_OPEN_FOLDERS = ("/static/", "/kiosk/", "/panel/", "/ws/")
"""Files of the page; a screen's page, which shows nothing that its WebSocket does not get; and, over plain HTTP, what
says that a WebSocket was meant to be."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGEST_FORM = 4096
_FORWARDING = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip"}
)
_CODE_IN_QUERY = re.compile(rb"(?:^|&)(?:c|%63)(?:o|%6[fF])(?:d|%64)(?:e|%65)(?:=([^&]*))?(?=&|$)")


class AccessMiddleware:
    """ASGI middleware around the whole application.

    It sets ``request.state.access`` (bool): False only on open paths, for someone who has not shown the code;
    ``/health`` then tells no more than its ``status``. That holds for callers from this machine too: a proxy here,
    standing for others, cannot be told from them.

    A refused page leads to ``/enter``; other refusals are ``{"error": …}`` with 401 (no or wrong code), 403
    (another web site is behind it), 414 or 431 (an absurd address or header) or 429 (too many wrong codes).
    A WebSocket is refused before it is accepted.

    ``?code=`` is taken out of ``scope["query_string"]`` in place, so that it reaches neither the application
    nor uvicorn's access log.

    Args:
        app: The application.
        code: The access code; None leaves a server that is bound to loopback open.
        origins: Whose pages may use this server, and its own address behind a proxy.
    """

    def __init__(self, app: ASGIApp, code: str | None, origins: Origins | None = None) -> None:
        self._app = app
        self._origins = origins or Origins()
        self._public = self._origins.public
        self._code = code
        self._token = cookie_token(code).encode() if code is not None else b""
        self._wrong_codes = WrongCodes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer: Response | None
        if (absurd := fault(scope)) is not None:
            answer = _error(*absurd, {"Connection": "close"})
        else:
            answer = await self._answer(scope, receive)
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket" and not _can_be_answered(scope):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer that ends a request, or None to let it through."""
        link_code = _take_code_from_query(scope)
        headers = Headers(scope=scope)
        if self._code is None:
            return self._judge_open(scope, headers)
        if scope["type"] == "http" and scope["path"] == "/enter":
            return await self._enter(scope, headers, receive, link_code, self._code)
        if link_code is not None and _is_page_request(scope):
            return await self._follow_link(scope, headers, link_code, self._code)
        return await self._judge(scope, headers, link_code, self._code)

    def _judge_open(self, scope: Scope, headers: Headers) -> Response | None:
        """A server without a code: the answer that ends the request, or None to let it through."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_local_host(hosts[0]):
            return _error(
                403,
                "this server is open on its own machine only: use http://localhost there, "
                "or start it with HOST=0.0.0.0 and it will ask for an access code",
            )
        if _comes_through_a_proxy(scope, headers):
            return _error(
                403,
                "this server is open on its own machine only, and this came through a proxy: set PUBLIC_URL to the "
                "address that others see (and ACCESS_CODE, or one is made), and the server asks for its access code",
            )
        if _changes_something(scope) and not self._has_good_origin(scope, headers, without=True):
            return _other_site()
        if scope["type"] == "http" and scope["path"] == "/enter":
            return enter_page.redirect(_query_value(scope, "next"), _root(scope))
        _set_access(scope, True)
        return None

    async def _judge(self, scope: Scope, headers: Headers, link_code: str | None, code: str) -> Response | None:
        """A server with a code: the answer that ends the request, or None to let it through."""
        bearer = _bearer(headers)
        if bearer is None and scope["type"] == "websocket":
            bearer = link_code
        access = self._has_cookie(headers)
        # With neither a cookie nor a code there is nothing another web site could abuse: the code is what is missing.
        shown = access or bearer is not None
        with_code = bearer is not None
        if shown and _changes_something(scope) and not self._has_good_origin(scope, headers, without=with_code):
            return _other_site()
        # What is open to everyone waits for nobody's turn: a monitor is told the status, as without the code.
        in_turns = _is_open(scope) and self._wrong_codes.is_in_turns(_client_address(scope))
        if not access and bearer is not None and not in_turns:
            if (refusal := await self._check_bearer(scope, bearer, code)) is not None:
                return refusal
            access = True
        if not access and not _is_open(scope):
            if _is_page_request(scope) and "text/html" in headers.get("accept", ""):
                return enter_page.redirect_here(_target(scope), _root(scope))
            return _unauthorized("access code needed: send 'Authorization: Bearer CODE', or open /enter")
        _set_access(scope, access)
        return None

    async def _check_bearer(self, scope: Scope, bearer: str, code: str) -> Response | None:
        wait_s = await self._try(scope, bearer, code)
        if wait_s is None:
            return None
        if wait_s:
            error = f"too many wrong access codes: wait {wait_s} s, then send the right one"
            return _error(429, error, {"Retry-After": str(wait_s)})
        return _unauthorized("wrong access code: it is shown where the server was started")

    async def _follow_link(self, scope: Scope, headers: Headers, link_code: str, code: str) -> Response:
        target = _target(scope)
        if self._has_cookie(headers):
            return enter_page.redirect(target, _root(scope))
        return await self._open(scope, headers, link_code, target, code)

    async def _enter(
        self, scope: Scope, headers: Headers, receive: Receive, link_code: str | None, code: str
    ) -> Response:
        if scope["method"] in ("GET", "HEAD"):
            target = _query_value(scope, "next")
            if self._has_cookie(headers):
                return enter_page.redirect(target, _root(scope))
            return await self._open(scope, headers, link_code or "", target, code)
        if scope["method"] != "POST":
            return _error(405, "use GET or POST", {"Allow": "GET, HEAD, POST"})
        # Otherwise any web site could let its visitors' browsers guess.
        if not self._has_good_origin(scope, headers, without=True):
            return enter_page.refuse_other_site(_root(scope))
        body = await _read_form(receive)
        if body is None:
            return _error(413, "that form is too large: send code and next only")
        given, target = enter_page.parse_form(body)
        return await self._open(scope, headers, given, target, code)

    async def _open(self, scope: Scope, headers: Headers, given: str, target: str, code: str) -> Response:
        """A code from the form or a link: in with a cookie, or the form."""
        root = _root(scope)
        if not given.strip():
            return enter_page.ask(target, root)
        wait_s = await self._try(scope, given, code)
        if wait_s is not None:
            return enter_page.refuse_for(target, root, wait_s) if wait_s else enter_page.refuse_wrong(target, root)
        response = enter_page.redirect(target, root)
        self._give_cookie(response, scope, headers)
        return response

    async def _try(self, scope: Scope, given: str, code: str) -> int | None:
        """None for the right code; for a wrong one the seconds this address has to wait before it gives another."""
        address, wrong_codes = _client_address(scope), self._wrong_codes
        if wrong_codes.is_known(address, given):
            return wrong_codes.wait_s(address)
        turn_s = wrong_codes.take_turn(address)
        if turn_s is None:
            return max(1, wrong_codes.wait_s(address))
        if turn_s:
            await asyncio.sleep(turn_s)
        if same_code(given, code):
            wrong_codes.count_right(address)
            return None
        wait_s = wrong_codes.wait_s(address)
        wrong_codes.count_wrong(address, given)
        return wait_s

    def _give_cookie(self, response: Response, scope: Scope, headers: Headers) -> None:
        # Lax, not strict: someone who follows a link to this page in a chat or ticket would be asked again.
        # What a cookie alone can do from another site is to open a page, which changes nothing.
        response.set_cookie(
            COOKIE,
            self._token.decode(),
            max_age=_COOKIE_AGE_S,
            path=self._cookie_path(scope, headers),
            secure=self._is_secure_for_browser(scope, headers),
            httponly=True,
            samesite="lax",
        )

    def _cookie_path(self, scope: Scope, headers: Headers) -> str | None:
        """The folder that is this server's, as the browser sees it.

        Without one in the cookie a browser takes that of the page it asked for: the prefix a proxy adds, unknown here.
        """
        if self._public is not None and self._is_at_public(headers):
            return self._public.path
        return None if _root(scope) == "./" else "/"

    def _is_secure_for_browser(self, scope: Scope, headers: Headers) -> bool:
        if _is_secure(scope):
            return True
        # A proxy that rewrites Host makes it this machine's own. There, browsers keep secure cookies over http, too.
        public = self._is_at_public(headers) or is_local_host(headers.get("host", ""))
        return self._public is not None and self._public.secure and public

    def _is_at_public(self, headers: Headers) -> bool:
        """Whether the browser has this server under PUBLIC_URL, and not directly under an address of its own."""
        public = self._public
        return public is not None and (
            public.is_host(headers.get("host", "")) or public.origin == headers.get("origin")
        )

    def _has_good_origin(self, scope: Scope, headers: Headers, without: bool) -> bool:
        """Whether a page that may use this server sent the request; `without` is the answer when no page is named."""
        origins, hosts = headers.getlist("origin"), headers.getlist("host")
        if not origins:
            return without
        good = len(origins) == len(hosts) == 1 and self._origins.is_good(origins[0], hosts[0], _is_secure(scope))
        if not good:
            self._origins.note_refused(origins[0])
        return good

    def _has_cookie(self, headers: Headers) -> bool:
        return any(hmac.compare_digest(value, self._token) for value in _cookies(headers))


def _cookies(headers: Headers) -> Iterator[bytes]:
    """Our cookie's values as they were sent. Nothing is unquoted: what we set needs no quotes, and a stranger's
    megabyte of backslashes is none of ours."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.partition("=")
            if name.strip() == COOKIE and len(value) < _LONGEST_COOKIE:
                yield value.strip().encode("latin-1", "replace")


def _can_be_answered(scope: Scope) -> bool:
    """Whether a WebSocket handshake can be refused with a status and a reason of our own."""
    return "websocket.http.response" in (scope.get("extensions") or {})


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS))


def _is_page_request(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and not _is_open(scope)


def _set_access(scope: Scope, access: bool) -> None:
    scope["state"] = {**scope.get("state", {}), "access": access}


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")


def _changes_something(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def _comes_through_a_proxy(scope: Scope, headers: Headers) -> bool:
    """Whether it stands for someone else, as far as can be told: most say so, and nginx by default speaks HTTP/1.0."""
    names = {name for name in headers if name.startswith("x-forwarded")} | _FORWARDING.intersection(headers)
    return bool(names) or scope.get("http_version") == "1.0"


def _client_address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _target(scope: Scope) -> str:
    """The path and query that were asked for, ready to be sent back in a header."""
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _root(scope: Scope) -> str:
    """From the address that was asked for to that of the live page, relative: ``./``, ``../`` …"""
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return "../" * (raw_path.count(b"/") - 1) or "./"


def _take_code_from_query(scope: Scope) -> str | None:
    """Remove every ``code=`` from the query, leave the rest as it is, and return the last one's value."""
    query: bytes = scope["query_string"]
    codes = _CODE_IN_QUERY.findall(query)
    if not codes:
        return None
    scope["query_string"] = _CODE_IN_QUERY.sub(b"", query).removeprefix(b"&")
    return unquote_plus(codes[-1].decode("latin-1"))


def _query_value(scope: Scope, name: str) -> str:
    pairs = (pair.partition(b"=") for pair in scope["query_string"].split(b"&"))
    return next((unquote_plus(value.decode("latin-1")) for key, _, value in pairs if key == name.encode()), "")


async def _read_form(receive: Receive) -> bytes | None:
    """The body of a posted form; None when it is too large for one."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > _LARGEST_FORM:
            return None
        if not message.get("more_body", False):
            return body


def _unauthorized(error: str) -> Response:
    return _error(401, error, {"WWW-Authenticate": "Bearer"})


def _other_site() -> Response:
    return _error(
        403,
        "this does not come from a page of this server (Origin and Host differ, or Origin is missing): open the "
        "server's own page, or send 'Authorization: Bearer CODE' and no Origin; pages of other origins have to be "
        "named in ALLOWED_ORIGINS, and where a proxy changes Host, PUBLIC_URL has to be set",
    )


def _error(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, {"Cache-Control": "no-store", **(headers or {})})
