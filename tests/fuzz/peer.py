"""One connection to our HTTP and WebSocket protocols, without a socket."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from server.ground import Refusals
from server.web.bounded_http import BoundedHTTP
from server.web.bounded_websocket import BoundedWebSocket
from server.web.connections import Connections
from server.web.held import Held
from server.web.pace import Turns

MOST_SENT = 4_000_000
"""Bytes that no input is worth as an answer."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all that comes, and says hello."""
    if scope["type"] == "http":
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


class Sink(asyncio.Transport):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.sent = 0
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += len(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


async def _feed(data: bytes) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    refusals, turns = Refusals(), Turns()
    websocket = partial(BoundedWebSocket, messages_held=Held(10_000, 5000, "fuzz", refusals), turns=turns)
    config = uvicorn.Config(app, ws=partial(websocket, refusals=refusals), ws_max_size=4000, ws_ping_interval=None)  # type: ignore[arg-type]
    config.load()
    connection = Connections(16, 16, refusals).admit("10.0.0.1", lambda: None)
    assert connection is not None
    state, sink = ServerState(), Sink()
    sink.protocol = BoundedHTTP(
        connection=connection, turns=turns, refusals=refusals, config=config, server_state=state, app_state={}
    )
    sink.protocol.connection_made(sink)
    cut = random.Random(len(data))
    while data and not sink.closed:
        size = cut.choice((1, 7, 100, 10_000))
        piece, data = data[:size], data[size:]
        sink.protocol.data_received(piece)
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    connection.sweep(asyncio.get_running_loop().time() + 100)
    sink.protocol.connection_lost(None)
    for task in list(state.tasks):
        await asyncio.wait([task], timeout=1)
        assert task.done(), "the application was not told that its peer is gone"
    assert not faults, faults
    assert not state.connections
    assert sink.sent < MOST_SENT


def feed(data: bytes) -> None:
    """Read an input, as if it came over a socket.

    Raises:
        AssertionError: something was raised in a callback, or left behind.
    """
    asyncio.run(_feed(data))
