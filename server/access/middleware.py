"""Who asks, found out before anything else sees the request. What he may is the routes' own affair (``guard.py``).

An open server is bound to this machine only and asks nobody, but serves no web site that a browser on this machine
happens to show, and nobody who comes through a proxy. A closed one asks:

- people log in at ``/enter`` with name and password, or there, or by a link with ``?code=``, show a token or the
  access code; the browser keeps the cookie of a session;
- a phone follows the link of a QR code and gets a session for one stream;
- a machine sends ``Authorization: Bearer TOKEN``; a page of another site, whose WebSockets carry neither that header
  nor this server's cookie, adds ``?code=`` to their address.

Either way, WebSocket handshakes and requests that change something must come from the server's own pages, or those of
``ALLOWED_ORIGINS``, when they come from a browser.

Every address that is handed out is relative to the one that was asked for, so that it is right behind a proxy, too,
that adds a prefix to the path.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access import enter_page
from server.access.access import LASTS_S, Access, is_token
from server.access.guard import SAFE_METHODS, asks_for_a_page, can_be_answered, client_address, need_of
from server.access.head import fault
from server.access.identity import Identity
from server.access.kept import CODE_NAME, SessionKind
from server.access.logins import COMMON_TURN_S, SOMEBODY, TURN_S, Logins, TooManyTries, identity_of
from server.access.origin import Origins, comes_through_a_proxy, is_local_host, is_of_another_site
from server.access.pairings import PREFIX
from server.access.passwords import PasswordsBusy
from server.access.standing import Standing
from server.access.wrong_codes import WrongCodes
from server.ground import source_of
from server.words import Role

COOKIE = "defectvision_access"
KEEP_PLACE = "keep_place"
"""In a scope's state, where the server has few connections: called once somebody was found who may enter, so that his
connection need not make room for another. A stranger's has to, whatever he is in the middle of."""
_LONGEST_COOKIE = 100
_MOST_COOKIES = 8
"""Of ours in one request: a browser sends one for each folder that it has one for."""
_LARGEST_FORM = 4096
_CODE_IN_QUERY = re.compile(rb"(?:^|&)(?:c|%63)(?:o|%6[fF])(?:d|%64)(?:e|%65)(?:=([^&]*))?(?=&|$)")


class AccessMiddleware:
    """ASGI middleware around the whole application.

    It sets ``request.state.standing`` (:class:`Standing`) and ``request.state.access`` (bool): False only on routes
    that are open to everybody, for a stranger; ``/health`` then tells no more than its ``status``. That holds for
    callers from this machine too: a proxy here, standing for others, cannot be told from them.

    A refused page leads to ``/enter``; other refusals are ``{"error": …}`` with 401 (nobody, or a wrong token), 403
    (another web site is behind it), 414 or 431 (an absurd address or header) or 429 (too many wrong tokens). A
    WebSocket is refused before it is accepted.

    ``?code=`` is taken out of ``scope["query_string"]`` in place, so that it reaches neither the application nor
    uvicorn's access log.

    Args:
        app: the application.
        access: who is in.
        routes: of the application; those that need nobody are open.
        origins: whose pages may use this server, and its own address behind a proxy.
    """

    def __init__(
        self, app: ASGIApp, access: Access, routes: Sequence[BaseRoute], origins: Origins | None = None
    ) -> None:
        self._app = app
        self._access = access
        self._open_routes = [route for route in routes if need_of(route).role is Role.NOBODY]
        self._origins = origins or Origins()
        self._public = self._origins.public
        self._wrong_codes = WrongCodes()
        # Any page may have its visitors' browsers follow links: what that spends is spent for links alone.
        self._wrong_links = WrongCodes(turn_s=TURN_S, common_turn_s=COMMON_TURN_S, what="wrong link")
        self._logins = Logins(access)

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
        elif not can_be_answered(scope):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer that ends a request, or None to let it through."""
        link_code = _take_code_from_query(scope)
        headers = Headers(scope=scope)
        if not self._access.closed:
            return self._judge_open(scope, headers)
        if scope["type"] == "http" and scope["path"] == "/enter":
            return await self._enter(scope, headers, receive, link_code)
        if link_code is not None and self._is_page_request(scope):
            return await self._follow_link(scope, headers, link_code)
        return await self._judge(scope, headers, link_code)

    def _judge_open(self, scope: Scope, headers: Headers) -> Response | None:
        """A server that asks nobody: the answer that ends the request, or None to let it through."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_local_host(hosts[0]):
            return _error(
                403,
                "this server is open on its own machine only: use http://localhost there, "
                "or start it with HOST=0.0.0.0 and it will ask who you are",
            )
        if comes_through_a_proxy(scope):
            return _error(
                403,
                "this server is open on its own machine only, and this came through a proxy: set PUBLIC_URL to the "
                "address that others see, and the server asks everybody to log in",
            )
        if _changes_something(scope) and not self._has_good_origin(scope, headers, without=True):
            return _other_site()
        if scope["type"] == "http" and scope["path"] == "/enter":
            return enter_page.redirect(_query_value(scope, "next"), enter_page.root_of(scope))
        _set_standing(scope, self._access.open_to_all)
        return None

    async def _judge(self, scope: Scope, headers: Headers, link_code: str | None) -> Response | None:
        """A server that asks: the answer that ends the request, or None to let it through."""
        standing, bearer = self._by_cookie(scope, headers), _bearer(headers)
        if bearer is None and scope["type"] == "websocket" and standing is None:
            bearer = link_code
        # With neither a cookie nor a token there is nothing another web site could abuse: that is what is missing.
        shown = standing is not None or bearer is not None
        with_code = bearer is not None or (link_code is not None and scope["type"] == "websocket")
        if shown and _changes_something(scope) and not self._has_good_origin(scope, headers, without=with_code):
            return _other_site()
        is_open = self._is_open(scope)
        # What is open to everyone waits for nobody's turn: a monitor is told the status, as without the access code.
        in_turns = is_open and self._wrong_codes.is_in_turns(client_address(scope))
        if bearer is not None and (is_token(bearer) or not in_turns):
            # Who says who he is is that one, also where a browser's cookie comes along.
            found = await self._by_secret(scope, bearer, self._wrong_codes)
            if not isinstance(found, int):
                standing = found
            elif standing is None:
                return _refuse_bearer(found)
        if standing is None:
            if not is_open:
                if asks_for_a_page(scope):
                    return enter_page.redirect_here(enter_page.target_of(scope), enter_page.root_of(scope))
                return _unauthorized(
                    "nobody is logged in here: open /enter, or send 'Authorization: Bearer TOKEN' (or the access code)"
                )
            standing = self._access.nobody(client_address(scope))
        _set_standing(scope, standing)
        return None

    async def _follow_link(self, scope: Scope, headers: Headers, link_code: str) -> Response:
        target = enter_page.target_of(scope)
        if self._takes_nothing(scope, headers, link_code):
            return enter_page.redirect(target, enter_page.root_of(scope))
        return await self._open(scope, headers, link_code, target, by_link=True)

    def _takes_nothing(self, scope: Scope, headers: Headers, link_code: str) -> bool:
        """Whether somebody is in who stays so: any page may have its visitors' browsers follow a link with a token. A
        pairing's is another matter."""
        return not link_code.startswith(PREFIX) and self._by_cookie(scope, headers) is not None

    async def _enter(self, scope: Scope, headers: Headers, receive: Receive, link_code: str | None) -> Response:
        if scope["method"] in ("GET", "HEAD"):
            target = _query_value(scope, "next")
            if scope["method"] == "HEAD":
                link_code = None  # it is looked at, not followed: nobody is let in by that
            is_asked_anew = link_code is None and _query_value(scope, "anew") == "1"
            if not is_asked_anew and self._takes_nothing(scope, headers, link_code or ""):
                return enter_page.redirect(target, enter_page.root_of(scope))
            return await self._open(scope, headers, link_code or "", target, by_link=True)
        if scope["method"] != "POST":
            return _error(405, "use GET or POST", {"Allow": "GET, HEAD, POST"})
        # Otherwise any web site could let its visitors' browsers guess, or log them in as somebody else.
        if not self._has_good_origin(scope, headers, without=True):
            return enter_page.refuse_other_site(enter_page.root_of(scope))
        body = await _read_form(receive)
        if body is None:
            return _error(413, "that form is too large: send name, password, code and next only")
        form = enter_page.parse_form(body)
        if form.name or form.password:
            return await self._log_in(scope, headers, form)
        return await self._open(scope, headers, form.code, form.target)

    async def _log_in(self, scope: Scope, headers: Headers, form: enter_page.Form) -> Response:
        root, has_code, name = enter_page.root_of(scope), self._access.has_code, form.name
        try:
            account = await self._logins.log_in(form.name, form.password, client_address(scope))
        except TooManyTries as error:
            return enter_page.refuse_for(form.target, root, error.wait_s, has_code=has_code, name=name)
        except PasswordsBusy as error:
            return enter_page.refuse_busy(form.target, root, str(error), has_code=has_code, name=name)
        if account is None:
            return enter_page.refuse_login(form.target, root, has_code=has_code, name=name)
        return await self._let_in(
            scope, headers, form.target, "account", account.name, identity_of(account), account.stamp
        )

    async def _open(
        self, scope: Scope, headers: Headers, given: str, target: str, *, by_link: bool = False
    ) -> Response:
        """A token, the access code or a pairing, from the form or a link: in with a cookie, or the form."""
        root, has_code = enter_page.root_of(scope), self._access.has_code
        if not given.strip():
            return enter_page.ask(target, root, has_code=has_code)
        if given.startswith(PREFIX):
            return await self._pair(scope, headers, given, target, by_link=by_link)
        found = await self._by_secret(scope, given, self._wrong_links if by_link else self._wrong_codes)
        if isinstance(found, int):
            if found:
                return enter_page.refuse_for(target, root, found, has_code=has_code)
            return enter_page.refuse_wrong(target, root, has_code=has_code)
        who = found.identity
        if who.token is None:
            return await self._let_in(scope, headers, target, "code", CODE_NAME, who)
        return await self._let_in(scope, headers, target, "token", who.token, who)

    async def _pair(self, scope: Scope, headers: Headers, secret: str, target: str, *, by_link: bool) -> Response:
        root, address = enter_page.root_of(scope), client_address(scope)
        pairing = self._access.pairings.look(secret)
        if pairing is None:
            return enter_page.refuse_pairing(target, root)
        if by_link:  # a phone fetches what it scans to show a preview: a button is what pairs it
            who = self._by_cookie(scope, headers)
            return enter_page.ask_to_pair(target, root, secret, pairing.stream, who.identity.signature if who else "")
        browser = headers.get("user-agent", "")
        paired = await self._access.pair(secret, address=address, browser=browser, instead_of=_first_cookie(headers))
        if paired is None:
            return enter_page.refuse_pairing(target, root)
        cookie, pairing = paired
        device = Identity(pairing.device, Role.OPERATOR, "device", frozenset({pairing.stream}))
        self._access.audit.note(device, "paired a phone", address=address, detail=f"by {pairing.by}")
        response = enter_page.redirect(target, root)
        self._give_cookie(response, scope, headers, cookie, "device")
        return response

    async def _let_in(
        self,
        scope: Scope,
        headers: Headers,
        target: str,
        kind: SessionKind,
        of: str,
        who: Identity,
        stamp: str = "",
    ) -> Response:
        """On to the target, with the cookie of a new session: never with the id of one that was there before."""
        address = client_address(scope)
        cookie = await self._access.open_session(
            kind,
            of,
            stamp=stamp,
            address=address,
            browser=headers.get("user-agent", ""),
            instead_of=_first_cookie(headers),
        )
        self._access.audit.note(who, "logged in", address=address)
        response = enter_page.redirect(target, enter_page.root_of(scope))
        self._give_cookie(response, scope, headers, cookie, kind)
        return response

    async def _by_secret(self, scope: Scope, given: str, wrong_codes: WrongCodes) -> Standing | int:
        """Whose token this is; for a wrong one the seconds this address has to wait before it gives another."""
        address = client_address(scope)
        is_known = wrong_codes.is_known(address, given)
        # 256 random bits are guessed by nobody, and what was wrong before is no new guess (it may have become right
        # since, made at another gateway): neither waits for a turn, whoever guesses at this address.
        in_turn = not (is_token(given) or is_known)
        if in_turn:
            turn_s = wrong_codes.take_turn(address)
            if turn_s is None:
                return max(1, wrong_codes.wait_s(address))
            if turn_s:
                await asyncio.sleep(turn_s)
        if (standing := self._access.by_secret(given, address)) is not None:
            (wrong_codes.count_right if in_turn else wrong_codes.trust)(address)
            return standing
        wait_s = wrong_codes.wait_s(address)
        if not is_known:
            wrong_codes.count_wrong(address, given)
            what = "showed a wrong token or access code"
            self._access.audit.note_repeated(SOMEBODY, what, address=source_of(address))
        return wait_s

    def _by_cookie(self, scope: Scope, headers: Headers) -> Standing | None:
        address = client_address(scope)
        for number, value in enumerate(_cookies(headers)):
            if number == _MOST_COOKIES:
                return None
            if (standing := self._access.by_session(value, address)) is not None:
                return standing
        return None

    def _is_open(self, scope: Scope) -> bool:
        """Whether a stranger is answered. (A WebSocket never is: it hears of streams, or says something.)"""
        return scope["type"] == "http" and any(route.matches(scope)[0] is not Match.NONE for route in self._open_routes)

    def _is_page_request(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "GET" and not self._is_open(scope)

    def _give_cookie(self, response: Response, scope: Scope, headers: Headers, cookie: str, kind: SessionKind) -> None:
        # Lax, not strict: someone who follows a link to this page in a chat or ticket would be asked again.
        # What a cookie alone can do from another site is to open a page, which changes nothing.
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(LASTS_S[kind]),
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
        return None if enter_page.root_of(scope) == "./" else "/"

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
            # A browser that leaves Origin out may still say that another site is behind it.
            return without and not is_of_another_site(headers)
        good = len(origins) == len(hosts) == 1 and self._origins.is_good(origins[0], hosts[0], _is_secure(scope))
        if not good:
            self._origins.note_refused(origins[0])
        return good


def _first_cookie(headers: Headers) -> str | None:
    return next(_cookies(headers), None)


def _cookies(headers: Headers) -> Iterator[str]:
    """Our cookie's values as they were sent. Nothing is unquoted: what we set needs no quotes, and a stranger's
    megabyte of backslashes is none of ours."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.partition("=")
            if name.strip() == COOKIE and len(value) < _LONGEST_COOKIE:
                yield value.strip()


def _set_standing(scope: Scope, standing: Standing) -> None:
    access = standing.identity.role is not Role.NOBODY
    if access and (keep_place := scope.get("state", {}).get(KEEP_PLACE)) is not None:
        keep_place()
    scope["state"] = {**scope.get("state", {}), "standing": standing, "access": access}


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")


def _changes_something(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


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
        "server's own page, or send 'Authorization: Bearer TOKEN' and no Origin; pages of other origins have to be "
        "named in ALLOWED_ORIGINS, and where a proxy changes Host, PUBLIC_URL has to be set",
    )


def _refuse_bearer(wait_s: int) -> Response:
    if wait_s:
        error = f"too many wrong access codes or tokens: wait {wait_s} s, then send the right one"
        return _error(429, error, {"Retry-After": str(wait_s)})
    return _unauthorized("wrong access code or token: an admin sees on the page which there are")


def _error(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, {"Cache-Control": "no-store", **(headers or {})})
