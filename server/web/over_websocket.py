"""``WS /ws/api``: what is there over HTTP, asked for in messages on one WebSocket.

For controllers and panels that keep one connection open anyway. A message is run through the very routes of HTTP, which
guard themselves: with what whoever made the handshake may at that moment.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Raw, Struct, field
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.web.pace import Rate
from server.words import Role, needs

log = logging.getLogger("defectvision.api")

LONGEST_MESSAGE = 64 * 1024
LONGEST_PATH, LONGEST_QUERY, LONGEST_ID = 1024, 4096, 256
"""As over HTTP; and of an ``id``, in JSON."""
LARGEST_ANSWER = 8 << 20
"""Bytes; judged captures with their pictures have up to two megabytes."""
A_SECOND, AT_ONCE = 50.0, 100.0
"""Messages of one connection; above that each waits."""
UNREAD_S = 30.0

PREFIXES = ("/api/", "/calibration/")
PLACES = ("/health", "/calibration")
"""Paths that are answered, and those that begin like these: what answers JSON and takes nothing else."""

POLICY_VIOLATION, TOO_LARGE = 1008, 1009


_NULL = Raw(b"null")


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """One message: what a request would say."""

    method: Annotated[Literal["GET", "POST", "PATCH", "DELETE"], Meta(description="as over HTTP")]
    path: Annotated[str, Meta(description="/api/…, /health, /calibration or /calibration/undo, with its query")]
    id: Annotated[Raw, Meta(description=f"comes back with the answer; any JSON of up to {LONGEST_ID} bytes")] = field(
        default_factory=lambda: _NULL
    )
    body: Annotated[Raw, Meta(description="as over HTTP, JSON")] = field(default_factory=lambda: _NULL)

    @property
    def has_body(self) -> bool:
        return bytes(self.body) != b"null"


class Answered(Struct, frozen=True):
    """What is answered to it, as over HTTP."""

    id: Annotated[Raw, Meta(description="of the request; null where it had none, or could not be read")]
    status: Annotated[int, Meta(description="as over HTTP")]
    body: Annotated[Raw, Meta(description="as over HTTP, JSON")]


class _Refused(Exception):
    def __init__(self, status: int, words: str, id: Raw = _NULL) -> None:
        self.answer = _refusal(id, status, words)


class ApiSocket:
    """Answers messages one after another, in their order.

    Args:
        app: the routes of HTTP, with what answers their errors, and without the access check, which the handshake
            passed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._going_on: set[asyncio.Task[None]] = set()
        """Changes, which go on when the WebSocket on which they were asked for is closed."""

    @needs(Role.VIEWER, "itself")
    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        rate = Rate(A_SECOND, AT_ONCE, asyncio.get_running_loop().time())
        heard = asyncio.ensure_future(socket.receive())
        try:
            while True:
                message = await heard
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text")
                if text is None or len(text) > LONGEST_MESSAGE:
                    code, words = (POLICY_VIOLATION, "send JSON as text, and no binary messages")
                    if text is not None:
                        code, words = TOO_LARGE, f"a message has {LONGEST_MESSAGE // 1024} kB at the most: use HTTP"
                    await socket.close(code, words)
                    return
                # One message is read ahead: so a peer that goes is noticed by what it waits for.
                heard = asyncio.ensure_future(socket.receive())
                answered = await self._answer(socket.scope, text, heard)
                async with asyncio.timeout(UNREAD_S):
                    await socket.send_text(msgspec.json.encode(answered).decode())
                await asyncio.sleep(rate.take(asyncio.get_running_loop().time()))
        except (WebSocketDisconnect, TimeoutError, RuntimeError, OSError):
            return  # it is gone, or takes nothing
        finally:
            heard.cancel()
            await asyncio.gather(heard, return_exceptions=True)

    async def _answer(self, scope: Scope, text: str, heard: asyncio.Future[Message]) -> Answered:
        try:
            asked = _read(text)
            sent = bytes(asked.body) if asked.has_body else b""
            status, kind, body = await self._run(_request(scope, asked), sent, heard)
        except _Refused as refused:
            return refused.answer
        if not _is_json(kind):
            words = f"this answers {kind.partition(';')[0] or 'nothing'}, which is no JSON: ask for it over HTTP"
            return _refusal(asked.id, 406, words)
        if len(body) > LARGEST_ANSWER:
            return _refusal(asked.id, 406, "the answer is too large for a message: ask for it over HTTP")
        return Answered(asked.id, status, Raw(body))

    async def _run(self, scope: Scope, body: bytes, heard: asyncio.Future[Message]) -> tuple[int, str, bytes]:
        """Status, content type and body that the routes answer; of what is no JSON or too large, not all of it."""
        status, kind, content = 500, "", bytearray()
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            # Asked for by what goes on only as long as somebody waits.
            if not heard.done():  # to wait even then would take a turn, which who only asks does not give
                await asyncio.wait([heard])
            if not _is_gone(heard):
                await asyncio.Event().wait()  # the next message: who sends it waits
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
            elif _is_json(kind) and len(content) <= LARGEST_ANSWER:
                content.extend(message.get("body", b""))

        try:
            if scope["method"] == "GET":
                await self._app(scope, receive, send)
            else:  # is not broken off in the middle, as over HTTP: so it ends whole, and is in the audit log
                change = asyncio.ensure_future(self._change(scope, receive, send))
                self._going_on.add(change)
                change.add_done_callback(self._going_on.discard)
                await asyncio.shield(change)
        except Exception:
            log.exception("failed method=%s path=%s", scope["method"], scope["path"])
            return 500, "application/json", b'{"error":"the server failed; its log says why"}'
        return status, kind, bytes(content)

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _is_json(kind: str) -> bool:
    """Of a content type; lines of JSON are none."""
    return kind.partition(";")[0].strip() == "application/json"


def _is_gone(heard: asyncio.Future[Message]) -> bool:
    if heard.cancelled() or heard.exception() is not None:
        return True
    return bool(heard.result()["type"] == "websocket.disconnect")


def _read(text: str) -> Asked:
    try:
        asked = msgspec.json.decode(text, type=Asked)
        msgspec.json.decode(asked.id)  # Raw is looked at no closer than where it ends
        msgspec.json.decode(asked.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        words = f'send {{"id", "method", "path", "body"}} as JSON, docs/protocol.md: {error}'
        raise _Refused(422, words[:300]) from error
    if len(bytes(asked.id)) > LONGEST_ID:
        raise _Refused(422, f"an id has {LONGEST_ID} bytes at the most")
    return asked


def _request(scope: Scope, asked: Asked) -> Scope:
    """A request by whoever made the handshake."""
    raw, _, query = asked.path.partition("?")
    if len(raw) > LONGEST_PATH or len(query) > LONGEST_QUERY:
        words = f"the path is too long: at most {LONGEST_PATH} characters, and {LONGEST_QUERY} after the ?"
        raise _Refused(414, words, asked.id)
    if not asked.path.isascii() or not asked.path.isprintable() or " " in asked.path or "#" in asked.path:
        raise _Refused(422, "a path has printable ASCII characters, others as %XX, and no blanks", asked.id)
    path = unquote(raw)
    if not path.startswith(PREFIXES) and path not in PLACES:
        raise _Refused(404, f"only {', '.join((*PLACES, *PREFIXES))}… are answered here: use HTTP", asked.id)
    headers = [(name, value) for name, value in scope["headers"] if name in (b"host", b"origin", b"user-agent")]
    if asked.has_body:
        length = str(len(bytes(asked.body))).encode()
        headers += [(b"content-type", b"application/json"), (b"content-length", length)]
    kept = {name: scope[name] for name in ("app", "asgi", "client", "server") if name in scope}
    return kept | {
        "state": {**scope.get("state", {}), "inner": True},
        "type": "http",
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "https" if scope.get("scheme") in ("wss", "https") else "http",
        "path": path,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": scope.get("root_path", ""),
        "headers": headers,
    }


def _refusal(id: Raw, status: int, words: str) -> Answered:
    body: dict[str, Any] = {"error": words}
    return Answered(id, status, Raw(msgspec.json.encode(body)))
