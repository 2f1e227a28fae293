"""Every route guards itself: who asks is held to what the route says it takes, as long as it goes on.

So it holds for whatever reaches a route, over HTTP, as a WebSocket, or as a message of ``/ws/api``; and a route that
does not say what it takes keeps the application from being made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access import enter_page
from server.access.identity import Identity
from server.access.standing import Standing
from server.words import Need, Role

NO_LONGER_IN, NOT_ALLOWED = 4401, 4403
"""Close codes of a WebSocket whose user is out, or may not do this any more."""
LONGEST_REASON = 120
"""Bytes of a close reason."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class UndeclaredRoute(Exception):
    """A route that does not say what it takes to use it."""


def need_of(route: BaseRoute) -> Need:
    """What a route says it takes.

    Raises:
        UndeclaredRoute: nothing.
    """
    declares = route.endpoint if isinstance(route, Route | WebSocketRoute) else getattr(route, "_base_app", None)
    need = getattr(declares, "need", None)
    if not isinstance(need, Need):
        raise UndeclaredRoute(
            f"{route!r} does not say who may use it: give its Operation a role, or its endpoint @needs(Role.…)"
        )
    return need


def guard(routes: Iterable[BaseRoute]) -> None:
    """Have routes guard themselves; once.

    Raises:
        UndeclaredRoute: one does not say what it takes.
    """
    for route in routes:
        need = need_of(route)
        assert isinstance(route, Route | WebSocketRoute | Mount)
        if not isinstance(route.app, Guard):
            route.app = Guard(route.app, need)


def standing_of(scope: Scope) -> Standing:
    """Who asks, as the access check found.

    Raises:
        KeyError: there was none.
    """
    standing: Standing = scope["state"]["standing"]
    return standing


def add_detail(scope: Scope, words: str) -> None:
    """What the audit log should have of a change, beside what it is and where: never a secret."""
    scope["state"]["audit_detail"] = words


class Guard:
    """Around what a route runs."""

    def __init__(self, app: ASGIApp, need: Need) -> None:
        self._app, self.need = app, need

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.need.role is Role.NOBODY:
            await self._app(scope, receive, send)
            return
        standing, stream = standing_of(scope), _stream(scope, self.need)
        refusal = standing.identity.refusal(self.need, stream)
        if refusal is not None and asks_for_a_page(scope):
            await enter_page.not_allowed(refusal, scope)(scope, receive, send)
        elif refusal is not None:
            await refuse(scope, receive, send, 403, refusal)
        elif scope["type"] == "websocket":
            await self._connected(standing, stream, scope, receive, send)
        else:
            await self._asked(standing, stream, scope, receive, send)

    async def _connected(
        self, standing: Standing, stream: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """A WebSocket, until it ends or whoever has it may not any more: it is closed with the reason then."""
        task, lost = asyncio.current_task(), list[str]()
        assert task is not None

        def end(words: str) -> None:
            lost.append(words)
            task.cancel()

        async def receive_while_in() -> Message:
            message = await receive()
            return {"type": "websocket.disconnect", "code": 1006} if lost else message

        async def send_while_in(message: Message) -> None:
            if lost:
                raise OSError("this peer may not hear it any more")
            await send(message)

        with standing.watched(self.need, stream, end):
            try:
                await self._app(scope, receive_while_in, send_while_in)
            except asyncio.CancelledError:
                if not lost:
                    raise
                task.uncancel()
        if lost:
            out = standing.identity.role is Role.NOBODY
            reason = lost[0].encode()[:LONGEST_REASON].decode("utf-8", "ignore")
            with contextlib.suppress(RuntimeError, OSError):  # it closed by itself at the same moment
                await send({"type": "websocket.close", "code": NO_LONGER_IN if out else NOT_ALLOWED, "reason": reason})

    async def _asked(self, standing: Standing, stream: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """A request. Who may not any more gets no more of an answer, and what he still sends is not read."""
        lost, status, is_safe = list[str](), 0, scope["method"] in SAFE_METHODS
        task = asyncio.current_task() if is_safe and "inner" not in scope["state"] else None

        def end(words: str) -> None:
            lost.append(words)
            if task is not None:  # what changes something is not broken off in the middle
                task.cancel()

        async def receive_while_in() -> Message:
            if not lost:
                message = await receive()
            return {"type": "http.disconnect"} if lost else message

        async def send_while_in(message: Message) -> None:
            nonlocal status
            if lost and is_safe:
                if not status:
                    status = 401
                    await refuse(scope, receive, send, status, lost[0])
                return
            # What a change came to is told: it was allowed when it was asked for, and may be why that is over.
            if message["type"] == "http.response.start":
                status = message["status"]
                if is_safe and self.need.tells_secrets:  # before the first byte: what is broken off was told, too
                    self._note(standing, identity, scope, status)
            await send(message)

        identity = standing.identity
        with standing.watched(self.need, stream, end):
            try:
                await self._app(scope, receive_while_in, send_while_in)
            except asyncio.CancelledError:
                if not lost or task is None:
                    raise
                task.uncancel()
                if not status:
                    await refuse(scope, receive, send, 401, lost[0])
        if not is_safe:
            self._note(standing, identity, scope, status)

    def _note(self, standing: Standing, identity: Identity, scope: Scope, status: int) -> None:
        """Have in the audit log what was done, where it is its business and came about."""
        if self.need.audited is None or not 200 <= status < 400:
            return
        standing.audit.note(
            identity,
            self.need.audited,
            address=standing.address or client_address(scope),
            detail=scope["state"].get("audit_detail", ""),
            method=scope["method"],
            path=scope["path"],
            status=status,
        )


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    """Answer ``{"error": words}``; a WebSocket before it is accepted, if the server can."""
    if not can_be_answered(scope):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = {"Cache-Control": "no-store", **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
    await JSONResponse({"error": words}, status, headers)(scope, receive, send)


def asks_for_a_page(scope: Scope) -> bool:
    """Whether a browser wants to show what comes."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def can_be_answered(scope: Scope) -> bool:
    """Whether it can be refused with a status and a reason of our own: of WebSocket handshakes, not everywhere."""
    return scope["type"] != "websocket" or "websocket.http.response" in (scope.get("extensions") or {})


def client_address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _stream(scope: Scope, need: Need) -> str | None:
    """The stream that is asked for, where the route says where it stands."""
    if need.streams == "path":
        name: str = scope["path_params"]["name"]
        return name
    if need.streams == "query":
        # As the endpoint reads it: two readers of one query would have two opinions.
        return QueryParams(scope["query_string"]).get("name")
    return None
