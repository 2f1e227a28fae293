"""Closed beyond localhost: who may use this server, decided before anything else sees the request.

Without an access code the server is bound to this machine only and open there, but to no web site that a
browser on this machine happens to show. With one, it is asked for:

- a browser gives it once, in the form at ``/enter`` or as ``?code=`` (the QR code), and keeps a cookie made
from it; - a machine sends ``Authorization: Bearer CODE``.

Either way, WebSocket handshakes and requests that change something must come from the server's own pages
when they come from a browser.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import quote, unquote_plus

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access import enter_page
from server.access.code import AccessCodeError, cookie_token, load_code, same_code
from server.access.origin import is_local_host, is_same_origin
from server.access.wrong_codes import WrongCodes
from server.ground import is_loopback

__all__ = ["AccessCodeError", "AccessMiddleware", "is_loopback", "load_code"]

COOKIE = "defectvision_access"
_COOKIE_AGE_S = 365 * 24 * 3600
_OPEN_PATHS = frozenset({"/health", "/ca"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGEST_FORM = 4096


class AccessMiddleware:
    """ASGI middleware around the whole application.

    It sets ``request.state.access`` (bool): False only on the open paths ``/health``, ``/ca`` and
    ``/static/``, for someone who has not shown the code; ``/health`` then tells no more than its ``status``.

    A refused page leads to ``/enter``; other refusals are ``{"error": …}`` with 401 (no or wrong code), 403
    (another web site is behind it) or 429 (too many wrong codes). A WebSocket is refused before it is
    accepted.

    ``?code=`` is taken out of ``scope["query_string"]`` in place, so that it reaches neither the application
    nor uvicorn's access log.

    Args:
        app: The application.
        code: The access code; None leaves a server that is bound to loopback open.
        allowed_hosts: Names besides localhost under which an open server may be addressed, e.g. behind a
            proxy.
    """

    def __init__(self, app: ASGIApp, code: str | None, allowed_hosts: Collection[str] = ()) -> None:
        self._app = app
        self._code = code
        self._token = cookie_token(code).encode() if code is not None else b""
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._wrong_codes = WrongCodes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        link_code = _take_code_from_query(scope)
        headers = Headers(scope=scope)
        if self._code is None:
            answer = self._judge_open(scope, headers)
        elif scope["type"] == "http" and scope["path"] == "/enter":
            answer = await self._enter(scope, headers, receive, link_code, self._code)
        elif link_code is not None and _is_page_request(scope):
            answer = self._follow_link(scope, headers, link_code, self._code)
        else:
            answer = self._judge(scope, headers, self._code)
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket" and not _can_be_answered(scope):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, send)

    def _judge_open(self, scope: Scope, headers: Headers) -> Response | None:
        """A server without a code: the answer that ends the request, or None to let it through."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_local_host(hosts[0], self._allowed_hosts):
            return _error(
                403,
                "this server is open on its own machine only: use http://localhost there, "
                "or start it with HOST=0.0.0.0 and it will ask for an access code",
            )
        if _changes_something(scope) and not _has_good_origin(scope, headers, without=True):
            return _other_site()
        if scope["type"] == "http" and scope["path"] == "/enter":
            return enter_page.redirect("/")
        _set_access(scope, True)
        return None

    def _judge(self, scope: Scope, headers: Headers, code: str) -> Response | None:
        """A server with a code: the answer that ends the request, or None to let it through."""
        bearer = _bearer(headers)
        access = self._has_cookie(headers)
        # With neither a cookie nor a code there is nothing another web site could abuse: the code is what is missing.
        shown = access or bearer is not None
        if shown and _changes_something(scope) and not _has_good_origin(scope, headers, without=bearer is not None):
            return _other_site()
        if not access and bearer is not None:
            if (refusal := self._check_bearer(scope, bearer, code)) is not None:
                return refusal
            access = True
        if not access and not _is_open(scope):
            if _is_page_request(scope) and "text/html" in headers.get("accept", ""):
                return enter_page.redirect_here(_target(scope))
            return _unauthorized("access code needed: send 'Authorization: Bearer CODE', or open /enter")
        _set_access(scope, access or (scope["path"] == "/health" and _is_from_this_machine(scope, headers)))
        return None

    def _check_bearer(self, scope: Scope, bearer: str, code: str) -> Response | None:
        address = _client_address(scope)
        if wait_s := self._wrong_codes.wait_s(address):
            error = f"too many wrong access codes: wait {wait_s} s, then send the right one"
            return _error(429, error, {"Retry-After": str(wait_s)})
        if not same_code(bearer, code):
            self._wrong_codes.count_wrong(address)
            return _unauthorized("wrong access code: it is shown where the server was started")
        self._wrong_codes.count_right(address)
        return None

    def _follow_link(self, scope: Scope, headers: Headers, link_code: str, code: str) -> Response:
        target = _target(scope)
        return enter_page.redirect(target) if self._has_cookie(headers) else self._try(scope, link_code, target, code)

    async def _enter(
        self, scope: Scope, headers: Headers, receive: Receive, link_code: str | None, code: str
    ) -> Response:
        if scope["method"] in ("GET", "HEAD"):
            target = _query_value(scope, "next")
            if self._has_cookie(headers):
                return enter_page.redirect(target)
            return self._try(scope, link_code or "", target, code)
        if scope["method"] != "POST":
            return _error(405, "use GET or POST", {"Allow": "GET, HEAD, POST"})
        # Otherwise any web site could let its visitors' browsers guess.
        if not _has_good_origin(scope, headers, without=True):
            return _other_site()
        body = await _read_form(receive)
        if body is None:
            return _error(413, "that form is too large: send code and next only")
        given, target = enter_page.parse_form(body)
        return self._try(scope, given, target, code)

    def _try(self, scope: Scope, given: str, target: str, code: str) -> Response:
        """A code from the form or a link: in with a cookie, or the form."""
        if not given.strip():
            return enter_page.ask(target)
        address = _client_address(scope)
        if wait_s := self._wrong_codes.wait_s(address):
            return enter_page.refuse_for(target, wait_s)
        if not same_code(given, code):
            self._wrong_codes.count_wrong(address)
            return enter_page.refuse_wrong(target)
        self._wrong_codes.count_right(address)
        response = enter_page.redirect(target)
        self._give_cookie(response, _is_secure(scope))
        return response

    def _give_cookie(self, response: Response, secure: bool) -> None:
        # Lax, not strict: someone who follows a link to this page in a chat or ticket would be asked again.
        # What a cookie alone can do from another site is to open a page, which changes nothing.
        response.set_cookie(
            COOKIE,
            self._token.decode(),
            max_age=_COOKIE_AGE_S,
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    def _has_cookie(self, headers: Headers) -> bool:
        given = (cookie_parser(header).get(COOKIE, "") for header in headers.getlist("cookie"))
        return any(hmac.compare_digest(value.encode("utf-8", "replace"), self._token) for value in given)


def _can_be_answered(scope: Scope) -> bool:
    """Whether a WebSocket handshake can be refused with a status and a reason of our own."""
    return "websocket.http.response" in (scope.get("extensions") or {})


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in _OPEN_PATHS or path.startswith("/static/"))


def _is_page_request(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and not _is_open(scope)


def _set_access(scope: Scope, access: bool) -> None:
    scope["state"] = {**scope.get("state", {}), "access": access}


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")


def _changes_something(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def _has_good_origin(scope: Scope, headers: Headers, without: bool) -> bool:
    """Whether a page of this server sent the request; `without` is the answer when no page is named."""
    origins, hosts = headers.getlist("origin"), headers.getlist("host")
    if not origins:
        return without
    return len(origins) == len(hosts) == 1 and is_same_origin(origins[0], hosts[0], _is_secure(scope))


def _is_from_this_machine(scope: Scope, headers: Headers) -> bool:
    # Forwarding headers earn nobody anything, but they tell of a proxy on this machine standing for others.
    forwarded = any(name == "forwarded" or name.startswith("x-forwarded") for name in headers)
    return not forwarded and is_loopback(_client_address(scope)) and is_local_host(headers.get("host", ""))


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


def _take_code_from_query(scope: Scope) -> str | None:
    """Remove every ``code=`` from the query, leave the rest as it is, and return the last one's value."""
    pairs = scope["query_string"].split(b"&")
    kept = [pair for pair in pairs if _name_of(pair) != "code"]
    if len(kept) == len(pairs):
        return None
    scope["query_string"] = b"&".join(kept)
    return [_value_of(pair) for pair in pairs if _name_of(pair) == "code"][-1]


def _query_value(scope: Scope, name: str) -> str:
    return next((_value_of(p) for p in scope["query_string"].split(b"&") if _name_of(p) == name), "")


def _name_of(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[0].decode("latin-1"))


def _value_of(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[2].decode("latin-1"))


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
        "this does not come from a page of this server (Origin and Host differ, or Origin is missing): "
        "open the server's own page, or send 'Authorization: Bearer CODE' and no Origin",
    )


def _error(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, {"Cache-Control": "no-store", **(headers or {})})
