"""Why a page gets no WebSocket: a browser tells it nothing, so it asks here, by plain HTTP, what arrived of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.access import Origins, standing_of
from server.ground import PublicURL, canonical_origin
from server.web.answers import answer
from server.web.bodies import ConnectionBody
from server.words import Content, Need, Operation, Parameter, Reply, Role, documented

REMEMBERED_S = 60.0
"""Seconds for which a handshake that arrived without ``Upgrade`` explains that a page gets no connection."""

_ASKED = {"watch": Need(Role.VIEWER, "path"), "send": Need(Role.OPERATOR, "query")}
"""What a page may have wanted of a stream, and what ``/ws/live/NAME`` and ``/ws/stream`` take for it."""

_NO_UPGRADE = (
    "This address is for WebSockets, and the request came without 'Upgrade: websocket'. A proxy in front of this "
    "server has to pass the Upgrade and Connection headers on: docs/proxies.md shows how."
)


@dataclass
class ConnectionCheck:
    """``GET /api/connection?page=ADDRESS`` for a page at this address, and 426 for WebSockets that arrive as HTTP."""

    origins: Origins
    _lost_upgrade_at: float | None = None

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/connection", self.check),
            Route("/ws/stream", self.refuse_http),
            Route("/ws/live/{name}", self.refuse_http),
            Route("/ws/api", self.refuse_http),
        ]

    @documented(
        Operation(
            "What a page at this address should know when it gets no WebSocket",
            {200: Reply("what arrived of it, and what is wrong", Content(ConnectionBody))},
            parameters=(
                Parameter("page", "query", "address of the page"),
                Parameter("watch", "query", "the stream that it wanted to watch"),
                Parameter("send", "query", "the stream that it wanted to send"),
            ),
            role=Role.NOBODY,
        )
    )
    async def check(self, request: Request) -> Response:
        host = request.headers.get("host", "")
        page = request.query_params.get("page", "")[:500]
        access = getattr(request.state, "access", True)
        body = ConnectionBody(
            host=host[:300],
            access=access,
            problem=self._problem(page, host, secure=request.url.scheme == "https"),
            refusal=_refusal(request) if access else None,
        )
        return answer(body, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Where WebSockets are spoken: docs/protocol.md, /schema.json",
            {426: "it came as plain HTTP, without the Upgrade header"},
            role=Role.NOBODY,
        )
    )
    async def refuse_http(self, request: Request) -> Response:
        # A browser's handshake has this header of its own, and a proxy that knows no WebSockets passes it on.
        if "sec-websocket-key" in request.headers:
            self._lost_upgrade_at = time.monotonic()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Cache-Control": "no-store"}
        return JSONResponse({"error": _NO_UPGRADE}, 426, headers=headers)

    def _problem(self, page: str, host: str, *, secure: bool) -> str | None:
        try:
            seen = PublicURL.parse(page)
        except ValueError:
            return None
        if not self.origins.is_good(seen.origin, host, secure):
            return _wrong_origin(seen, host, self.origins.public)
        public = self.origins.public
        if public is not None and seen.origin == public.origin and seen.path != public.path:
            return f"This page is at {seen}, but PUBLIC_URL is {public}. Set it to the address of this page."
        if self._lost_upgrade_at is not None and time.monotonic() - self._lost_upgrade_at < REMEMBERED_S:
            return (
                "A proxy in front of the server does not pass WebSockets on: the handshake arrived without its Upgrade "
                "header. docs/proxies.md shows how to let it through."
            )
        return None


def _refusal(request: Request) -> str | None:
    """Why whoever asks may not have what the page wanted: a browser is not told of a handshake that it was refused."""
    identity = standing_of(request.scope).identity
    asked = ((need, request.query_params[name]) for name, need in _ASKED.items() if name in request.query_params)
    return next((words for need, stream in asked if (words := identity.refusal(need, stream)) is not None), None)


def _wrong_origin(seen: PublicURL, host: str, public: PublicURL | None) -> str:
    if public is not None:
        return f"This page is at {seen}, but PUBLIC_URL is {public}. Set PUBLIC_URL to the address of this page."
    if canonical_origin(f"https://{host}") == seen.origin.replace("http:", "https:", 1):
        return f"This page came by plain http, and the server speaks https: open https://{host}/ instead."
    return (
        f"A proxy in front of the server changes the Host header: this page is at {seen}, and the server was asked for "
        f"{host or 'no host'}. Start the server with PUBLIC_URL={seen}, or let the proxy pass Host on unchanged."
    )
